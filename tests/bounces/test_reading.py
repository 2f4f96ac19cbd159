"""Reports as they come: those of the usual servers, those that are none, and hostile ones."""

from __future__ import annotations

import time
from datetime import UTC, datetime

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_smtpx import bounces
from django_smtpx.bounces import NotAReport, judged, read
from django_smtpx.smtp import Rule
from tests.bounces.samples import (
    EXCHANGE,
    EXIM,
    GMAIL,
    OUT_OF_OFFICE,
    QMAIL,
    READ_RECEIPT,
    SENDMAIL,
    TO,
    fate,
    postfix,
    report,
)


def only(data):
    """Return what a report says of its only recipient, and the verdict on it."""
    found = read(data)
    (one,) = found.fates
    return one, judged(one, "ann@example.com")


@pytest.mark.parametrize(
    ("data", "status", "code", "text", "host", "verdict"),
    [
        (postfix(), "5.1.1", 550, "<ann@example.com>: Recipient address rejected: User unknown in virtual mailbox table", "mail.example.com", ("mailbox_unknown", "suppress", "rcpt")),
        (EXIM, "5.2.2", 552, "The mailbox is over its quota.\nAsk the recipient to make room.", "mx1.example.com", ("mailbox_full", "fail", "rcpt")),
        (EXCHANGE, "5.1.10", 550, "RESOLVER.ADR.RecipientNotFound; Recipient ann@example.com not found by SMTP address lookup", "AM0PR01MB0001.eurprd01.prod.example.com", ("mailbox_unknown", "suppress", "rcpt")),
        (GMAIL, "5.1.1", 550, "The email account that you tried to reach does not exist. Please try\ndouble-checking the recipient's email address for typos or\nunnecessary spaces. x1-20020a05si1.1 - gsmtp", "gmail-smtp-in.l.google.com.", ("mailbox_unknown", "suppress", "rcpt")),
    ],
    ids=["Postfix", "Exim", "Exchange", "Gmail"],
)  # fmt: skip
def test_the_usual_servers(data, status, code, text, host, verdict):
    """The answer that they quote is found, and judged as if it had been said to us."""
    one, result = only(data)
    assert one.recipients[0] == "ann@example.com"
    assert (one.action, one.code, one.host) == ("failed", code, host)
    assert (result.enhanced_code, result.reply, result.code) == (status, text, code)
    assert (result.outcome, result.category, result.action, result.phase) == ("failed", *verdict)
    assert result.rule
    assert TO in read(data).addresses


def test_sendmail_tells_of_two():
    """Several recipients, one of them under another name, behind the line that mbox has."""
    found = read(SENDMAIL)
    first, second = found.fates
    assert first.recipients == ("ann@example.com", "ann.smith@inner.example.com")
    assert first.last_try_at == datetime(2026, 11, 22, 12, 0, 6, tzinfo=UTC)
    assert second.recipients == ("bob@example.com",)
    assert (second.code, second.text, second.host) == (None, "77", "relay.example.net")
    result = judged(second, "bob@example.com")
    assert (result.code, result.enhanced_code, result.category) == (
        None,
        "5.2.0",
        "other_permanent",
    )


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (QMAIL, "no report, but text/plain"),
        (OUT_OF_OFFICE, "no report, but text/plain"),
        (READ_RECEIPT, "another kind (disposition-notification)"),
        (b"", "no report"),
        (b"\n", "no report"),
        (b"From \n", "no report"),
        (report(), "names no recipient"),
        (report("Action: failed"), "names no recipient"),
        (report(fate(action="eaten")), "no action that is known, but 'eaten'"),
        (report(fate(), kind="text/plain"), "no part message/delivery-status"),
        (report(fate()).replace(b"boundary=b", b"bounds=b"), "no boundary"),
        (report(fate()).replace(b"boundary=b", b'boundary="' + b"b" * 300 + b'"'), "no boundary"),
        (report(fate()).replace(b"boundary=b", b"x" * 3000), "Content-Type is too long"),
        (b"X: " + b"x" * 300_000 + b"\n\n", "header is too long"),
        (report(*[fate(f"{n}@example.com") for n in range(201)]), "more than 200 recipients"),
        (report(fate()).replace(b"\n--b\n", b"\n--b\n\nx" * 30 + b"\n--b\n"), "no part message"),
    ],
)  # fmt: skip
def test_what_is_no_report(data, why):
    """It is told why."""
    with pytest.raises(NotAReport) as caught:
        read(data)
    assert why in str(caught.value)


