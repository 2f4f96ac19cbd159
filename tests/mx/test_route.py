"""From a domain to its servers: each decision, with a DNS and policies that a test makes up."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

import pytest

from django_smtpx.mx.answers import MX, Answer
from django_smtpx.mx.mta_sts import Failure, Found, Policy
from django_smtpx.mx.route import MOST_HOSTS, Route, Router
from django_smtpx.smtp import ResolveError, TLSError
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.options import Options, Security, relaxed, verifies

TEMPLATE = Options(
    host="",
    port=25,
    security=Security.OPPORTUNISTIC,
    helo="out.sender.example",
    relay=False,
    probe=False,
)
RECORD = TLSA(3, 1, 1, b"\x01" * 32)


class DNS:
    """A resolver of what it was told; an exception is raised."""

    def __init__(self, secure=()):
        self.known = {}
        self.secure = set(secure)
        self.asked = []

    def mx(self, domain):
        """Return the mail exchangers."""
        return self._answer("MX", domain)

    def addresses(self, host):
        """Return the addresses."""
        return self._answer("A", host)

    def says(self, rdtype, name, *records, canonical="", exists=True):
        """Answer so from now on."""
        self.known[rdtype, name] = (records, canonical or name, exists)

    def fails(self, rdtype, name):
        """Have no answer from now on."""
        self.known[rdtype, name] = ResolveError(
            f"SERVFAIL {name}", phase="resolve", category="dns_error"
        )

    def _answer(self, rdtype, name):
        self.asked.append((rdtype, name))
        found = self.known.get((rdtype, name), ((), name, rdtype == "MX" and bool(self.known)))
        if isinstance(found, Exception):
            raise found
        records, canonical, exists = found
        return Answer(
            name=name,
            canonical=canonical,
            records=records,
            exists=exists,
            secure=name in self.secure,
        )


@dataclass
class Policies:
    """The policies of domains; which of them were doubted."""

    known: dict
    doubted: list

    def policy_for(self, domain):
        """Return the policy."""
        return self.known.get(domain, Found())

    def doubt(self, domain):
        """Note it."""
        self.doubted.append(domain)


@dataclass(frozen=True)
class Dane:
    """What TLSA records say of a host."""

    records: tuple = ()
    base: tuple = ()
    name: str = ""
    encrypts: bool = False


@pytest.fixture
def dns():
    """A DNS in which example.com has two servers."""
    dns = DNS()
    dns.says("MX", "example.com", MX(10, "a.example.com"), MX(20, "b.example.com"))
    dns.says("A", "a.example.com", "192.0.2.1", "2001:db8::1")
    dns.says("A", "b.example.com", "192.0.2.2")
    return dns


def route(dns, domain="example.com", *, policy=None, tlsa=None, template=TEMPLATE, **kwargs):
    """Return a route; ``tlsa`` has what TLSA records say by host, and there is no other."""

    def find(resolver, host, addresses, port):
        found = tlsa[host]
        if isinstance(found, Exception):
            raise found
        return found

    options = {
        "policies": None if policy is None else Policies({domain: Found(policy)}, []),
        "dane": tlsa is not None,
        "find": find,
        "rand": lambda: 0.5,
        "is_own": lambda address, port: False,
    }
    heeding = kwargs.pop("heeding", True)
    return Router(template, resolver=dns, **{**options, **kwargs}).route(domain, heeding=heeding)


def names(found):
    """Return the names of the hosts, in order."""
    return [options.host for options in found.hosts]


def refused(dns, domain="example.com", **kwargs):
    """Return the error of not finding a route."""
    with pytest.raises((ResolveError, TLSError)) as caught:
        route(dns, domain, **kwargs)
    assert caught.value.phase == "resolve"
    return caught.value


def policy(mode, *hosts):
    """Return a policy of example.com."""
    return Policy("example.com", mode, hosts, 86400, "1")


# -- which servers -------------------------------------------------------------------------------


def test_exchangers_in_the_order_of_their_preference(dns):
    """Each with its addresses and the template's ways, and no TLS asked for."""
    found = route(dns, port=2525)
    assert names(found) == ["a.example.com", "b.example.com"]
    first = found.hosts[0]
    assert first.addresses == ("192.0.2.1", "2001:db8::1")
    assert (first.port, first.security, first.helo) == (2525, "opportunistic", TEMPLATE.helo)
    assert (first.relay, first.probe, first.tlsa, first.tls_reason) == (False, False, (), "")
    assert not verifies(first)
    assert not found.authentic
    assert found.domain == "example.com"


