"""Reports on TLS: what is counted of a session, how a report is written, and where it goes."""

from __future__ import annotations

import gzip
import json
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.mx.mta_sts import Failure, Found, Policy
from django_smtpx.mx.tlsrpt import (
    MOST_DETAILS,
    BadRecord,
    Counted,
    PolicyFacts,
    Report,
    Sender,
    Session,
    Target,
    facts,
    parse_record,
    parse_target,
    sts_facts,
    tlsa_facts,
)
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.errors import ConnectError, TLSError

DOMAIN = "example.com"
HOST = "mx.example.com"
POLICY = Policy(DOMAIN, "enforce", ("mx.example.com", "*.example.net"), 86400, "7")
STS = sts_facts(POLICY)
NONE = PolicyFacts(type="no-policy-found", domain=DOMAIN)
TLSAS = (TLSA(3, 1, 1, b"\xab\xcd"), TLSA(2, 0, 1, b"\x01"))
EXPIRED = TLSError("it has expired", ip="192.0.2.1", tls_failure="certificate-expired")


# -- facts -----------------------------------------------------------------------------------------


def test_a_session_without_a_policy():
    """It counts as one, with TLS or without."""
    assert facts(DOMAIN, HOST, ip="192.0.2.1", sending_ip="198.51.100.7") == (
        Session(policy=NONE, host=HOST, ip="192.0.2.1", sending_ip="198.51.100.7"),
    )
    (clear,) = facts(DOMAIN, HOST, tls=False, found=Found())
    assert (clear.failure, clear.counts) == ("starttls-not-supported", True)


def test_a_session_under_both_policies():
    """It is one of each: who looks after the one need not know of the other."""
    both = facts(DOMAIN, HOST, tlsa=TLSAS, found=Found(POLICY))
    assert [one.policy for one in both] == [tlsa_facts(DOMAIN, TLSAS), STS]
    assert {one.failure for one in both} == {""}


def test_a_session_that_failed():
    """By its type, with the address and the words of the error."""
    (session,) = facts(DOMAIN, HOST, found=Found(POLICY), error=EXPIRED, tls=False)
    assert session == Session(policy=STS, host=HOST, ip="192.0.2.1", failure="certificate-expired")
    assert session.reason == "it has expired"


def test_what_is_none_of_tls_is_not_counted():
    """A server that is away has not failed at TLS."""
    assert facts(DOMAIN, HOST, found=Found(POLICY), error=ConnectError("refused")) == ()


def test_an_address_literal_has_nobody_to_report_to():
    """It has no policies and no records."""
    assert facts("[192.0.2.1]", "192.0.2.1") == ()


def test_records_that_could_not_be_had():
    """A failure of DANE is one of a TLSA policy, though no record is known."""
    error = TLSError("bogus", tls_failure="dnssec-invalid")
    (session,) = facts(DOMAIN, HOST, error=error)
    assert session.policy == PolicyFacts(type="tlsa", domain=DOMAIN)


def test_a_policy_that_could_not_be_fetched():
    """The session counts for what held, and the failure comes beside it."""
    failure = Failure("sts-policy-fetch-error", "it took longer than 60 s")
    session, beside = facts(DOMAIN, HOST, found=Found(None, failure))
    assert session == Session(policy=NONE, host=HOST)
    assert beside == Session(
        policy=PolicyFacts(type="sts", domain=DOMAIN),
        failure="sts-policy-fetch-error",
        counts=False,
    )
    session, beside = facts(DOMAIN, HOST, found=Found(POLICY, failure))
    assert (session.policy, session.failure) == (STS, "")
    assert (beside.policy, beside.counts) == (STS, False)


def test_a_policy_that_ended_is_none():
    """The mode ``none`` is not one to report on."""
    ended = Policy(DOMAIN, "none", (), 86400, "8")
    assert facts(DOMAIN, HOST, found=Found(ended)) == (Session(policy=NONE, host=HOST),)


# -- reports ---------------------------------------------------------------------------------------

SENDER = Sender(organization="Über Ltd", contact="tls@sender.example", domain="sender.example")


def report(*counted):
    """Return a report on one day."""
    return Report(domain=DOMAIN, day=date(2026, 11, 21), sender=SENDER, counted=counted)


def test_a_report_as_json():
    """As in RFC 8460 section 4.4, each policy with its own counts and failures."""
    failed = Session(
        policy=STS,
        host=HOST,
        ip="192.0.2.1",
        sending_ip="198.51.100.7",
        failure="certificate-expired",
        reason="it has expired",
    )
    said = report(
        Counted(Session(policy=STS, host=HOST, ip="192.0.2.1"), 5326),
        Counted(Session(policy=NONE, host=HOST), 2),
        Counted(failed, 100),
        Counted(Session(policy=STS, failure="sts-policy-invalid", counts=False), 200),
    )
    assert json.loads(gzip.decompress(said.compressed())) == {
        "organization-name": "Über Ltd",
        "date-range": {
            "start-datetime": "2026-11-21T00:00:00Z",
            "end-datetime": "2026-11-21T23:59:59Z",
        },
        "contact-info": "tls@sender.example",
        "report-id": "20261121.example.com@sender.example",
        "policies": [
            {
                "policy": {
                    "policy-type": "sts",
                    "policy-string": [
                        "version: STSv1",
                        "mode: enforce",
                        "mx: mx.example.com",
                        "mx: *.example.net",
                        "max_age: 86400",
                    ],
                    "policy-domain": "example.com",
                    "mx-host": ["mx.example.com", "*.example.net"],
                },
                "summary": {
                    "total-successful-session-count": 5326,
                    "total-failure-session-count": 100,
                },
                "failure-details": [
                    {"result-type": "sts-policy-invalid", "failed-session-count": 200},
                    {
                        "result-type": "certificate-expired",
                        "sending-mta-ip": "198.51.100.7",
                        "receiving-mx-hostname": "mx.example.com",
                        "receiving-ip": "192.0.2.1",
                        "failed-session-count": 100,
                        "failure-reason-code": "it has expired",
                    },
                ],
            },
            {
                "policy": {"policy-type": "no-policy-found", "policy-domain": "example.com"},
                "summary": {
                    "total-successful-session-count": 2,
                    "total-failure-session-count": 0,
                },
            },
        ],
    }
    assert (said.sessions(failed=False), said.sessions(failed=True)) == (5328, 100)