@pytest.mark.parametrize("action", ["delivered", "relayed", "expanded", "Delivered (to mailbox)"])
def test_good_news(action):
    """A report may say that all went well."""
    one, result = only(report(fate(action=action, status="2.0.0")))
    assert one.action in bounces.DELIVERED
    assert (result.outcome, result.category, result.action) == ("sent", "ok", "none")


def test_a_delay():
    """What is tried on elsewhere is put off, whatever its words would have us do."""
    one, result = only(
        report(fate(action="delayed", status="4.4.1", Diagnostic_Code="smtp; 421 4.7.0 Slow down"))
    )
    assert (one.action, one.code) == ("delayed", 421)
    assert (result.outcome, result.action) == ("deferred", "retry")


@pytest.mark.parametrize("status", ["4.4.7", "5.4.7"])
def test_what_grew_too_old(status):
    """Who has tried long enough says so by the status, and quotes a temporary failure."""
    diagnostic = "smtp; 451 4.3.0 Try again later"
    _, result = only(report(fate(status=status, Diagnostic_Code=diagnostic)))
    assert (result.outcome, result.category, result.action) == ("failed", "expired", "fail")
    assert result.code == 451


def test_a_temporary_answer_that_was_given_up():
    """What has failed there is final here, and no reason to suppress."""
    _, result = only(report(fate(status="5.2.2", Diagnostic_Code="smtp; 452 4.2.2 Mailbox full")))
    assert (result.outcome, result.category, result.action) == ("failed", "mailbox_full", "fail")


def test_a_domain_that_the_reporter_did_not_find():
    """The DNS is no server that said so: the phase tells that, and nothing is suppressed."""
    said = "x-postfix; Host or domain name not found. Name service error for name=example.invalid"
    _, result = only(report(fate(status="5.4.4", Diagnostic_Code=said)))
    assert (result.category, result.action, result.phase, result.code) == (
        "domain_unknown",
        "fail",
        "resolve",
        None,
    )


def test_without_an_action_the_status_says_it():
    """Some leave it out."""
    for status, action in (("5.1.1", "failed"), ("4.2.2", "delayed")):
        group = f"Final-Recipient: rfc822;ann@example.com\nStatus: {status}"
        assert only(report(group))[0].action == action


def test_the_sites_own_rules_come_first():
    """They judge reports as they judge replies."""
    rule = Rule(id="ours", category="policy", action="fail", text="User unknown")
    assert judged(only(postfix())[0], "ann@example.com", (rule,)).rule == "ours"


@pytest.mark.parametrize(
    ("named", "meant"),
    [
        ("rfc822; <ann@example.com>", "ann@example.com"),
        ("ann@example.com", "ann@example.com"),
        ("rfc822;ann@example.com (expanded)", "ann@example.com"),
        ("rfc822; ann+2Btag@example.com", "ann+tag@example.com"),
        ("utf-8; j\\x{FC}rgen@example.com", "jürgen@example.com"),
        ("utf-8; jürgen@example.com", "jürgen@example.com"),
        ("utf-8; \\x{110000}\\x{D800}@example.com", "\\x{110000}\\x{D800}@example.com"),
    ],
)
def test_addresses(named, meant):
    """Types, escapes and brackets of addresses are understood."""
    group = f"Final-Recipient: {named}\nAction: failed\nStatus: 5.1.1"
    assert meant in only(report(group, kind="message/global-delivery-status"))[0].recipients