def test_equals_come_in_the_order_of_chance(dns):
    """Of equal preference the one drawn lower is the first; others keep their place."""
    dns.says(
        "MX", "example.com", *(MX(10, f"{n}.example") for n in range(4)), MX(5, "best.example")
    )
    for number in range(4):
        dns.says("A", f"{number}.example", "192.0.2.9")
    dns.says("A", "best.example", "192.0.2.9")
    draws = iter([0.9, 0.1, 0.5, 0.3, 0.99])
    found = route(dns, rand=lambda: next(draws))
    assert names(found) == ["best.example", "1.example", "3.example", "2.example", "0.example"]


def test_a_host_that_is_named_twice(dns):
    """It is tried once, where it is preferred."""
    dns.says(
        "MX",
        "example.com",
        MX(5, "b.example.com"),
        MX(10, "a.example.com"),
        MX(20, "b.example.com"),
    )
    assert names(route(dns)) == ["b.example.com", "a.example.com"]


def test_no_such_domain(dns):
    """It is final."""
    dns.says("MX", "no.example", exists=False)
    error = refused(dns, "no.example")
    assert (error.category, error.action, error.temporary) == ("domain_unknown", "fail", False)
    assert "no.example" in str(error)


def test_a_null_mx(dns):
    """The domain takes no mail, and says so (RFC 7505)."""
    dns.says("MX", "no.example", MX(0, ""))
    error = refused(dns, "no.example")
    assert (error.category, error.action, error.temporary) == ("domain_unknown", "fail", False)
    assert (error.code, error.enhanced_code) == (None, "5.1.10")
    assert "null MX" in str(error)


def test_a_null_mx_beside_others(dns):
    """It must not be there, and counts for nothing."""
    dns.says("MX", "example.com", MX(0, ""), MX(20, "b.example.com"))
    assert names(route(dns)) == ["b.example.com"]


def test_without_exchangers_the_domain_is_its_own(dns):
    """But only where there are none at all."""
    dns.says("MX", "plain.example")
    dns.says("A", "plain.example", "192.0.2.3")
    assert names(route(dns, "plain.example")) == ["plain.example"]
    dns.says("MX", "plain.example", MX(10, "gone.example"))
    error = refused(dns, "plain.example")
    assert (error.category, error.action, error.temporary) == ("dns_error", "retry", True)
    assert "gone.example" in str(error)


def test_a_domain_without_any_address(dns):
    """Nobody can take its mail, now or later."""
    dns.says("MX", "plain.example")
    error = refused(dns, "plain.example")
    assert (error.category, error.action, error.temporary) == ("domain_unknown", "fail", False)


def test_the_dns_has_no_answer(dns):
    """It is temporary, whatever could not be told."""
    dns.fails("MX", "example.com")
    assert refused(dns).temporary
    dns.says("MX", "example.com", MX(10, "a.example.com"), MX(20, "b.example.com"))
    dns.fails("A", "a.example.com")
    found = route(dns)
    assert names(found) == ["b.example.com"]
    assert [error.host for error in found.failures] == ["a.example.com"]
    dns.says("A", "b.example.com")
    error = refused(dns)
    assert (error.temporary, error.host) == (True, "a.example.com")


def test_hosts_without_addresses_are_left_out(dns):
    """The next one is tried."""
    dns.says("A", "a.example.com")
    assert names(route(dns)) == ["b.example.com"]


def test_the_family_of_the_source_address(dns):
    """An address that cannot be reached from there is none."""
    found = route(dns, template=_but(source_address="2001:db8::99"))
    assert [(one.host, one.addresses) for one in found.hosts] == [
        ("a.example.com", ("2001:db8::1",))
    ]


def test_no_more_hosts_than_are_worth_looking_at(dns):
    """Whoever names a thousand costs ten questions."""
    dns.says("MX", "example.com", *(MX(n, f"{n}.example") for n in range(1000)))
    for number in range(1000):
        dns.says("A", f"{number}.example", "192.0.2.9")
    assert len(route(dns).hosts) == MOST_HOSTS
    assert len(dns.asked) == 1 + MOST_HOSTS


def test_many_equals_are_bounded_too(dns):
    """Also where none of them is better than another."""
    dns.says("MX", "example.com", *(MX(5, f"{n}.example") for n in range(1000)))
    for number in range(1000):
        dns.says("A", f"{number}.example", "192.0.2.9")
    assert len(route(dns).hosts) == MOST_HOSTS
    assert len(dns.asked) <= 1 + 2 * MOST_HOSTS


