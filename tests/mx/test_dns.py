from __future__ import annotations

import os
import pickle

import dns.rdata
import dns.rdatatype
import pytest

from django_smtpx.mx.answers import MX, Answer
from django_smtpx.mx.dns import Resolver, ResolverOptions
from django_smtpx.smtp.dane import TLSA, usable
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.errors import ResolveError
from tests.mx.responder import silence


def hosts(answer):
    """Return the hosts of an answer's records."""
    return [one.host for one in answer.records]


# -- mail exchangers -----------------------------------------------------------------------------


def test_exchangers_by_preference(responder, resolver):
    """The most preferred one comes first, in lower case, and a host counts once."""
    responder.gives(
        "example.com",
        "MX",
        "20 B.example.com.",
        "10 a.example.com.",
        "30 a.example.com.",
        "20 _c-1.example.org.",
    )
    assert resolver.mx("Example.COM.") == Answer(
        name="example.com",
        canonical="example.com",
        records=(
            MX(10, "a.example.com"),
            MX(20, "_c-1.example.org"),
            MX(20, "b.example.com"),
        ),
    )


def test_null_mx(responder, resolver):
    """A domain that takes no mail says so, with whatever preference (RFC 7505 section 3)."""
    responder.gives("example.com", "MX", "0 .")
    responder.gives("example.org", "MX", "10 .")
    assert resolver.mx("example.com").records == (MX(0, ""),)
    assert resolver.mx("example.org").records == (MX(10, ""),)


def test_a_null_mx_beside_others(responder, resolver):
    """Where there are real ones, it is none."""
    responder.gives("example.com", "MX", "0 .", "10 a.example.com.")
    assert resolver.mx("example.com").records == (MX(10, "a.example.com"),)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1.",
        r"mail\.example.com.",
        r"ma\032il.example.com.",
        r"\000.example.com.",
        r"\195\188.example.com.",
        "-mail.example.com.",
        "mail-.example.com.",
        "*.example.com.",
        "7.",
    ],
)
def test_what_is_no_host(responder, resolver, host):
    """A record that names no host is left out; where there are no others, nobody guesses."""
    responder.gives("example.com", "MX", f"5 {host}", "10 a.example.com.")
    responder.gives("example.org", "MX", f"5 {host}")
    assert hosts(resolver.mx("example.com")) == ["a.example.com"]
    with pytest.raises(ResolveError) as caught:
        resolver.mx("example.org")
    assert "MX of example.org: no record names a host" in str(caught.value)
    assert f"5 {host[:-1]!r}" in str(caught.value)


def test_no_exchanger(responder, resolver):
    """A name without MX exists, and one that does not exist is another matter."""
    responder.gives("example.com", "MX")
    responder.gives("example.org", "MX", rcode="NXDOMAIN")
    assert resolver.mx("example.com") == Answer(name="example.com", canonical="example.com")
    assert resolver.mx("example.org") == Answer(
        name="example.org", canonical="example.org", exists=False
    )


@pytest.mark.parametrize(
    "name", ["", "a..example.com", "x" * 64 + ".com", "a." * 127 + "com", "ex ample.com", "ü.de"]
)
def test_what_cannot_be_a_name(responder, resolver, name):
    """Nothing can be called so in the DNS, and nobody is asked."""
    assert not resolver.mx(name).exists
    assert responder.asked == []


# -- aliases -------------------------------------------------------------------------------------


def test_an_alias(responder, resolver):
    """The records at the end of the aliases are those of the name, and the end is told."""
    aliases = [("example.com", "B.example."), ("b.example", "c.example.")]
    responder.gives("example.com", "MX", "10 mx.c.example.", aliases=aliases, ad=True)
    answer = resolver.mx("example.com")
    assert (answer.name, answer.canonical) == ("example.com", "c.example")
    assert (hosts(answer), answer.secure) == (["mx.c.example"], True)
    assert responder.questions() == [("example.com", "MX")]


