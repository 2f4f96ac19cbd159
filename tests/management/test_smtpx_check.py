"""``smtpx_check``: what a newcomer is told at midnight."""

from __future__ import annotations

import base64
import json
import socket
from contextlib import closing
from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django.utils import translation

from django_smtpx.smtp import probe
from django_smtpx.smtp.diagnosis import siblings
from django_smtpx.testing import ScriptedServer, real_queue

PASSWORD = "correct-horse-battery"
LOGIN = {"username": "me@example.com", "password": PASSWORD}
IN_CLEAR = {"security": "none", "allow_plaintext_auth": True}
TO = "you@example.net"


@pytest.fixture(autouse=True)
def _no_other_ports(monkeypatch):
    """The usual ports of this machine may be anybody's."""
    monkeypatch.setattr(siblings, "PORTS", ())
    probe.findings.forget()
    yield
    probe.findings.forget()


def closed_port():
    """Return a port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


def run(*args):
    """Run the command; return what it printed, and what it failed with."""
    out, err = StringIO(), StringIO()
    failure, code = "", 1
    try:
        call_command("smtpx_check", *args, stdout=out, stderr=err, no_color=True)
    except CommandError as error:
        failure, code = str(error), error.returncode
    assert code == 1
    said = out.getvalue() + err.getvalue() + failure
    for secret in (PASSWORD, base64.b64encode(PASSWORD.encode()).decode().rstrip("=")):
        assert secret not in said
    plain = b"\0me@example.com\0" + PASSWORD.encode()
    assert base64.b64encode(plain).decode().rstrip("=") not in said
    return out.getvalue(), failure


def steps(*args):
    """Return the steps of the only diagnosis by name, as JSON has them."""
    out, _ = run(*args, "--format", "json")
    (diagnosis,) = json.loads(out)["diagnoses"]
    return {step["name"]: step for step in diagnosis["steps"]}


def test_all_that_passes_is_one_line_a_step():
    """Nothing is sent: RSET follows RCPT, and the exit code is 0."""
    users = {"me@example.com": PASSWORD}
    with ScriptedServer(users=users) as server, real_queue(server, **LOGIN, **IN_CLEAR):
        out, failure = run("default", "--to", TO)
        assert server.sessions[0].verbs[-4:] == ("MAIL", "RCPT", "RSET", "QUIT")
        assert server.messages == ()
    assert failure == ""
    lines = out.splitlines()
    assert lines[0] == f"Mailer 'default': 127.0.0.1 port {server.port}"
    titles = [line[9:24].strip() for line in lines[1:] if line[:9].strip() in ("ok", "–")]
    assert titles == [
        "configuration", "DNS", "TCP", "TLS mode", "certificate", "EHLO", "AUTH", "sender",
        "recipient", "message",
    ]  # fmt: skip
    assert "FAILS" not in out
    assert "mechanism PLAIN" in out


def test_json_has_the_same_values():
    """Each step has its name, whether it passes, its evidence, a cause and a mend."""
    with ScriptedServer() as server, real_queue(server):
        out, failure = run("default", "--format", "json")
    assert failure == ""
    found = json.loads(out)
    assert found["ok"] is True
    (diagnosis,) = found["diagnoses"]
    assert diagnosis.keys() == {"mailer", "host", "port", "steps", "ok"}
    for step in diagnosis["steps"]:
        assert step.keys() == {"name", "ok", "evidence", "cause", "mend"}
    ehlo = next(step for step in diagnosis["steps"] if step["name"] == "ehlo")
    assert ehlo["evidence"]["banner"] == "220 scripted.example ESMTP ready"
    assert ehlo["evidence"]["size"] == 52428800
    assert ehlo["evidence"]["round_trip"] >= 0


def test_json_of_a_failure_is_json_all_the_same():
    """What fails is named on stderr, and stdout has nothing but JSON."""
    with real_queue(host="127.0.0.1", port=closed_port(), security="none"):
        out, failure = run("default", "--format", "json")
    assert json.loads(out)["ok"] is False
    assert failure == "Failed: default (127.0.0.1), TCP"


def test_send_sends_one_small_mail():
    """It goes over the same connection, and the server's reply is reported."""
    with ScriptedServer() as server, real_queue(server):
        out, failure = run("default", "--to", TO, "--send")
        (message,) = server.messages
    assert failure == ""
    assert message.recipients == (TO,)
    assert b"smtpx_check" in message.content
    assert len(server.sessions) == 1
    assert "message" in out.splitlines()[-1]
    assert "250" in out.splitlines()[-1]


