"""A marked password, token and content go through every door, and are seen nowhere but at the server."""

from __future__ import annotations

import base64
import os
import pickle
import re
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from celery import current_app
from django.core.signals import got_request_exception
from django.db import DatabaseError, connection
from django.urls import reverse

from django_smtpx import delivery, ledger, pacing, tasks
from django_smtpx.admin import letter
from django_smtpx.models import Attempt, Delivery, Message, WebhookEndpoint
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.transport import Transport
from django_smtpx.testing import (
    Close,
    NoReply,
    Raw,
    Reply,
    ScriptedServer,
    deliver,
    make_certificate,
    real_queue,
)
from django_smtpx.webhooks import signing
from tests.integration import markers
from tests.integration.markers import (
    CONTENTS,
    CREDENTIALS,
    PASSWORD,
    TOKEN,
    found,
    logged,
    mail,
    report,
)
from tests.integration.stores import filesystem
from tests.integration.tools import wait_for
from tests.webhooks.receiver import receiving

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]


# -- what a server may do with what it is told ----------------------------------------------------


def _text(argument):
    """Return what stands in an argument of AUTH, or in an answer, in clear."""
    last = argument.rpartition(" ")[2]
    return base64.b64decode(last).decode().replace("\0", " ").replace("\1", " ")


def in_clear(conversation, argument):
    """Refuse a login and say what it was."""
    return f"535 5.7.8 Wrong: {_text(argument)}"


def as_it_came(conversation, argument):
    """Refuse a login and repeat its base64."""
    return f"535 5.7.8 Wrong: {argument}"


def in_pieces(conversation, argument):
    """Refuse a login, and repeat it in lines of twenty characters."""
    last = argument.rpartition(" ")[2]
    pieces = [last[at : at + 20] for at in range(0, len(last), 20)]
    return Reply("\n".join(f"535 5.7.8 {piece}" for piece in pieces))


BY_PASSWORD = {"username": "u", "password": PASSWORD, "allow_plaintext_auth": True, "timeout": 30}
BY_TOKEN = {
    "username": "u", "oauth_token": "tests.integration.markers.token",
    "allow_plaintext_auth": True, "timeout": 30,
}  # fmt: skip
KNOWN = {"users": {"u": PASSWORD}}
KNOWN_TOKEN = {"users": {"u": TOKEN}, "auth": ("XOAUTH2", "OAUTHBEARER")}
MECHANISMS = ("PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256")

Way = tuple[dict[str, Any], dict[str, Any], dict[str, Any], str]


def ways(folder: Path) -> Iterator[tuple[str, Way]]:
    """Yield each way that a mail may go: its script, its server, its mailer, and what comes of it."""
    for name in MECHANISMS:
        users = {**KNOWN, "auth": (name,)}
        yield f"{name} sent", ({}, users, {**BY_PASSWORD, "auth": [name]}, "sent")
        wrong = {"users": {"u": "another"}, "auth": (name,)}
        yield f"{name} refused", ({}, wrong, {**BY_PASSWORD, "auth": [name]}, "deferred")
    for name in ("XOAUTH2", "OAUTHBEARER"):
        users = {"users": {"u": TOKEN}, "auth": (name,)}
        yield f"{name} sent", ({}, users, BY_TOKEN, "sent")
        wrong = {"users": {"u": "another"}, "auth": (name,)}
        yield f"{name} refused", ({}, wrong, BY_TOKEN, "deferred")
    for echo in (in_clear, as_it_came, in_pieces):
        for verb, name in (("AUTH", "PLAIN"), ("(AUTH)", "LOGIN")):
            options = {**BY_PASSWORD, "auth": [name]}
            yield f"{name} {echo.__name__}", ({verb: echo}, KNOWN, options, "deferred")
        yield f"token {echo.__name__}", ({"AUTH": echo}, KNOWN_TOKEN, BY_TOKEN, "deferred")
    for name, script, status in (
        ("at the recipient", {"RCPT": f"550 5.1.1 {PASSWORD} has no such user"}, "failed"),
        ("at the end", {"EOD": f"250 2.0.0 {PASSWORD} may go"}, "sent"),
        ("out of step", {"MAIL": Raw(f"{PASSWORD}\r\n".encode())}, "deferred"),
        ("timeout", {"MAIL": NoReply()}, "deferred"),
        ("timeout in the login", {"AUTH": NoReply()}, "deferred"),
        ("disconnect", {"RCPT": Close()}, "deferred"),
        ("disconnect in the login", {"AUTH": Close()}, "deferred"),
        ("unknown", {"EOD": Close()}, "deferred"),
        ("refused content", {"EOD": "554 5.7.1 Spam"}, "failed"),
        ("no login", {"EHLO": "250 bare"}, "deferred"),
    ):
        # No other way waits for an answer, however busy the machine is.
        patience = {"timeout": 0.5} if name.startswith("timeout") else {}
        yield name, (script, KNOWN, {**BY_PASSWORD, **patience}, status)
    stranger = {"ssl_context": make_certificate(folder).ssl_context, **KNOWN}
    yield "certificate", ({}, stranger, {**BY_PASSWORD, "security": "starttls"}, "deferred")


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[dict[str, tuple[ScriptedServer, dict[str, Any], str]]]:
    """Run a server for each way; give its mailer's options and what comes of it, too."""
    running = {}
    try:
        for name, (script, server, options, status) in ways(tmp_path):
            one = ScriptedServer(script, **server).start()
            place = {"host": one.host, "port": one.port, "security": "none"}
            running[name] = (one, {**place, "transcript": "always", **options}, status)
        yield running
    finally:
        for one, *_ in running.values():
            one.stop()


