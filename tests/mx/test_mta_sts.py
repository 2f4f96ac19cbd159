"""MTA-STS: records and policies as they are written, and which one holds when."""

from __future__ import annotations

import logging
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.mx.answers import Answer
from django_smtpx.mx.mta_sts import (
    LONGEST,
    PAUSE,
    REFRESH,
    REFRESH_PAUSE,
    SHORTEST,
    BadPolicy,
    Policies,
    Policy,
    Stored,
    parse_policy,
    parse_record,
)
from django_smtpx.mx.policy_host import PolicyHosts, Unavailable
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.testing.certificates import make_certificate
from tests.mx.web import Web, response

DAY = 86_400
DOMAIN = "example.com"
GOOD = b"version: STSv1\r\nmode: enforce\r\nmx: mx.example.com\r\nmax_age: 604800\r\n"
TESTING = GOOD.replace(b"enforce", b"testing")
NONE = b"version: STSv1\nmode: none\nmax_age: 86400\n"


# -- the record ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("records", "said"),
    [
        ([], None),
        (["v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        (["v=STSv1;id=a"], "a"),
        (["v=STSv1 ; \tid=a ; later=x:y"], "a"),
        (["v=STSv1; later=1; id=a; id=b"], "a"),
        (["v=spf1 -all", "v=STSv1; id=a"], "a"),
        (["v=STSv1"], None),
        (["v=STSv2; id=a"], None),
        (["V=STSv1; id=a", " v=STSv1; id=a", "v=STSv10; id=a"], None),
        (["id=a; v=STSv1;"], None),
    ],
)
def test_a_record_tells_its_id(records, said):
    """Others at the same name are passed over, and so are fields that are not known."""
    assert parse_record(records) == said


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (["v=STSv1; id=a", "v=STSv1; id=a"], "there are 2 TXT records"),
        (["v=STSv1;"], "no id"),
        (["v=STSv1; id=;"], "field 'id='"),
        (["v=STSv1; id=a-b;"], "no id"),
        ([f"v=STSv1; id={'a' * 33}"], "no id"),
        (["v=STSv1; id = a"], "field 'id = a'"),
        (["v=STSv1; id=a;; x=y"], "field ''"),
        (["v=STSv1; id=a; words"], "field 'words'"),
        (["v=STSv1; id=ä"], "field 'id=ä'"),
    ],
)
def test_a_record_that_is_none(records, why):
    """Two records, or one that is written wrongly, are as good as none, and can be reported."""
    with pytest.raises(BadPolicy, match=why):
        parse_record(records)


# -- the policy ------------------------------------------------------------------------------------


def test_a_policy_is_read():
    """Its fields in any order, ended by LF or CRLF, with unknown ones among them."""
    body = (
        b"mode:enforce\r\nmx:  MX1.example.com \nmx: *.mail.example.com\nfuture_field: \xc3\xa4 x: y"
        b"\r\nmax_age: 86400\nversion: STSv1\nmx: mx1.example.com"
    )
    assert parse_policy(body, DOMAIN, "7") == Policy(
        DOMAIN, "enforce", ("mx1.example.com", "*.mail.example.com"), 86400, "7"
    )


def test_of_what_may_be_there_once_the_first_counts():
    """As RFC 8461 section 3.2 has it; ``mx`` alone may be there again."""
    body = GOOD + b"mode: none\nmax_age: 1\nversion: STSv2\nmx: b.example.com\n"
    policy = parse_policy(body, DOMAIN, "7")
    assert (policy.mode, policy.max_age) == ("enforce", 604800)
    assert policy.mx == ("mx.example.com", "b.example.com")


@pytest.mark.parametrize(
    ("said", "kept"), [("0", 0), ("31557600", LONGEST), ("9999999999", LONGEST)]
)
def test_the_age_that_is_kept(said, kept):
    """More than the most is the most: to refuse such a policy would protect nobody."""
    body = GOOD.replace(b"604800", said.encode())
    assert parse_policy(body, DOMAIN, "7").max_age == kept


