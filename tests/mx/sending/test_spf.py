"""SPF: RFC 7208, its limits and its macros."""

from __future__ import annotations

import pytest

from django_smtpx.mx.sending import spf, spf_terms
from tests.mx.sending.zone import SILENT, Zone

FOUR, SIX = "192.0.2.3", "2001:db8::cb01"

# RFC 7208 appendix A.
EXAMPLE = {
    "example.com": {"MX": ["mail-a.example.com", "mail-b.example.com"], "A": ["192.0.2.10", "192.0.2.11"]},
    "amy.example.com": {"A": "192.0.2.65"},
    "bob.example.com": {"A": "192.0.2.66"},
    "mail-a.example.com": {"A": "192.0.2.129"},
    "mail-b.example.com": {"A": "192.0.2.130"},
    "example.org": {"MX": "mail-c.example.org"},
    "mail-c.example.org": {"A": "192.0.2.140"},
    "10.2.0.192.in-addr.arpa": {"PTR": "example.com"},
    "65.2.0.192.in-addr.arpa": {"PTR": "amy.example.com"},
    "140.2.0.192.in-addr.arpa": {"PTR": "mail-c.example.org"},
}  # fmt: skip


def check(records, domain="a.test", address=FOUR, sender=None, helo="out.test"):
    """Return what is found for a client at ``address``."""
    zone = records if isinstance(records, Zone) else Zone(records)
    sender = f"user@{domain}" if sender is None else sender
    client = spf.Client(address=address, sender=sender, helo=helo)
    return spf.check_host(zone, client, domain)


def of(record, *, address=FOUR, **records):
    """Return what is found by one record of a.test, beside those of other names."""
    others = {name.replace("_", "."): own for name, own in records.items()}
    return check({"a.test": {"TXT": record}, **others}, address=address)