@pytest.fixture
def receiver(settings):
    """A web server that is told of each event; it refuses the first, and repeats what it was told."""
    with receiving() as receiver:
        receiver.answer = lambda request: (
            200 if len(receiver.requests) > 1 else (500, {}, request.body)
        )
        settings.SMTPX_WEBHOOKS = {"crm": {"url": receiver.url, "secret": markers.WEBHOOK}}
        yield receiver


@pytest.mark.django_db(transaction=True)
def test_every_way_and_every_face(servers, receiver):
    """Through each way in both modes; then each log, page, figure, command and row is looked at."""
    mailers = {
        f"{mode} {name}": {**options, "mode": mode}
        for name, (_, options, _) in servers.items()
        for mode in ("queue", "now")
    }
    raised = {}
    with (
        logged() as log,
        markers.traced() as spans,
        real_queue(host="127.0.0.1", port=1, mailers=mailers),
    ):
        for name in mailers:
            try:
                mail(mailer=name).send()
            except SMTPError as error:
                raised[name] = error
        deliver()
        # The first refusal lets it rest.
        delivery.post_events("crm")
        WebhookEndpoint.objects.update(rests_until=None)
        delivery.post_events("crm")
        rows = Delivery.objects.exclude(mailer="default")
        came = dict(rows.values_list("mailer", "status"))
        assert came == _expected(servers)
        _control(servers)
        assert raised.keys() == {
            name for name in mailers if name[:3] == "now" and came[name] != "sent"
        }
        leaks = {f"error of {name}": found(markers.told(error)) for name, error in raised.items()}
        for name, error in raised.items():
            leaks[f"pickled error of {name}"] = found(pickle.dumps(error))
        for name in mailers:
            if name.startswith("queue") and ("_" in name or "at the" in name):
                leaks[f"diagnosis of {name}"] = found(
                    markers.said("smtpx_check", name, "--to", "to@example.net", "--format", "json")
                )
        leaks["log of sending"] = found(log())
        leaks["webhooks"] = found(repr(receiver.requests))
        assert len(receiver.taken) > len(rows) / 2
        leaks["spans"] = found("\n".join(spans()))
        assert len(spans()) > len(rows)
        pacing.pause("queue timeout", ledger.now(), until=None, reason="tests")
        for face, forbidden, shown in markers.faces():
            leaks[face] = found(shown, forbidden)
        # Staff may see subjects, and Django's own log of requests may tell what was looked for.
        leaks["log of looking"] = found(log(), {**CREDENTIALS, **CONTENTS})
    assert "django_smtpx" in log()
    assert {name: words for name, words in leaks.items() if words} == {}
    assert len(leaks) > 120