def test_a_server_that_stops_at_an_alias(responder, resolver):
    """The way is gone on from there, and each step has to be secure for the whole to be so."""
    responder.gives("a.example", "MX", aliases=[("a.example", "b.example.")], minimum=None, ad=True)
    responder.gives("b.example", "MX", "10 mx.example.", ad=True)
    responder.gives("c.example", "MX", aliases=[("c.example", "d.example.")], minimum=None, ad=True)
    responder.gives("d.example", "MX", "10 mx.example.", ad=False)
    responder.gives("e.example", "MX", aliases=[("e.example", "b.example.")], minimum=None)
    assert resolver.mx("a.example").secure
    assert resolver.mx("a.example").canonical == "b.example"
    assert not resolver.mx("c.example").secure
    assert not resolver.mx("e.example").secure


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_an_alias_of_nothing(responder, resolver, rcode):
    """Whether the name at the end exists is what counts (RFC 6604 section 3)."""
    aliases = [("example.com", "b.example.")]
    responder.gives("example.com", "MX", aliases=aliases, rcode=rcode)
    answer = resolver.mx("example.com")
    assert (answer.records, answer.canonical) == ((), "b.example")
    assert answer.exists == (rcode == "NOERROR")
    assert responder.questions() == [("example.com", "MX")]


@pytest.mark.parametrize("count", [8, 9])
@pytest.mark.parametrize("at_once", [True, False])
def test_many_aliases(responder, resolver, count, at_once):
    """Eight of them are followed, and nine are not, whoever follows them."""
    steps = [(f"n{i}.example", f"n{i + 1}.example.") for i in range(count)]
    if at_once:
        responder.gives("n0.example", "A", "192.0.2.1", aliases=steps)
    else:
        for step in steps:
            responder.gives(step[0], "A", aliases=[step], minimum=None)
        responder.gives(f"n{count}.example", "A", "192.0.2.1")
    if count == 8:
        assert resolver.addresses("n0.example").records == ("192.0.2.1",)
    else:
        with pytest.raises(ResolveError, match="more than 8 CNAME records in a row"):
            resolver.addresses("n0.example")


def test_a_circle(responder, resolver):
    """It is seen the first time that it closes."""
    responder.gives("a.example", "MX", aliases=[("a.example", "b.example.")], minimum=None)
    responder.gives("b.example", "MX", aliases=[("b.example", "a.example.")], minimum=None)
    with pytest.raises(ResolveError) as caught:
        resolver.mx("a.example")
    assert "MX of a.example, an alias of b.example: its CNAME records go round" in str(caught.value)
    assert len(responder.asked) == 2


# -- addresses, texts, aliases themselves --------------------------------------------------------


def test_addresses(responder, resolver):
    """Those of both families, and one of them has to be secure, at least."""
    for name, both in (("a.example", (True, True)), ("b.example", (False, False)),
                       ("c.example", (True, False)), ("d.example", (False, True))):  # fmt: skip
        responder.gives(name, "A", "192.0.2.1", "192.0.2.2", ad=both[0])
        responder.gives(name, "AAAA", "2001:DB8::1", ad=both[1])
    answer = resolver.addresses("a.example")
    assert sorted(answer.records) == ["192.0.2.1", "192.0.2.2", "2001:db8::1"]
    assert answer.records[-1] == "2001:db8::1"
    assert answer.secure
    assert not resolver.addresses("b.example").secure
    assert resolver.addresses("c.example").secure, "DNS64 makes up the other"
    assert resolver.addresses("d.example").secure


def test_a_secure_word_that_there_is_none(responder, resolver):
    """It does not make the addresses of the other family secure."""
    responder.gives("a.example", "A", "192.0.2.1")
    responder.gives("a.example", "AAAA", ad=True)
    assert not resolver.addresses("a.example").secure


def test_one_family(responder, resolver):
    """There is no address of the other one, and that is no failure."""
    responder.gives("a.example", "A", "192.0.2.1", ad=True)
    responder.gives("a.example", "AAAA", ad=True)
    responder.gives("b.example", "A")
    responder.gives("b.example", "AAAA", "2001:db8::1")
    assert resolver.addresses("a.example").records == ("192.0.2.1",)
    assert resolver.addresses("a.example").secure
    assert resolver.addresses("b.example").records == ("2001:db8::1",)


def test_no_address(responder, resolver):
    """A name that does not exist is asked for once."""
    responder.gives("a.example", "A")
    responder.gives("a.example", "AAAA")
    assert resolver.addresses("a.example").exists
    assert not resolver.addresses("b.example").exists
    assert responder.questions()[2:] == [("b.example", "A")]