@pytest.mark.parametrize(
    ("record", "address", "result"),
    [
        ("v=spf1 +all", "192.0.2.129", "pass"),
        ("v=spf1 a -all", "192.0.2.10", "pass"),
        ("v=spf1 a -all", "192.0.2.129", "fail"),
        ("v=spf1 a:example.org -all", "192.0.2.10", "fail"),
        ("v=spf1 mx -all", "192.0.2.129", "pass"),
        ("v=spf1 mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx mx:example.org -all", "192.0.2.140", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.131", "pass"),
        ("v=spf1 mx/30 mx:example.org/30 -all", "192.0.2.143", "pass"),
        ("v=spf1 ptr -all", "192.0.2.65", "pass"),
        ("v=spf1 ptr -all", "192.0.2.140", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.65", "fail"),
        ("v=spf1 ip4:192.0.2.128/28 -all", "192.0.2.129", "pass"),
    ],
)
def test_the_examples_of_the_rfc(record, address, result):
    """RFC 7208 appendix A, word by word."""
    example = {**EXAMPLE, "example.com": {**EXAMPLE["example.com"], "TXT": record}}
    assert check(example, "example.com", address).result == result


@pytest.mark.parametrize(
    ("record", "result"),
    [
        ("v=spf1", "neutral"),
        ("V=SPF1 +ALL", "pass"),
        ("v=spf1 ?all", "neutral"),
        ("v=spf1 ~all", "softfail"),
        ("v=spf1  ip4:192.0.2.3  -all", "pass"),
        ("v=spf1 ip4:192.0.2.0/24", "pass"),
        ("v=spf1 ip6:2001:db8::/32 -all", "fail"),
        ("v=spf1 unknown=%{d} exp=why.test -all", "fail"),
        ("v=spf10 -all", "none"),
        ("something else", "none"),
        ("v=spf1 all:x.test", "permerror"),
        ("v=spf1 ip4:192.0.2.0/33", "permerror"),
        ("v=spf1 ip4:192.0.2.0/024", "permerror"),
        ("v=spf1 ip4:2001:db8::1", "permerror"),
        ("v=spf1 ip4", "permerror"),
        ("v=spf1 a:/24", "permerror"),
        ("v=spf1 a:x.123", "permerror"),
        ("v=spf1 a/33", "permerror"),
        ("v=spf1 a//129", "permerror"),
        ("v=spf1 a:-x.-y", "permerror"),
        ("v=spf1 include", "permerror"),
        ("v=spf1 exists", "permerror"),
        ("v=spf1 nonsense", "permerror"),
        ("v=spf1 -all redirect=b.test redirect=b.test", "permerror"),
        ("v=spf1 -all x=%{q}", "permerror"),
        ("v=spf1 a:%{d0}.test -all", "permerror"),
        ("v=spf1 exists:%{d}.té.test -all", "permerror"),
        # What is wrong behind a match is wrong all the same (section 4.6).
        ("v=spf1 +all nonsense", "permerror"),
    ],
)
def test_a_record_by_itself(record, result):
    """What no other name is asked for."""
    assert of(record).result == result


def test_ipv6():
    """Addresses of one family are compared with those of the same."""
    assert of("v=spf1 ip6:2001:db8::/32 -all", address=SIX).result == "pass"
    assert of("v=spf1 ip4:192.0.2.0/24 -all", address=f"::ffff:{FOUR}").result == "pass"
    host = {"A": FOUR, "AAAA": "2001:db8::1"}
    assert of("v=spf1 a:h.test//64 -all", address=SIX, h_test=host).result == "pass"
    assert of("v=spf1 a:h.test/24 -all", address=SIX, h_test=host).result == "fail"


def test_include():
    """Its pass is a match, and its fail is none; a domain without a record is an error."""

    def included(record, **others):
        return of("v=spf1 include:b.test ~all", b_test={"TXT": record} if record else {}, **others)

    assert included("v=spf1 ip4:192.0.2.3 -all").result == "pass"
    assert included("v=spf1 -all").result == "softfail"
    assert included("v=spf1 nonsense").result == "permerror"
    assert included("").result == "permerror"
    assert included(SILENT).result == "temperror"
    found = included("v=spf1 ip4:192.0.2.3 -all")
    assert (found.record, found.lookups) == ("v=spf1 include:b.test ~all", 1)
    assert found.why == "include:b.test in the record of a.test"


def test_redirect():
    """It stands for the whole record, where no term of that matches."""
    assert of("v=spf1 redirect=b.test", b_test={"TXT": "v=spf1 -all"}).result == "fail"
    assert of("v=spf1 redirect=b.test ip4:192.0.2.3").result == "pass"
    assert of("v=spf1 redirect=b.test").result == "permerror"


def test_the_limits():
    """Ten terms with a question, ten exchangers, two questions without an answer."""
    hosts = {f"h{at}_test": {"A": "192.0.2.99"} for at in range(11)}
    ten = " ".join(f"a:h{at}.test" for at in range(10))
    assert of(f"v=spf1 {ten} -all", **hosts).result == "fail"
    found = of(f"v=spf1 {ten} a:h10.test -all", **hosts)
    assert found.result == "permerror"
    assert "more than 10 lookups; a:h10.test is one too many" in found.why
    assert of("v=spf1 a:x.test a:y.test -all").result == "fail"
    assert of("v=spf1 a:x.test a:y.test a:z.test -all").result == "permerror"
    many = {"MX": [f"h{at}.test" for at in range(11)]}
    assert of("v=spf1 mx:m.test -all", m_test=many, **hosts).result == "permerror"
    loop = of("v=spf1 include:a.test -all")
    assert (loop.result, loop.lookups) == ("permerror", 11)


def test_what_nobody_can_say():
    """Another try may help; a name of an address that cannot be had is none, though."""
    assert of(SILENT).result == "temperror"
    assert of("v=spf1 a:b.test -all", b_test={"A": SILENT}).result == "temperror"
    pointer = "3.2.0.192.in-addr.arpa"
    assert check({"a.test": {"TXT": "v=spf1 ptr -all"}, pointer: {"PTR": SILENT}}).result == "fail"
    names = {pointer: {"PTR": "h.a.test"}, "h.a.test": {"A": SILENT}}
    assert check({"a.test": {"TXT": "v=spf1 ptr -all"}, **names}).result == "fail"


@pytest.mark.parametrize("domain", ["localhost", "", "a..test", f"{'x' * 64}.test"])
def test_what_can_have_no_record(domain):
    """Nothing is asked about it (section 4.3)."""
    zone = Zone({})
    assert check(zone, domain).result == "none"
    assert zone.asked == []


def test_exists():
    """Any address of IPv4 is a match, also for a client of IPv6 (section 5.7)."""
    record = "v=spf1 exists:%{i}._spf.%{d2} -all"
    assert (
        check({"a.test": {"TXT": record}, f"{FOUR}._spf.a.test": {"A": "127.0.0.2"}}).result
        == "pass"
    )
    assert of("v=spf1 exists:h.test -all", h_test={"AAAA": SIX}).result == "fail"
    assert of("v=spf1 exists:%{l}..test -all").result == "fail"


# RFC 7208 section 7.4.
@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("%{s}", "strong-bad@email.example.com"),
        ("%{o}", "email.example.com"),
        ("%{d}", "email.example.com"),
        ("%{d4}", "email.example.com"),
        ("%{d3}", "email.example.com"),
        ("%{d2}", "example.com"),
        ("%{d1}", "com"),
        ("%{dr}", "com.example.email"),
        ("%{d2r}", "example.email"),
        ("%{l}", "strong-bad"),
        ("%{l-}", "strong.bad"),
        ("%{lr}", "strong-bad"),
        ("%{lr-}", "bad.strong"),
        ("%{l1r-}", "strong"),
        ("%{ir}.%{v}._spf.%{d2}", "3.2.0.192.in-addr._spf.example.com"),
        ("%{lr-}.lp._spf.%{d2}", "bad.strong.lp._spf.example.com"),
        ("%{d2}.trusted-domains.example.net", "example.com.trusted-domains.example.net"),
        ("%{S}.%%%_%-", "strong-bad%40email.example.com.% %20"),
        ("%{h}", "mx.example.org"),
        ("%{p}", "mx.example.org"),
    ],
)
def test_macros(text, filled):
    """The examples of RFC 7208 section 7.4."""
    zone = Zone(
        {"3.2.0.192.in-addr.arpa": {"PTR": "mx.example.org"}, "mx.example.org": {"A": FOUR}}
    )
    sender = "strong-bad@email.example.com"
    client = spf.Client(address=FOUR, sender=sender, helo="mx.example.org")
    checking = spf._Checking(zone, client)
    term = spf_terms.Term(text=text, name="exists", domain=text)
    assert checking._target(term, "email.example.com") == filled


def test_macros_of_ipv6_and_of_nobody():
    """Nibbles, an unknown name, and postmaster where there is no local part."""
    checking = spf._Checking(Zone({}), spf.Client(address=SIX, sender="", helo="out.test"))

    def filled(text):
        return checking._target(spf_terms.Term(text=text, name="a", domain=text), "out.test")

    assert filled("%{ir}.%{v}.arpa") == f"{'.'.join('10bc' + '0' * 20 + '8bd01002')}.ip6.arpa"
    assert filled("%{s}.%{p}") == "postmaster@out.test.unknown"


def test_a_name_that_is_too_long_loses_its_head():
    """RFC 7208 section 7.3."""
    name = spf_terms.expand("%{l}.example.com", lambda letter: ".".join(["label"] * 60))
    assert len(name) <= 253
    assert name.endswith("label.example.com")
    assert name.startswith("label.")


def test_by_the_name_in_ehlo():
    """Without a reverse path the name said in EHLO is judged (section 2.4)."""
    records = {"out.test": {"TXT": "v=spf1 ip4:192.0.2.3 -all"}}
    assert check(records, "out.test", sender="").result == "pass"
