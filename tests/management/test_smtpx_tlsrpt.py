"""``smtpx_tlsrpt``: reports of a day are sent or written, and it says which."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, time, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from django_smtpx import ledger
from django_smtpx.ledger import tls_results
from django_smtpx.management.commands import smtpx_tlsrpt
from django_smtpx.models import Delivery, Message
from django_smtpx.mx.answers import Answer
from django_smtpx.mx.tlsrpt import PolicyFacts, Session
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.testing import real_queue

pytestmark = pytest.mark.django_db
DAY = date(2026, 11, 1)
CONTACT = "tls@sender.example"
BULK = {"bulk": {"host": "127.0.0.1"}}


class Names:
    """A resolver for which domains that begin with "quiet" want no reports."""

    silent = False

    def __init__(self, options):
        self.options = options

    def txt(self, name):
        """Return where reports go."""
        if self.silent:
            raise ResolveError("nobody could say")
        domain = name.removeprefix("_smtp._tls.")
        records = () if domain.startswith("quiet") else (f"v=TLSRPTv1; rua=mailto:tls@{domain}",)
        return Answer(name=name, canonical=name, records=records)


@pytest.fixture(autouse=True)
def site(settings, monkeypatch):
    """Configure a site that reports, with the test's DNS."""
    monkeypatch.setattr(smtpx_tlsrpt, "Resolver", Names)
    settings.SMTPX_TLSRPT_CONTACT = f"TLS Reports <{CONTACT}>"
    settings.SMTPX_TLSRPT_ORGANIZATION = "Sender Ltd"
    tls_results._buffer.start_clean()
    with real_queue(host="127.0.0.1", port=1, mailers=BULK):
        yield


def count(domain, times=1, failure="", day=DAY):
    """Count sessions with a server of a domain."""
    policy = PolicyFacts(type="no-policy-found", domain=domain)
    session = Session(policy=policy, host=f"mx.{domain}", failure=failure)
    for _ in range(times):
        ledger.book_tls_session(session, now=lambda: datetime.combine(day, time(1), UTC))
    ledger.flush_tls_sessions()


def run(*args, **options):
    """Run the command and return the lines that it printed."""
    out = StringIO()
    call_command("smtpx_tlsrpt", *args, stdout=out, **options)
    return out.getvalue().splitlines()


def test_reports_are_sent_once():
    """To each domain that wants one, however often it is run; each line says what happened."""
    count("a.example", 3)
    count("a.example", 2, failure="starttls-not-supported")
    count("quiet.example")
    assert run(date=f"{DAY}") == [
        "a.example: 3 sessions as wanted, 2 failed.",
        "  sent to mailto:tls@a.example",
        "quiet.example: 1 sessions as wanted, 0 failed.",
        "  it wants no reports",
    ]
    assert run("--date", f"{DAY}", "--domain", "A.example") == [
        "a.example: 3 sessions as wanted, 2 failed.",
        "  sent to mailto:tls@a.example before",
    ]
    (message,) = Message.objects.all()
    assert (message.mailer, message.envelope_sender) == ("default", CONTACT)
    assert message.from_header == CONTACT
    assert Delivery.objects.get().recipient == "tls@a.example"


def test_the_day_is_yesterday():
    """In UTC, unless another one is said; and one that is not over has no report."""
    today = ledger.now().date()
    count("a.example", day=today - timedelta(days=1))
    count("b.example", day=today)
    assert run("--export", "-", verbosity=0)[0] == "["
    assert run()[0] == "a.example: 1 sessions as wanted, 0 failed."
    for bad in (str(today), "2999-01-01", "yesterday"):
        with pytest.raises(CommandError, match="--date"):
            run("--date", bad)


def test_the_mailer_and_the_sender_can_be_said():
    """On the command line, over the settings."""
    count("a.example")
    contact = "Ann <ann@other.example>"
    run("--date", f"{DAY}", "--mailer", "bulk", "--contact", contact, "--organization", "Other")
    message = Message.objects.get()
    assert (message.mailer, message.envelope_sender) == ("bulk", "ann@other.example")
    assert "Submitter: other.example" in message.subject