def test_a_denial_of_the_other_family(responder, resolver):
    """A server that says of AAAA that there is no such name takes no address away."""
    responder.gives("a.example", "A", "192.0.2.1")
    responder.gives("a.example", "AAAA", rcode="NXDOMAIN")
    assert resolver.addresses("a.example").records == ("192.0.2.1",)
    assert resolver.addresses("a.example").exists


def test_one_family_fails(responder, resolver):
    """The other's addresses are taken, as secure as they are; where there are none, it is a failure."""
    responder.gives("a.example", "A", "192.0.2.1", ad=True)
    responder.gives("a.example", "AAAA", rcode="SERVFAIL")
    responder.gives("b.example", "A", rcode="SERVFAIL")
    responder.gives("b.example", "AAAA", "2001:db8::1", ad=True)
    responder.gives("c.example", "A", rcode="SERVFAIL")
    responder.gives("c.example", "AAAA", ad=True)
    assert resolver.addresses("a.example").records == ("192.0.2.1",)
    assert resolver.addresses("a.example").secure
    assert resolver.addresses("b.example").records == ("2001:db8::1",)
    with pytest.raises(ResolveError, match=r"A of c\.example"):
        resolver.addresses("c.example")


def test_certificates(responder, resolver):
    """Those that nobody can use, too: that they are there is what counts (RFC 7672 section 2.2)."""
    name = "_25._tcp.mx.a.example"
    responder.gives(name, "TLSA", f"3 1 1 {'0a' * 32}", "255 9 9 ab", ad=True)
    answer = resolver.tlsa(name)
    assert sorted(answer.records) == [TLSA(3, 1, 1, b"\x0a" * 32), TLSA(255, 9, 9, b"\xab")]
    assert answer.secure
    assert len(usable(answer.records)) == 1


@pytest.mark.parametrize("data", [b"", b"\x03", b"\x03\x01\x01short", b"\x03\x01\x02" + b"x" * 32])
def test_malformed_certificates(responder, resolver, data):
    """They are there, nobody can use them, and those beside them can be used."""
    name, good = "_25._tcp.mx.a.example", f"3 1 1 {'0a' * 32}"
    responder.gives(name, "TLSA", malformed=[data], ad=True)
    responder.gives(f"{name}.b", "TLSA", good, malformed=[data], ad=True)
    answer = resolver.tlsa(name)
    assert len(answer.records) == 1
    assert answer.secure
    assert usable(answer.records) == ()
    beside = resolver.tlsa(f"{name}.b").records
    assert len(beside) == 2
    assert usable(beside) == (TLSA(3, 1, 1, b"\x0a" * 32),)


def test_malformed_records(responder, resolver):
    """Those beside them are taken; where there are no others, nobody takes that for none."""
    aliases = [("d.example", "e.example.")]
    responder.gives("a.example", "MX", "10 mx.example.", malformed=[b"x", b"\0\1\77no end"])
    responder.gives("b.example", "MX", malformed=[b"x"])
    responder.gives("a.example", "A", "192.0.2.1", malformed=[b"x"])
    responder.gives("a.example", "AAAA")
    responder.gives("b.example", "A", malformed=[b"x"])
    responder.gives("b.example", "AAAA")
    responder.gives("c.example", "CNAME", malformed=[b"\77x"])
    responder.gives("d.example", "TXT", '"whole"', aliases=aliases, malformed=[b"\77x"])
    assert hosts(resolver.mx("a.example")) == ["mx.example"]
    assert resolver.addresses("a.example").records == ("192.0.2.1",)
    assert resolver.txt("d.example").records == ("whole",)
    for ask in (resolver.mx, resolver.addresses, resolver.cname):
        with pytest.raises(ResolveError, match=r"of [bc]\.example: .*\\# \d "):
            ask("c.example" if ask == resolver.cname else "b.example")


def test_a_malformed_alias(responder, resolver):
    """Nobody knows where it leads."""

    def change(answer):
        records = answer.find_rrset(
            answer.answer, answer.question[0].name, 1, dns.rdatatype.CNAME, create=True
        )
        records.add(dns.rdata.GenericRdata(1, dns.rdatatype.CNAME, b"\77x"), 300)

    responder.gives("a.example", "MX", change=change)
    with pytest.raises(ResolveError, match="its CNAME record is malformed"):
        resolver.mx("a.example")