def test_tlsa_records_in_a_report():
    """As the DNS shows them, in one order."""
    said = report(Counted(Session(policy=tlsa_facts(DOMAIN, TLSAS)), 1)).as_dict()
    assert said["policies"][0]["policy"] == {
        "policy-type": "tlsa",
        "policy-string": ["2 0 1 01", "3 1 1 ABCD"],
        "policy-domain": "example.com",
    }


def test_a_report_is_the_same_each_time():
    """Whoever gets it twice can tell, by its name, its id and its bytes."""
    one, other = report(Counted(Session(policy=STS), 1)), report(Counted(Session(policy=STS), 1))
    assert one.compressed() == other.compressed()
    assert one.file_name == "sender.example!example.com!1795219200!1795305599!001.json"


def test_a_report_has_an_end():
    """However many servers failed, and however long the words are."""
    many = [
        Counted(Session(policy=STS, host=f"{n}.example", failure="x", reason="y" * 5000), n)
        for n in range(1, MOST_DETAILS + 100)
    ]
    (policy,) = report(*many).as_dict()["policies"]
    details = policy["failure-details"]
    assert len(details) == MOST_DETAILS
    assert details[0]["failed-session-count"] == MOST_DETAILS + 99
    assert len(details[0]["failure-reason-code"]) == 300
    assert policy["summary"]["total-failure-session-count"] == sum(one.times for one in many)


# -- where they go ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "uris"),
    [
        ([], ()),
        (["v=spf1 -all"], ()),
        (["v=TLSRPTv1"], ()),
        (["v=TLSRPTv1; rua=mailto:a@example.com"], ("mailto:a@example.com",)),
        (["v=TLSRPTv1;rua=mailto:a@b.example;"], ("mailto:a@b.example",)),
        (
            ["other", "v=TLSRPTv1; x=y; rua=mailto:a@b.example , https://c.example/r?x=1; rua=b:c"],
            ("mailto:a@b.example", "https://c.example/r?x=1"),
        ),
        (["v=TLSRPTv1; rua=mailto:a@b.example,mailto:a@b.example"], ("mailto:a@b.example",)),
    ],
)
def test_a_record_tells_where_reports_go(records, uris):
    """One place or several, each once."""
    assert parse_record(records) == uris


def test_a_record_with_many_places():
    """Nobody is made to write to hundreds."""
    uris = [f"mailto:{n}@b.example" for n in range(100)]
    assert parse_record([f"v=TLSRPTv1; rua={','.join(uris)}"]) == tuple(uris[:10])


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (["v=TLSRPTv1; rua=mailto:a@b.example"] * 2, "2 TXT records"),
        (["v=TLSRPTv1;"], "rua"),
        (["v=TLSRPTv1; rua="], "field 'rua='"),
        (["v=TLSRPTv1; rua=mailto:a@b.example,"], "rua"),
        (["v=TLSRPTv1; words; rua=mailto:a@b.example"], "field 'words'"),
        (["v=TLSRPTv1; rua=mailto:ä@b.example"], "field"),
    ],
)
def test_a_record_that_is_none(records, why):
    """What cannot be read is not guessed."""
    with pytest.raises(BadRecord, match=why):
        parse_record(records)


def test_targets():
    """An address without what a form would fill in, or the parts of a URL."""
    assert parse_target("mailto:a%2Bb@c.example?subject=x").address == "a+b@c.example"
    assert parse_target("https://R.example") == Target(
        "https://R.example", host="r.example", port=443, path="/"
    )
    assert parse_target("https://r.example:8443/a/b?c=d")[2:] == ("r.example", 8443, "/a/b?c=d")


@pytest.mark.parametrize(
    "uri",
    [
        "http://r.example/",
        "mailto:",
        "https:///x",
        "https://u:p@r.example/",
        "https://r.example:x/",
        "ftp://r.example",
        "a@b.example",
        "https://[::1/",
    ],
)
def test_what_is_no_target(uri):
    """Nothing goes in clear, and nobody logs in anywhere."""
    with pytest.raises(BadRecord):
        parse_target(uri)


@given(
    st.lists(st.text(max_size=60).map("v=TLSRPTv1; rua=https:".__add__) | st.text(), max_size=2),
)
def test_whatever_the_dns_says(records):
    """It is places to send to, nothing, or a record that is none."""
    try:
        targets = [parse_target(uri) for uri in parse_record(records)]
    except BadRecord:
        return
    for target in targets:
        assert bool(target.address) != bool(target.host)
        assert target.path.isascii()
        assert target.path.isprintable()