@pytest.mark.parametrize("preference", [lambda n: n, lambda n: 5], ids=["each", "equal"])
def test_a_thousand_exchangers_without_an_address(dns, preference):
    """They cost ten questions, too, and the mail waits: a drain is not kept busy by one domain."""
    names = [f"{n}.example" for n in range(1000)]
    dns.says("MX", "example.com", *(MX(preference(n), name) for n, name in enumerate(names)))
    with pytest.raises(ResolveError) as caught:
        route(dns)
    assert caught.value.temporary
    assert len(dns.asked) == 1 + MOST_HOSTS


# -- address literals ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("domain", "address"),
    [
        ("[192.0.2.1]", "192.0.2.1"),
        ("[IPv6:2001:db8::1]", "2001:db8::1"),
        ("[ipv6:2001:DB8:0::1]", "2001:db8::1"),
    ],
)
def test_an_address_literal(dns, domain, address):
    """It is its own server, and nobody is asked."""
    found = route(dns, domain, policy=policy("enforce", "a.example.com"))
    (host,) = found.hosts
    assert (host.host, host.addresses, host.security) == (address, (address,), "opportunistic")
    assert not found.authentic
    assert dns.asked == []


@pytest.mark.parametrize("domain", ["[192.0.2]", "[2001:db8::1]", "[x400:192.0.2.1]", "[", "[]"])
def test_a_literal_that_is_none(dns, domain):
    """The address is wrong, for good."""
    error = refused(dns, domain)
    assert (error.category, error.action, error.temporary) == ("address_invalid", "fail", False)


@pytest.mark.parametrize("domain", ["", "."])
def test_an_address_without_a_domain(dns, domain):
    """Local mailboxes are nobody's, out there."""
    error = refused(dns, domain)
    assert (error.category, error.action, error.temporary) == ("address_invalid", "fail", False)


def test_a_literal_of_this_machine(dns):
    """Mail would come back here."""
    error = refused(dns, "[192.0.2.1]", is_own=lambda address, port: address == "192.0.2.1")
    assert (error.category, error.temporary) == ("loop", False)


# -- loops ---------------------------------------------------------------------------------------


@pytest.fixture
def three(dns):
    """A DNS in which example.com has three servers, two of them equal."""
    dns.says(
        "MX", "example.com",
        MX(10, "a.example.com"), MX(20, "b.example.com"), MX(20, "c.example.com"),
        MX(30, "d.example.com"),
    )  # fmt: skip
    dns.says("A", "c.example.com", "192.0.2.3")
    dns.says("A", "d.example.com", "192.0.2.4")
    return dns


@pytest.mark.parametrize(
    "kwargs",
    [
        {"template": Options(host="", port=25, security="opportunistic", helo="C.example.com")},
        {"template": Options(
            host="", port=25, security="opportunistic", helo="x.example", source_address="192.0.2.3"
        )},
        {"is_own": lambda address, port: address == "192.0.2.3"},
    ],
    ids=["by its name", "by the address to connect from", "by an address of the machine"],
)  # fmt: skip
def test_this_machine_among_the_exchangers(three, kwargs):
    """It is left out, with all that are no better: also its equals."""
    assert names(route(three, **kwargs)) == ["a.example.com"]


def test_this_machine_is_the_best(three):
    """Mail that came back here would do so for ever: it is final."""
    error = refused(three, is_own=lambda address, port: address == "192.0.2.1")
    assert (error.category, error.action, error.temporary) == ("loop", "fail", False)
    assert error.enhanced_code == "5.4.6"


def test_a_better_one_that_nobody_can_resolve(three):
    """It may take the mail tomorrow, so that this is no loop."""
    three.fails("A", "a.example.com")
    error = refused(three, is_own=lambda address, port: address == "192.0.2.2")
    assert (error.temporary, error.host) == (True, "a.example.com")


# -- MTA-STS -------------------------------------------------------------------------------------


def test_a_policy_that_is_enforced(dns):
    """Who is not named is left out; who is shows a certificate for its name."""
    found = route(dns, policy=policy("enforce", "b.example.com"))
    (host,) = found.hosts
    assert (host.host, host.security, host.verify) == ("b.example.com", "starttls", True)
    assert host.names == ("b.example.com",)
    assert host.tls_reason == "the MTA-STS policy of example.com (enforce)"
    assert found.authentic
    assert found.instead(host) == ()
    (error,) = found.failures
    assert (error.host, error.tls_failure) == ("a.example.com", "validation-failure")


def test_a_policy_that_names_nobody_else(dns):
    """Where none is left the mail waits, and the error names the policy, which is looked at anew."""
    policies = Policies({"example.com": Found(policy("enforce", "*.other.example"))}, [])
    error = refused(dns, policies=policies)
    assert isinstance(error, TLSError)
    assert (error.category, error.temporary) == ("tls_error", True)
    assert "the MTA-STS policy of example.com (enforce)" in str(error)
    assert "*.other.example" in str(error)
    assert policies.doubted == ["example.com"]