@pytest.mark.parametrize(
    ("body", "why"),
    [
        (b"", "version"),
        (b"\xff" + GOOD, "UTF-8"),
        (b"<html>\n<p>Welcome</p>\n</html>\n", "line '<html>'"),
        (GOOD.replace(b"STSv1", b"STSv2"), "version"),
        (GOOD.replace(b"version: STSv1\r\n", b""), "version"),
        (GOOD.replace(b"enforce", b"Enforce"), "mode that is known: 'Enforce'"),
        (GOOD.replace(b"mode: enforce\r\n", b""), "mode"),
        (GOOD.replace(b"mx: mx.example.com\r\n", b""), "names no mx"),
        (GOOD.replace(b"604800", b"-1"), "max_age in seconds: '-1'"),
        (GOOD.replace(b"604800", b"1.5"), "max_age"),
        (GOOD.replace(b"604800", b"1 day"), "max_age"),
        (GOOD.replace(b"604800", b"12345678901"), "max_age"),
        (GOOD.replace(b"604800", "٣".encode()), "max_age"),
        (GOOD.replace(b"max_age: 604800\r\n", b""), "max_age"),
        (GOOD + b"mode\r\n", "line 'mode'"),
        (GOOD + b" mx: mx.example.com\r\n", "line ' mx: mx.example.com'"),
        *(
            (GOOD + b"mx: " + mx + b"\n", "has the mx")
            for mx in (
                b"",
                b"*",
                b"*.",
                b"a.*.example",
                b"*a.example",
                b"a..b",
                b"a b",
                b".a",
                b"a.",
            )
        ),
    ],
)
def test_a_policy_that_is_none(body, why):
    """It counts as not there, whole as it is: a half of it could let through what all of it bars."""
    with pytest.raises(BadPolicy, match=why):
        parse_policy(body, DOMAIN, "7")


def test_a_policy_that_ends_policies():
    """The mode ``none`` names no servers, and may all the same."""
    assert parse_policy(NONE, DOMAIN, "7") == Policy(DOMAIN, "none", (), 86400, "7")
    assert parse_policy(GOOD.replace(b"enforce", b"none"), DOMAIN, "7").mode == "none"


@pytest.mark.parametrize(
    ("pattern", "host", "said"),
    [
        ("mx.example.com", "mx.example.com", True),
        ("mx.example.com", "MX.Example.COM.", True),
        ("mx.example.com", "mx2.example.com", False),
        ("mx.example.com", "a.mx.example.com", False),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", "example.com", False),
        ("*.example.com", "mxexample.com", False),
        ("*.example.com", "mx.example.com.evil.example", False),
    ],
)
def test_hosts_that_match(pattern, host, said):
    """A star stands for the leftmost label alone, and for one (RFC 8461 section 4.1)."""
    policy = Policy(DOMAIN, "enforce", ("other.example", pattern), DAY, "7")
    assert policy.matches(host) is said


def test_a_policy_in_lines():
    """For reports: what is known of it, as it would be written."""
    assert parse_policy(GOOD, DOMAIN, "7").lines == tuple(GOOD.decode().split("\r\n")[:-1])


@given(
    st.binary(max_size=300)
    | st.lists(
        st.sampled_from(
            [b"version: STSv1", b"mode: enforce", b"mode: none", b"mx: a.example", b"max_age: 1"]
        )
        | st.binary(max_size=20)
    ).map(b"\r\n".join)
)
def test_whatever_a_web_server_says(body):
    """It is a policy that can be obeyed, or none; nothing else comes of it."""
    try:
        policy = parse_policy(body, DOMAIN, "7")
    except BadPolicy:
        return
    assert policy.mode == "none" or policy.mx
    assert 0 <= policy.max_age <= LONGEST
    again = "\n".join(policy.lines).encode()
    assert parse_policy(again, DOMAIN, "7") == policy


@given(st.lists(st.text(max_size=60).map("v=STSv1;".__add__) | st.text(max_size=60), max_size=3))
def test_whatever_the_dns_says(records):
    """It is an id, nothing, or a record that is none."""
    try:
        found = parse_record(records)
    except BadPolicy:
        return
    assert found is None or (found.isalnum() and found.isascii() and len(found) <= 32)


# -- what holds ------------------------------------------------------------------------------------