def test_send_goes_where_redirect_to_says():
    """A staging site's test mail reaches nobody else, either."""
    with ScriptedServer() as server, real_queue(server, redirect_to=["dev@example.com"]):
        run("default", "--to", TO, "--send")
        (message,) = server.messages
    assert message.recipients == ("dev@example.com",)


def test_a_content_that_is_refused_fails():
    """The step after the recipient has the reply to the content."""
    script = {"EOD": "550 5.7.1 Looks like spam"}
    with ScriptedServer(script=script) as server, real_queue(server):
        found = steps("default", "--to", TO, "--send")
    assert found["recipient"]["ok"] is True
    assert found["message"]["ok"] is False
    assert "550 5.7.1 Looks like spam" in found["message"]["cause"]


def test_send_needs_an_address():
    """Nothing is guessed."""
    _, failure = run("default", "--send")
    assert failure == "--send needs --to: the address that the test mail goes to."


def test_where_others_see_mail_come_from_is_an_address():
    """A name, or half of an address, is told before anything is asked."""
    with real_queue(transport="mx", helo="out.sender.example"):
        _, failure = run("default", "--address", "203.0")
    assert "'203.0'" in failure


def test_an_address_that_is_none_is_an_error():
    """It is told before anybody is connected to."""
    with ScriptedServer() as server, real_queue(server):
        _, failure = run("default", "--to", "no body@example.net")
        assert server.sessions == ()
    assert "no body@example.net" in failure


def test_all_mailers_where_none_is_named():
    """One that is set up wrongly does not keep the others from being looked at."""
    with ScriptedServer() as server:
        wrong = {"username": "u", "prot": 25, "password": PASSWORD}
        with real_queue(server, mailers={"wrong": wrong}):
            out, failure = run("--format", "json")
    first, second = json.loads(out)["diagnoses"]
    assert (first["mailer"], first["ok"]) == ("default", True)
    assert (second["mailer"], second["ok"]) == ("wrong", False)
    assert "prot" in second["steps"][0]["cause"]
    assert second["steps"][0]["mend"] != ""
    assert [step["ok"] for step in second["steps"][1:]] == [None] * 9
    assert failure == "Failed: wrong, configuration"


def test_an_unknown_mailer_names_the_known_ones():
    """As everywhere."""
    with real_queue(host="127.0.0.1", port=1):
        _, failure = run("defualt")
    assert "'default'" in failure


def test_each_host_has_its_steps():
    """The second one is looked at whatever the first says."""
    hosts = {"host": ["127.0.0.1", "localhost"]}
    with ScriptedServer() as server, real_queue(server, **hosts):
        out, failure = run()
    assert failure == ""
    assert out.count("Mailer 'default'") == 2


def test_text_is_in_the_language_of_the_site_and_json_is_not():
    """What people read is translated, down to the evidence; what programs read is the same for all."""
    server = {"host": "127.0.0.1", "port": closed_port(), "security": "none"}
    with real_queue(**server), translation.override("de"):
        shown, _ = run("default")
        found = steps("default")
        with pytest.raises(CommandError, match=r"Ungültige Adresse 'a@b\.de, c@d\.de': Es muss"):
            call_command("smtpx_check", "default", "--to", "a@b.de, c@d.de")
    assert "Ursache: Niemand lauscht auf Port" in shown
    assert "Abhilfe: Berichtigen Sie host und port, oder starten Sie den Server." in shown
    assert "login keine" in shown
    assert "Nobody" not in shown
    assert found["tcp"]["cause"].startswith("Nobody listens on port")
    assert found["configuration"]["evidence"]["login"] == "none"