def test_a_policy_that_is_only_tested(dns):
    """It is tried as if it held, and then as if there were none; what is wrong is told."""
    found = route(dns, policy=policy("testing", "a.example.com"))
    first, second = found.hosts
    assert (first.host, first.security, first.verify) == ("a.example.com", "starttls", True)
    (lenient,) = found.instead(first)
    assert (lenient.security, lenient.tls_reason) == ("opportunistic", "")
    assert lenient.addresses == first.addresses
    assert (second.host, second.security) == ("b.example.com", "opportunistic")
    assert found.instead(second) == ()
    assert not found.authentic
    assert [error.host for error in found.failures] == ["b.example.com"]
    assert found.ways == (first, second, lenient)


@pytest.mark.parametrize("found", [Found(), Found(policy("none")), Found(None, Failure("x", "y"))])
def test_no_policy_that_asks_for_anything(dns, found):
    """The domain is served as if it had none."""
    policies = Policies({"example.com": found}, [])
    got = route(dns, policies=policies)
    assert {one.security for one in got.hosts} == {"opportunistic"}
    assert got.found == found
    assert not got.authentic


def test_the_policy_is_that_of_the_domain_itself(dns):
    """Not that of where its CNAMEs lead (RFC 8461 section 3.1)."""
    dns.says("MX", "alias.example", MX(10, "a.example.com"), canonical="example.com")
    policies = Policies({"example.com": Found(policy("enforce", "b.example.com"))}, [])
    found = route(dns, "alias.example", policies=policies)
    assert names(found) == ["a.example.com"]
    policies = Policies({"alias.example": Found(policy("enforce", "b.example.com"))}, [])
    assert isinstance(refused(dns, "alias.example", policies=policies), TLSError)


def test_the_implicit_exchanger_has_to_be_named(dns):
    """A domain that is its own server is held to its policy as well."""
    dns.says("MX", "plain.example")
    dns.says("A", "plain.example", "192.0.2.3")
    strict = Policies({"plain.example": Found(policy("enforce", "plain.example"))}, [])
    assert names(route(dns, "plain.example", policies=strict)) == ["plain.example"]
    other = Policies({"plain.example": Found(policy("enforce", "mx.plain.example"))}, [])
    assert isinstance(refused(dns, "plain.example", policies=other), TLSError)


# -- DANE ----------------------------------------------------------------------------------------

SECURE = ("example.com", "a.example.com", "b.example.com")


@pytest.fixture
def signed(dns):
    """The same DNS, validated."""
    dns.secure.update(SECURE)
    return dns


def test_tlsa_records(signed):
    """The host is judged by them alone; its names are those of RFC 7672 section 3.2.2."""
    dane = Dane((RECORD,), ("real.example.com", "a.example.com"), "_25._tcp.real.example.com")
    found = route(signed, tlsa={"a.example.com": dane, "b.example.com": None})
    first, second = found.hosts
    assert (first.security, first.tlsa) == ("starttls", (RECORD,))
    assert first.names == ("real.example.com", "a.example.com", "example.com")
    assert first.tls_reason == "the TLSA records of _25._tcp.real.example.com"
    assert (second.security, second.tlsa) == ("opportunistic", ())
    assert found.authentic


def test_tlsa_records_that_cannot_be_used(signed):
    """They ask for TLS, and vouch for nobody."""
    found = route(
        signed,
        tlsa={"a.example.com": Dane(name="_25._tcp.a.example.com", encrypts=True),
              "b.example.com": None},
    )  # fmt: skip
    first, _ = found.hosts
    assert (first.security, first.verify, first.tlsa) == ("starttls", False, ())
    assert "_25._tcp.a.example.com" in first.tls_reason


def test_tlsa_records_that_could_not_be_looked_up(signed):
    """Their host waits; it is not spoken to without them."""
    failed = ResolveError("bogus", phase="resolve", category="dns_error")
    found = route(signed, tlsa={"a.example.com": failed, "b.example.com": None})
    assert names(found) == ["b.example.com"]
    assert found.failures == (failed,)
    assert failed.host == "a.example.com"
    error = refused(signed, tlsa={"a.example.com": failed, "b.example.com": failed})
    assert (error.category, error.temporary) == ("dns_error", True)


def test_no_tlsa_records_where_the_exchangers_are_not_validated(signed):
    """Whoever forges these could name hosts of his own; so nothing is asked."""
    signed.secure.discard("example.com")
    found = route(signed, tlsa={})
    assert [one.security for one in found.hosts] == ["opportunistic"] * 2
    assert not found.authentic