class Memory:
    """A store in memory; ``reads`` and ``writes`` count what it was asked."""

    def __init__(self):
        self.rows = {}
        self.reads = self.writes = 0

    def get(self, domain):
        """Return what is known."""
        self.reads += 1
        return self.rows.get(domain)

    def put(self, stored):
        """Write by compare-and-swap."""
        self.writes += 1
        there = self.rows.get(stored.domain)
        if stored.version != (there.version if there else 0):
            return False
        self.rows[stored.domain] = replace(stored, version=stored.version + 1)
        return True


class World:
    """A domain's TXT records, its policy file, and the time."""

    def __init__(self):
        self.now = 1_700_000_000.0
        self.texts = ["v=STSv1; id=1"]
        self.file = GOOD
        self.asked = 0
        self.fetched = 0
        self.store = Memory()
        self.policies = self.process()

    def process(self):
        """Return what another process would have, over the same store."""
        return Policies(self, self.store, fetch=self.fetch, now=lambda: self.now)

    def txt(self, name):
        """Answer as the resolver does."""
        assert name == f"_mta-sts.{DOMAIN}"
        self.asked += 1
        if isinstance(self.texts, Exception):
            raise self.texts
        return Answer(name=name, canonical=name, records=tuple(self.texts))

    def addresses(self, host):
        """Say that nobody asks for them here."""
        raise AssertionError(host)

    def fetch(self, domain):
        """Return the policy file."""
        assert domain == DOMAIN
        self.fetched += 1
        if isinstance(self.file, Exception):
            raise self.file
        return self.file

    def found(self):
        """Return what holds now."""
        return self.policies.policy_for(DOMAIN)

    def mode(self):
        """Return the mode that holds now, "" without a policy."""
        policy = self.found().policy
        return "" if policy is None else policy.mode


@pytest.fixture
def world():
    """A domain with a policy that nobody knows yet."""
    return World()


AWAY = Unavailable("mta-sts.example.com took longer than 60 s")


def test_a_policy_is_fetched_once(world):
    """By all processes together, as long as the record tells the same id."""
    found = world.found()
    assert found.failure is None
    assert found.policy == Policy(DOMAIN, "enforce", ("mx.example.com",), 604800, "1")
    world.now += REFRESH - 1
    assert world.found() == found
    world.policies = world.process()
    assert world.found() == found
    assert (world.fetched, world.store.writes) == (1, 1)


def test_a_domain_without_a_record_has_no_policy(world):
    """No web server is asked, and nothing is written."""
    world.texts = []
    assert world.found().policy is None
    assert world.found().failure is None
    assert (world.fetched, world.store.writes) == (0, 0)


def test_a_record_that_is_none_is_reported(world):
    """Mail goes as if there were no policy, and the report says why."""
    world.texts = ["v=STSv1; id=1", "v=STSv1; id=2"]
    found = world.found()
    assert found.policy is None
    assert found.failure == (
        "sts-policy-invalid",
        "example.com: there are 2 TXT records for MTA-STS, and one is allowed",
    )
    assert world.fetched == 0


def test_a_new_id_brings_the_new_policy(world):
    """At once, whatever the old one's age."""
    assert world.mode() == "enforce"
    world.file = TESTING
    assert world.mode() == "enforce"
    world.texts = ["v=STSv1; id=2"]
    assert world.mode() == "testing"
    assert world.found().policy.id == "2"
    assert world.fetched == 2


@pytest.mark.parametrize(
    "texts",
    [[], ["v=STSv1"], ["v=STSv1; id=1", "v=STSv1; id=2"], ResolveError("nobody could say")],
    ids=["gone", "none", "two", "silent"],
)
def test_a_known_policy_outlives_its_record(world, texts):
    """Who hides the record from us gains nothing until the policy expires."""
    assert world.mode() == "enforce"
    world.texts = texts
    world.now += 604_799
    assert world.mode() == "enforce"
    world.now += 1
    assert world.mode() == ""
    assert world.fetched == 1