@pytest.mark.parametrize("named", ["x400; /S=ann", "", "rfc822; " + "a" * 400])
def test_addresses_that_are_none(named):
    """They match nothing."""
    assert (
        only(report(f"Final-Recipient: {named}\nAction: failed\nStatus: 5.0.0"))[0].recipients == ()
    )


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_an_encoded_part(encoding):
    """RFC 6533 allows it for those beyond ASCII; some do so to others, too."""
    import base64
    import quopri

    text = ("Reporting-MTA: dns; a\n\n" + fate(Diagnostic_Code="smtp; 550 =gone=")).encode()
    coded = base64.encodebytes(text) if encoding == "base64" else quopri.encodestring(text)
    data = report(head=coded.decode(), more=f"Content-Transfer-Encoding: {encoding}\n")
    assert only(data)[0].text == "=gone="
    with pytest.raises(NotAReport):
        read(report(head="!", more="Content-Transfer-Encoding: base64\n"))


def test_dates_that_are_none():
    """A report without a readable date is one all the same."""
    data = postfix(date="tomorrow", extra="Last-Attempt-Date: Mon, 99 Nov 99999 99:99:99\n")
    assert read(data).sent_at is None
    assert only(data)[0].last_try_at is None


@pytest.mark.parametrize(
    "data",
    [
        report(fate(Diagnostic_Code="smtp; 550 " + " " * 900_000 + "550")),
        report(fate(Diagnostic_Code="smtp; 550 " + "\n 550 " * 100_000)),
        report("\n".join(["X: y"] * 200_000), fate()),
        report(*["\n \n" * 100_000]),
        report(*["A: " + "\n\t" * 300_000]),
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\n" * 250_000,
        b"Content-Type: multipart/report; boundary=b" + b'; a="' * 380 + b"\n\n" + b"--b\n",
        b"Content-Type: multipart/report; boundary=b\n\n" + b"--b\nContent-Type: multipart/report; boundary=b\n\n" * 20_000,
        b"To: " + b"a@b, " * 50_000 + b"\n\n",
        b"To: " + b"(" * 200_000 + b"\n\n",
        b"\n" * 1_000_000,
        report(*[fate(Diagnostic_Code="smtp; 550 " + "x " * 300)] * 190),
    ],
)  # fmt: skip
def test_hostile_ones_cost_little(data):
    """Nothing is quadratic, and nothing recurses."""
    before = time.process_time()
    try:
        for one in read(data).fates:
            judged(one, "ann@example.com")
    except NotAReport:
        pass
    assert time.process_time() - before < 20


def test_what_is_returned_may_be_large():
    """A report whose mail is cut off by the limit is read all the same."""
    data = EXIM.replace(b"\nHello\n", b"\nHello\n" + b"x" * 70 * 1000 + b"\n" * 2_000_000)
    assert only(data)[0].status == "5.0.0"


LINES = st.lists(
    st.sampled_from(
        [b"", b"--b", b"--b--", b" folded", b"Final-Recipient: rfc822; a@b", b"Action: failed", b"Action:", b"Status: 5.1.1",
         b"Content-Type: message/delivery-status", b"Content-Type: multipart/report; boundary=b", b"Content-Type: ;;=?\xff",
         b"Content-Transfer-Encoding: base64", b"Diagnostic-Code: smtp; 550 \xff\0", b"Date: 1", b"To: (((", b"To: \xff@\xff",
         b"Reporting-MTA: ;", b"Content-Type: multipart/report; boundary*=utf-8''%FF; report-type*0=delivery-; report-type*1=status",
         b"Original-Recipient: utf-8; \\x{1F600}@x", b"Last-Attempt-Date: Sun, 22 Nov 0000 12:00:00 -9999"]
    ) | st.binary(max_size=12),
    max_size=16,
).map(b"\n".join)  # fmt: skip


@settings(deadline=None, max_examples=400)
@given(
    LINES
    | LINES.map(
        lambda tail: (
            b"Content-Type: multipart/report; boundary=b\n\n--b\nContent-Type: message/delivery-status\n\n"
            + tail
        )
    )
)
@example(b'Content-Type: multipart/report; boundary=""\n\n')
def test_nothing_else_is_raised(data):
    """Whatever comes, it is a report that can be judged, or a NotAReport."""
    try:
        found = read(data)
    except NotAReport as error:
        found = error
    if isinstance(found, NotAReport):
        assert str(found).startswith("it")
        return
    assert found.fates
    for one in found.fates:
        result = judged(one, "ann@example.com")
        assert result.outcome in ("sent", "deferred", "failed")