def _expected(servers):
    queued = {f"queue {name}": status for name, (*_, status) in servers.items()}
    # In now mode nothing is tried again behind the caller's back.
    ended = {"deferred": "failed"}
    now = {f"now {name}": ended.get(status, status) for name, (*_, status) in servers.items()}
    return {**queued, **now, "now unknown": "unknown"}


def _control(servers):
    """See the markers where they have to be: at the servers, in the contents; and the encodings."""
    for name, (server, options, status) in servers.items():
        if status == "sent":
            assert found(server.messages[0].content) == ["body", "attachment", "header", "subject"]
        said = [command.arg for session in server.sessions for command in session.commands]
        if {"PLAIN", "XOAUTH2"} & {*options.get("auth", ()), name.split()[0]}:
            assert found("\n".join(said), CREDENTIALS), name
    assert found(Message.objects.first().content, markers.CONTENTS) == [*markers.CONTENTS]
    assert Attempt.objects.filter(reply__contains="[redacted]").count() > 10
    assert Attempt.objects.exclude(transcript="").count() > 30


# -- what an error says of its frames -------------------------------------------------------------


def refuse(verb: str, table: str):
    """Return what has the database refuse statements of one kind, as a full disk would."""

    def execute(execute, sql, params, many, context):
        if verb in str(sql) and table in str(sql):
            raise DatabaseError("database or disk is full")
        return execute(sql, params, many, context)

    return connection.execute_wrapper(execute)


def shop():
    """Send a mail, as a view would: its variables are the site's own."""
    mail().send()


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("mode", "table"),
    [("queue", "content"), ("queue", "delivery"), ("now", "content"), ("now", "attempt")],
)
def test_an_error_report_of_a_site(mode, table, settings):
    """When the database refuses a mail, the report shows none of what was to be written."""
    with (
        ScriptedServer(**KNOWN) as server,
        real_queue(server, mode=mode, **BY_PASSWORD),
        refuse("INSERT", f"django_smtpx_{table}"),
        pytest.raises(DatabaseError) as caught,
        logged() as log,
    ):
        shop()
    shown = report(caught.value)
    assert "immediate.py" in shown or "storing.py" in shown
    assert found(shown) == []
    assert found(log()) == []
    assert found(markers.told(caught.value)) == []
    # A site in development shows all of it.
    settings.DEBUG = True
    assert found(report(caught.value)) != []


@pytest.mark.django_db(transaction=True)
def test_an_error_report_of_a_worker():
    """When a drain fails in the middle, neither does that of Celery's log."""
    with (
        ScriptedServer(**KNOWN) as server,
        real_queue(server, **BY_PASSWORD),
        logged() as log,
    ):
        shop()
        broken = mock.patch.object(Transport, "send", broken_sender)
        with broken, pytest.raises(ZeroDivisionError) as caught:
            deliver()
        assert found(report(caught.value)) == []
        assert found(log()) == []
    shown = report(caught.value)
    assert "draining.py" in shown
    assert "broken_sender" in shown


@pytest.fixture
def eager(monkeypatch):
    """Run tasks where they are published."""
    monkeypatch.setattr(tasks, "_site_has_celery", lambda: True)
    current_app.conf.task_always_eager = True
    yield
    current_app.conf.task_always_eager = False


@pytest.mark.django_db(transaction=True)
def test_a_task_that_fails(eager, monkeypatch):
    """Celery's own log of it, and the error mail that it may be, show none of it."""
    monkeypatch.setattr(Transport, "send", broken_sender)
    with ScriptedServer(**KNOWN) as server, real_queue(server, **BY_PASSWORD), logged() as log:
        shop()
        tasks.Hints().send_drain("default")
    assert "django_smtpx.drain" in log()
    assert "broken_sender" in log()
    assert found(log()) == []


@pytest.mark.django_db(transaction=True)
def test_an_error_report_of_a_webhook(receiver):
    """When signing fails, the report does not show what was to sign."""
    with ScriptedServer() as server, real_queue(server), logged() as log:
        shop()
        broken = mock.patch.object(signing, "signature", broken_signature)
        with broken, pytest.raises(ZeroDivisionError) as caught:
            deliver()
    assert found(report(caught.value)) == []
    assert found(log()) == []
    assert "broken_signature" in report(caught.value)