def test_texts(responder, resolver):
    """Each record is its strings, joined; what is no UTF-8 harms nobody."""
    responder.gives("_mta-sts.a.example", "TXT", '"v=STSv1; " "id=1;"', r'"\255"')
    assert sorted(resolver.txt("_mta-sts.a.example").records) == ["v=STSv1; id=1;", "\ufffd"]


def test_the_alias_itself(responder, resolver):
    """Asked for as such, a CNAME is a record like others, and is not followed."""
    responder.gives("a.example", "CNAME", "B.example.", ad=True)
    assert resolver.cname("a.example") == Answer(
        name="a.example", canonical="a.example", records=("b.example",), secure=True
    )


# -- whom to believe -----------------------------------------------------------------------------


def test_asking_for_validation(responder, make_resolver):
    """A server that is trusted is asked for it, and its word counts; another one's does not."""
    responder.gives("a.example", "MX", "10 mx.example.", ad=True)
    assert make_resolver(trust_ad=True).mx("a.example").secure
    assert not make_resolver(trust_ad=False).mx("a.example").secure
    trusting, other = (one.message for one in responder.asked)
    assert trusting.flags & 0x20  # AD
    assert trusting.ednsflags & 0x8000  # DO
    assert not other.flags & 0x20
    assert not other.ednsflags & 0x8000
    assert trusting.payload == other.payload == 1232


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
def test_a_proof_that_there_is_nothing(responder, resolver, rcode):
    """That there is nothing can be secure, too."""
    responder.gives("a.example", "TXT", rcode=rcode, ad=True)
    assert resolver.txt("a.example").secure


# -- what is remembered --------------------------------------------------------------------------


def test_remembered_for_its_time(responder, make_resolver, clock):
    """An answer is asked for once, and once more when the shortest TTL on its way is over."""
    resolver = make_resolver(clock=clock)
    responder.gives("a.example", "A", "192.0.2.1", ttl=300)
    responder.gives("a.example", "AAAA", "2001:db8::1", ttl=60)
    first = resolver.addresses("a.example")
    clock.now += 59
    assert resolver.addresses("A.example.") == first
    assert len(responder.asked) == 2
    clock.now += 1
    assert resolver.addresses("a.example") == first
    assert responder.questions()[2:] == [("a.example", "AAAA")]


def test_an_alias_is_remembered_for_its_time(responder, make_resolver, clock):
    """The shortest TTL of the way counts."""
    resolver = make_resolver(clock=clock)
    aliases = [("a.example", "b.example.")]
    responder.gives("a.example", "MX", aliases=aliases, minimum=None, ttl=10)
    responder.gives("b.example", "MX", "10 mx.example.", ttl=100)
    resolver.mx("a.example")
    clock.now += 10
    resolver.mx("a.example")
    assert len(responder.asked) == 4


@pytest.mark.parametrize("rcode", ["NOERROR", "NXDOMAIN"])
@pytest.mark.parametrize(("minimum", "seconds"), [(30, 30), (100_000, 900), (None, 0)])
def test_that_there_is_nothing_is_remembered(
    responder, make_resolver, clock, rcode, minimum, seconds
):
    """For as long as the SOA says (RFC 2308 section 5); without one, not at all."""
    resolver = make_resolver(clock=clock)
    responder.gives("a.example", "MX", rcode=rcode, minimum=minimum)
    for elapsed, count in ((0, 1), (seconds - 1, 1), (1, 2)):
        clock.now += max(0, elapsed)
        resolver.mx("a.example")
        if seconds:
            assert len(responder.asked) == count
    assert len(responder.asked) == (2 if seconds else 3)


def test_nothing_is_remembered_for_ever(responder, make_resolver, clock):
    """A TTL of weeks is a day's."""
    resolver = make_resolver(clock=clock)
    responder.gives("a.example", "MX", "10 mx.example.", ttl=2_000_000)
    resolver.mx("a.example")
    clock.now += 86_399
    resolver.mx("a.example")
    assert len(responder.asked) == 1
    clock.now += 1
    resolver.mx("a.example")
    assert len(responder.asked) == 2


def test_without_a_time(responder, resolver):
    """A TTL of 0 is for this question alone (RFC 1035 section 3.2.1)."""
    responder.gives("a.example", "MX", "10 mx.example.", ttl=0)
    resolver.mx("a.example")
    resolver.mx("a.example")
    assert len(responder.asked) == 2