def test_a_policy_changes_during_an_outage(world, caplog):
    """The old one holds while the new one cannot be had, and the host is asked now and then."""
    assert world.mode() == "enforce"
    world.texts, world.file = ["v=STSv1; id=2"], AWAY
    for _ in range(5):
        found = world.found()
        assert found.policy.id == "1"
        assert found.failure == ("sts-policy-fetch-error", str(AWAY))
    assert world.fetched == 2
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    world.now += PAUSE
    assert world.found().policy.id == "1"
    assert world.fetched == 3
    world.file = TESTING
    world.now += PAUSE
    found = world.found()
    assert (found.policy.id, found.policy.mode, found.failure) == ("2", "testing", None)


def test_another_id_is_tried_at_once(world):
    """The pause after a failure is that of one id (RFC 8461 section 3.3)."""
    world.file = AWAY
    assert world.mode() == ""
    world.texts, world.file = ["v=STSv1; id=2"], GOOD
    assert world.mode() == "enforce"


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        (AWAY, "sts-policy-fetch-error"),
        (Unavailable("expired", "sts-webpki-invalid"), "sts-webpki-invalid"),
        (b"<html>", "sts-policy-invalid"),
    ],
)
def test_an_unreachable_host_costs_its_timeout_once(world, file, kind):
    """For all processes, and all the same it is told each time why there is no policy."""
    world.file = file
    for _ in range(3):
        found = world.found()
        assert found.policy is None
        assert found.failure.tls_failure == kind
        world.policies = world.process()
    assert world.fetched == 1
    world.now += PAUSE
    world.file = GOOD
    assert world.mode() == "enforce"


def test_a_silent_name_server_costs_its_timeout_once(world):
    """In each process, for a while."""
    world.texts = ResolveError("nobody could say")
    for _ in range(3):
        assert world.found().failure == ("sts-policy-fetch-error", "nobody could say")
    assert world.asked == 1
    world.now += PAUSE
    world.texts = ["v=STSv1; id=1"]
    assert world.mode() == "enforce"


def test_a_policy_is_refreshed_before_it_expires(world):
    """Once a day, so that it never ends while mail goes there; and if that fails it holds on."""
    world.found()
    world.now += REFRESH
    assert world.mode() == "enforce"
    assert world.fetched == 2
    world.now += REFRESH
    world.file = AWAY
    for _ in range(3):
        found = world.found()
        assert (found.policy.mode, found.failure.tls_failure) == ("enforce", AWAY.tls_failure)
    assert world.fetched == 3
    world.now += REFRESH_PAUSE
    assert world.mode() == "enforce"
    assert world.fetched == 4
    world.file = GOOD
    world.now += REFRESH_PAUSE
    world.found()
    world.now += 604_799
    world.texts = []
    assert world.mode() == "enforce"


def test_a_policy_of_hours_is_refreshed_at_its_half(world):
    """However short it is kept for."""
    world.file = GOOD.replace(b"604800", b"7200")
    world.found()
    world.now += 3599
    world.found()
    assert world.fetched == 1
    world.now += 1
    assert world.mode() == "enforce"
    assert world.fetched == 2


def test_a_policy_for_no_time_is_kept_for_minutes(world):
    """Its host is not asked for each mail."""
    world.file = GOOD.replace(b"604800", b"0")
    for _ in range(3):
        assert world.mode() == "enforce"
    assert world.fetched == 1
    world.now += SHORTEST
    assert world.mode() == "enforce"
    assert world.fetched == 2
    world.texts = []
    world.now += SHORTEST
    assert world.mode() == ""


def test_one_process_refreshes_for_all(world):
    """Whoever finds another at it goes on with what is known."""
    world.found()
    world.now += REFRESH
    other = world.process()
    within = []

    def fetch(domain):
        within.append(other.policy_for(domain).policy.mode)
        return GOOD

    world.policies = Policies(world, world.store, fetch=fetch, now=lambda: world.now)
    assert world.mode() == "enforce"
    assert within == ["enforce"]
    assert world.fetched == 1


def test_two_that_refresh_at_the_same_moment(world):
    """The row lets one of them."""
    world.found()
    world.now += REFRESH
    get = world.store.get

    def late(domain):
        stored = get(domain)
        world.store.get = get
        assert world.process().policy_for(domain).policy is not None
        return stored

    world.store.get = late
    assert world.mode() == "enforce"
    assert world.fetched == 2