def test_a_straight_mailer_is_taken_first(monkeypatch):
    """It is the one whose sessions were counted."""
    from dataclasses import replace

    known = smtpx_tlsrpt.mailers()
    straight = {**known, "direct": replace(known["bulk"], name="direct", transport="mx")}
    monkeypatch.setattr(smtpx_tlsrpt, "mailers", lambda: straight)
    assert smtpx_tlsrpt._mailer(None).name == "direct"
    assert smtpx_tlsrpt._mailer("bulk").name == "bulk"
    monkeypatch.setattr(smtpx_tlsrpt, "mailers", dict)
    with pytest.raises(CommandError, match="--mailer"):
        smtpx_tlsrpt._mailer(None)


def test_what_could_not_be_sent_is_an_error(monkeypatch):
    """For whoever runs it each day: the others have gone, and the next run tries again."""
    count("a.example")
    monkeypatch.setattr(Names, "silent", True)
    with pytest.raises(CommandError, match="1 not sent"):
        run(date=f"{DAY}")
    monkeypatch.setattr(Names, "silent", False)
    assert run(date=f"{DAY}")[1] == "  sent to mailto:tls@a.example"


def test_nothing_counted():
    """That is no error."""
    assert run(date=f"{DAY}") == ["Nothing was counted on that day."]
    assert run(date=f"{DAY}", verbosity=0) == []


def test_export_writes_files_and_sends_nothing(tmp_path):
    """One for each domain, also for those that want none."""
    count("a.example", failure="validation-failure")
    count("quiet.example")
    place = tmp_path / "new" / "reports"
    lines = run("--date", f"{DAY}", "--export", str(place))
    assert sorted(map(str, place.iterdir())) == sorted(lines)
    said = json.loads((place / lines[0].rpartition("/")[2]).read_text())
    assert said["report-id"] == "20261101.a.example@sender.example"
    assert said["organization-name"] == "Sender Ltd"
    assert said["policies"][0]["failure-details"][0]["result-type"] == "validation-failure"
    assert not Message.objects.exists()


def test_export_to_the_output():
    """A list of all reports, as one JSON text."""
    count("a.example")
    count("b.example")
    said = json.loads("\n".join(run("--date", f"{DAY}", "--export", "-")))
    assert [one["policies"][0]["policy"]["policy-domain"] for one in said] == [
        "a.example",
        "b.example",
    ]
    assert json.loads("\n".join(run("--date", "2026-10-01", "--export", "-"))) == []


def test_who_cannot_be_answered_does_not_report(settings, tmp_path):
    """A site that has not said who it is may look at its reports all the same."""
    settings.SMTPX_TLSRPT_CONTACT = settings.SMTPX_TLSRPT_ORGANIZATION = None
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    count("a.example")
    with pytest.raises(CommandError, match="SMTPX_TLSRPT_CONTACT"):
        run("--date", f"{DAY}")
    assert len(run("--date", f"{DAY}", "--export", str(tmp_path))) == 1
    settings.DEFAULT_FROM_EMAIL = "Site <site@sender.example>"
    run("--date", f"{DAY}")
    assert Message.objects.get().envelope_sender == "site@sender.example"


@pytest.mark.parametrize(
    ("args", "why"),
    [
        (["--mailer", "nobody"], "nobody"),
        (["--contact", "no address at all"], "address"),
        (["--domain", "\N{LATIN SMALL LETTER A WITH DIAERESIS}" * 70 + ".example"], "domain"),
    ],
)
def test_what_cannot_be_meant_is_refused(args, why):
    """Before anything is sent."""
    count("a.example")
    with pytest.raises(CommandError, match=why):
        run("--date", f"{DAY}", *args)
    assert not Message.objects.exists()


@pytest.mark.parametrize("value", [5, "", "a@b, c@d"])
def test_a_bad_setting_is_told(settings, value):
    """By the command, as by the system check."""
    settings.SMTPX_TLSRPT_CONTACT = value
    with pytest.raises(CommandError, match="SMTPX_TLSRPT_CONTACT"):
        run("--date", f"{DAY}")