def test_failures_are_not_remembered(responder, resolver):
    """The next one who asks may have more luck."""
    responder.gives("a.example", "MX", rcode="SERVFAIL")
    responder.gives("a.example", "MX", "10 mx.example.")
    with pytest.raises(ResolveError):
        resolver.mx("a.example")
    assert hosts(resolver.mx("a.example")) == ["mx.example"]


def test_in_a_forked_child(responder, resolver):
    """It asks anew, over sockets of its own."""
    responder.gives("a.example", "MX", "10 mx.example.")
    before = resolver.mx("a.example")
    pid = os.fork()
    if pid == 0:
        # Leave by this door alone: the rest of the process is the test run's.
        try:
            os._exit(0 if resolver.mx("a.example") == before else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    assert len(responder.asked) == 2
    assert resolver.mx("a.example") == before
    assert len(responder.asked) == 2


# -- errors --------------------------------------------------------------------------------------


def test_the_error(responder, resolver):
    """It is temporary, says all that a person needs, and pickles."""
    responder.gives("a.example", "MX", rcode="SERVFAIL")
    with pytest.raises(ResolveError) as caught:
        resolver.mx("a.example")
    for error in (caught.value, pickle.loads(pickle.dumps(caught.value))):
        assert (error.phase, error.category, error.action) == ("resolve", "dns_error", "retry")
        assert error.temporary
        assert str(error).startswith(
            "The DNS gives no usable answer for MX of a.example: the DNS server "
            f"127.0.0.1:{responder.port} answered SERVFAIL (the domain's own servers do not answer"
        )


def test_the_failing_step(responder, resolver):
    """Behind an alias, the error tells of both names."""
    responder.gives("a.example", "MX", aliases=[("a.example", "b.example.")], minimum=None)
    responder.gives("b.example", "MX", rcode="REFUSED")
    with pytest.raises(ResolveError, match=r"MX of a\.example, an alias of b\.example: .* REFUSED"):
        resolver.mx("a.example")


def test_records_of_what_does_not_exist(responder, resolver):
    """A server that contradicts itself is not believed in either."""
    responder.gives("a.example", "MX", "10 mx.example.", rcode="NXDOMAIN")
    with pytest.raises(ResolveError, match="no such name, and gives its records"):
        resolver.mx("a.example")


def test_one_deadline_for_both_families(responder, make_resolver):
    """What asks for addresses does not wait for them twice."""
    responder.does("a.example", "*", silence)
    with pytest.raises(ResolveError, match=r"A of a\.example: .* gave no answer \(asked twice\)"):
        make_resolver(timeout=0.2).addresses("a.example")
    assert responder.questions() == [("a.example", "A")] * 2


# -- options -------------------------------------------------------------------------------------


@pytest.mark.parametrize("address", ["localhost", "", "127.0.0.1:53", "[::1]"])
def test_name_servers_are_addresses(address):
    """Nobody could look up their names."""
    with pytest.raises(ValueError, match="IP address"):
        ResolverOptions(nameservers=("127.0.0.1", address))


def test_options_are_values():
    """Two that say the same are the same, and can be a key."""
    assert {ResolverOptions(nameservers=("::1",)), ResolverOptions(nameservers=("::1",))} == {
        ResolverOptions(nameservers=("::1",))
    }


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("192.0.2.1", "1.2.0.192.in-addr.arpa"),
        ("2001:db8::1", f"1.{'0.' * 23}8.b.d.0.1.0.0.2.ip6.arpa"),
    ],
)
def test_the_names_of_an_address(responder, resolver, address, name):
    """They stand below the address, written backwards."""
    responder.gives(name, "PTR", "Out.Example.com.", "other.example.com.", ad=True)
    assert set(resolver.ptr(address).records) == {"out.example.com", "other.example.com"}
    assert responder.questions() == [(name, "PTR")]


def test_no_answer_is_waited_for_beyond_the_end_of_the_whole(responder):
    """Many questions together take no longer than that, and the rest are not asked."""
    responder.does("slow.example", "TXT", silence)
    options = ResolverOptions(nameservers=(responder.host,), port=responder.port, timeout=20)
    resolver = Resolver(options, within=Deadline(0.2))
    for _ in range(5):
        with pytest.raises(ResolveError):
            resolver.txt("slow.example")
    assert len(responder.asked) <= 2