def test_what_one_could_not_fetch_hides_nothing(world):
    """A policy that was fetched is kept, though another process has just noted a failure."""
    world.file = AWAY
    failing = world.process()

    def fetch(domain):
        assert failing.policy_for(domain).policy is None
        return GOOD

    world.policies = Policies(world, world.store, fetch=fetch, now=lambda: world.now)
    assert world.mode() == "enforce"
    assert world.process().policy_for(DOMAIN).policy.mode == "enforce"


def test_a_policy_is_removed(world):
    """By one with the mode ``none``, and not before it is there (RFC 8461 section 8.3)."""
    world.found()
    world.texts, world.file = ["v=STSv1; id=2"], NONE
    assert world.mode() == "none"
    assert world.store.rows[DOMAIN].policy.mx == ()
    world.texts = []
    assert world.mode() == "none"
    world.now += DAY
    assert world.mode() == ""


def test_a_doubted_policy_is_fetched_anew(world):
    """Where no server is as the policy has it, it may be the policy that is old, whatever its id."""
    world.found()
    world.now += PAUSE
    assert world.mode() == "enforce"
    assert world.fetched == 1
    world.policies.doubt(DOMAIN)
    world.file = TESTING
    assert world.mode() == "testing"
    assert world.mode() == "testing"
    assert world.fetched == 2


def test_doubting_for_each_mail_costs_a_fetch_now_and_then(world):
    """A server that stays wrong does not make us ask its domain all the time."""
    world.found()
    for _ in range(3):
        world.policies.doubt(DOMAIN)
        assert world.mode() == "enforce"
    assert world.fetched == 1
    world.now += PAUSE
    assert world.mode() == "enforce"
    assert world.fetched == 2
    world.file = AWAY
    for _ in range(3):
        world.now += PAUSE
        world.policies.doubt(DOMAIN)
        assert world.mode() == "enforce"
    assert world.fetched == 5


def test_a_doubt_asks_a_silent_name_server_again(world):
    """What the DNS did not say minutes ago it may say now."""
    world.found()
    world.texts = ResolveError("nobody could say")
    world.found()
    world.texts = ["v=STSv1; id=2"]
    world.file = TESTING
    assert world.mode() == "enforce"
    world.policies.doubt(DOMAIN)
    assert world.mode() == "testing"


def test_the_store_says_when_a_policy_ends():
    """Without a policy it is when the next try is due."""
    policy = Policy(DOMAIN, "enforce", ("a.example",), 1000, "1")
    assert Stored(domain=DOMAIN, policy=policy, fetched_at=5000).expires_at == 6000
    assert Stored(domain=DOMAIN, next_try=7000).expires_at == 7000


@pytest.mark.parametrize(
    ("answer", "failure"),
    [
        (response(b"<html>", status="503 Maintenance"), "sts-policy-fetch-error"),
        (
            response(b"version: STSv1\nmode: maybe\nmx: a.example\nmax_age: 1\n"),
            "sts-policy-invalid",
        ),
        (response(b"version: STSv1\n" + b"a: b\n" * 20_000), "sts-policy-invalid"),
        (b"HTTP/1.1 301 Moved\r\nLocation: /else\r\n\r\n", "sts-policy-fetch-error"),
    ],
    ids=["away", "malformed", "oversized", "redirected"],
)
def test_over_a_real_web_server(world, tmp_path, answer, failure):
    """From the record to the policy that holds, and again while the server shows another page."""
    made = make_certificate(tmp_path, f"mta-sts.{DOMAIN}")

    class Names:
        @staticmethod
        def addresses(host):
            return Answer(name=host, canonical=host, records=("127.0.0.1",))

    with Web(made.ssl_context, response(GOOD)) as server:
        hosts = PolicyHosts(Names(), port=server.port, ca_file=made.ca_file)
        world.policies = Policies(world, world.store, fetch=hosts, now=lambda: world.now)
        assert world.mode() == "enforce"
        server.answer = answer
        world.texts = ["v=STSv1; id=2"]
        found = world.found()
        assert found.policy.id == "1"
        assert found.failure.tls_failure == failure