def test_dane_outranks_the_policy(signed):
    """A host with TLSA records is judged by them, be it named by the policy or not."""
    dane = Dane((RECORD,), ("a.example.com",), "_25._tcp.a.example.com")
    tlsa = {"a.example.com": dane, "b.example.com": None}
    for named in ("a.example.com", "b.example.com"):
        found = route(signed, policy=policy("enforce", named), tlsa=tlsa)
        assert found.hosts[0].tlsa == (RECORD,)
        assert [one.tls_reason[:11] for one in found.hosts[1:]] == (
            ["the MTA-STS"] if named == "b.example.com" else []
        )


def test_the_policy_outranks_tlsa_records_that_cannot_be_used(signed):
    """What they ask for is the least; a policy asks for more."""
    empty = Dane(name="_25._tcp.a.example.com", encrypts=True)
    tlsa = {"a.example.com": empty, "b.example.com": empty}
    first, second = route(signed, policy=policy("enforce", "*.example.com"), tlsa=tlsa).hosts
    assert verifies(first)
    assert verifies(second)
    tested = route(signed, policy=policy("testing", "*.example.com"), tlsa=tlsa)
    (lenient,) = tested.instead(tested.hosts[0])
    assert (lenient.security, lenient.verify) == ("starttls", False)


def test_without_dane_nothing_is_looked_up(signed):
    """The mailer may do without."""
    found = route(signed, tlsa={}, dane=False)
    assert found.hosts[0].security == "opportunistic"


# -- what the message or the mailer wants --------------------------------------------------------


def test_the_mailer_may_want_more(dns):
    """TLS of all, verified: no policy takes that away."""
    found = route(dns, template=_but(security=Security.STARTTLS))
    assert all(verifies(one) for one in found.hosts)
    unusable = Dane(name="x", encrypts=True)
    dns.secure.update(SECURE)
    found = route(
        dns,
        template=_but(security=Security.STARTTLS),
        tlsa={"a.example.com": unusable, "b.example.com": None},
    )
    assert all(verifies(one) for one in found.hosts)


def test_a_policy_that_no_mailer_takes_away(dns):
    """What a policy wants is verified, whatever the mailer does elsewhere."""
    found = route(
        dns,
        policy=policy("enforce", "a.example.com"),
        template=_but(security=Security.STARTTLS, verify=False),
    )
    assert all(verifies(one) for one in found.hosts)


def test_requiretls(signed):
    """Each host has to show a certificate; those with a reason of their own keep it."""
    dane = Dane((RECORD,), ("a.example.com",), "_25._tcp.a.example.com")
    found = route(signed, tlsa={"a.example.com": dane, "b.example.com": None})
    first, second = found.verified()
    assert first == found.hosts[0]
    assert (second.security, second.verify, second.names) == ("starttls", True, ("b.example.com",))
    assert "REQUIRETLS" in second.tls_reason
    assert all(verifies(one) for one in (first, second))


def test_tls_required_no(signed):
    """No policy counts, and none is looked at."""
    failed = ResolveError("bogus", phase="resolve", category="dns_error")
    found = route(
        signed,
        policy=policy("enforce", "*.other.example"),
        tlsa={"a.example.com": failed, "b.example.com": failed},
        heeding=False,
    )
    assert [one.security for one in found.hosts] == ["opportunistic"] * 2
    assert found.found is None


def test_relaxed_hosts_of_a_policy(signed):
    """For such a message what a route asks for is left aside, one way after the other."""
    dane = Dane((RECORD,), ("a.example.com",), "_25._tcp.a.example.com")
    found = route(signed, tlsa={"a.example.com": dane, "b.example.com": None})
    ways = relaxed(found.hosts[0])
    assert [(way.security, way.tlsa) for way in ways] == [("opportunistic", ()), ("none", ())]


def test_a_route_over_another_family(dns):
    """What is known of a host holds for each choice of its addresses."""
    found = route(dns, policy=policy("testing", "a.example.com"))
    strict = found.hosts[0]
    over = dataclasses.replace(strict, addresses=("2001:db8::1",))
    (lenient,) = found.instead(over)
    assert lenient.addresses == ("2001:db8::1",)
    assert found.instead(dataclasses.replace(over, tls_reason="another")) == ()


def test_routes_are_values():
    """Two of the same say the same."""
    assert Route(domain="a", hosts=()) == Route(domain="a", hosts=())


def _but(**values):
    return dataclasses.replace(TEMPLATE, **values)