@pytest.mark.django_db
def test_an_error_report_of_the_admin(client, admin_user):
    """When a page fails that shows a content, the report goes to others than may read that."""
    with real_queue(host="127.0.0.1", port=1):
        shop()
        client.force_login(admin_user)
        client.raise_request_exception = False
        address = reverse("admin:django_smtpx_message_content", args=[Message.objects.get().pk])
        assert "body" in found(client.post(address).content)
        reports = []

        def note(**kwargs):
            reports.append(report(sys.exception()))

        got_request_exception.connect(note)
        try:
            with mock.patch.object(letter, "read", broken_reader):
                assert client.post(address).status_code == 500
        finally:
            got_request_exception.disconnect(note)
        (shown,) = reports
    assert "content.py" in shown
    assert found(shown, markers.CONTENTS) == []


sending = Transport.send


def broken_sender(transport, data):
    """Send what is said before a content, and fail with that."""
    if found(bytes(data), markers.CONTENTS):
        raise ZeroDivisionError(len(data))
    return sending(transport, data)


def broken_signature(secret, event, timestamp, body):
    """Have something to sign with, and fail."""
    raise ZeroDivisionError(len(secret))


def broken_reader(file):
    """Read a content, and fail."""
    whole = file.read()
    raise ZeroDivisionError(len(whole))


# -- a worker -------------------------------------------------------------------------------------


def test_a_worker_and_its_end(make_site, tmp_path):
    """Its log at DEBUG, the broker's files, what ps shows, and what a crash leaves behind."""
    options = {**BY_PASSWORD, "security": "none"}
    script = {"EOD": [None, "554 5.7.1 Spam", NoReply()]}
    with ScriptedServer(script, **KNOWN) as server, filesystem(tmp_path) as broker:
        options |= {"host": server.host, "port": server.port}
        broker.options["store_processed"] = True
        results = tmp_path / "results"
        results.mkdir()
        made = make_site(
            "sqlite", broker, options, style="SMTPX_MAILERS",
            CELERY_RESULT_BACKEND=f"file://{results}", CELERY_RESULT_EXTENDED=True,
        )  # fmt: skip
        site = made.elsewhere(PYTHONFAULTHANDLER="1")
        with site.worker("prefork", 1, "--loglevel", "DEBUG") as worker:
            site.call("send_marked", count=2)
            wait_for("the refusal is booked", lambda: "554 5.7.1 Spam" in worker.log(), seconds=60)
            site.call("send_marked", count=1)
            # It is under way, and its reply does not come.
            server.wait_for(2, 60)
            (child,) = worker.children()
            shown = [_process(pid) for pid in (worker.process.pid, child)]
            os.kill(child, signal.SIGABRT)
            wait_for("the crash is seen", lambda: "WorkerLostError" in worker.log(), seconds=60)
            worker.kill()
        log = worker.log()
    for line in ("Fatal Python error: Aborted", "554 5.7.1 Spam", "TaskPool: Apply"):
        assert line in log
    assert found(log) == []
    for one in shown:
        assert b"celery" in one
        assert b"SMTPX_SITE" in one
        assert found(one) == []
    files = [path for folder in (tmp_path / "broker", results) for path in folder.rglob("*")]
    held = b"\n".join(path.read_bytes() for path in files if path.is_file())
    assert b"django_smtpx.drain" in held
    assert found(_decoded(held)) == []
    assert found(server.messages[0].content) == ["body", "attachment", "header", "subject"]


def _process(pid):
    """Return what ps shows of a process to everybody, and its environment to its owner."""
    return b"\n".join(Path(f"/proc/{pid}/{name}").read_bytes() for name in ("cmdline", "environ"))


def _decoded(messages):
    """Return messages of a broker with what is base64 in them in clear, too."""
    bodies = re.findall(rb'"body": ?"([A-Za-z0-9+/=]+)"', messages)
    assert bodies
    return b"\n".join([messages, *map(base64.b64decode, bodies)])
