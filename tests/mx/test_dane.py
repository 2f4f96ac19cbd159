from __future__ import annotations

import pytest

from django_smtpx.mx import dane
from django_smtpx.mx.answers import Answer
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.errors import ResolveError

HOST = "mx.example.com"
ALIAS = "mail.example.net"
NAME = f"_25._tcp.{HOST}"
OTHER = f"_25._tcp.{ALIAS}"
DIGEST = "ab" * 32
RECORD = TLSA(3, 1, 1, bytes.fromhex(DIGEST))
TEXT = f"3 1 1 {DIGEST}"


def found(resolver, host=HOST, port=25):
    """Look for the records of a host as a route does."""
    return dane.find(resolver, host, resolver.addresses(host), port)


@pytest.fixture
def host(responder):
    """A host with an address in a secure zone."""
    responder.gives(HOST, "A", "192.0.2.1", ad=True)
    responder.gives(HOST, "AAAA", ad=True)


@pytest.fixture
def alias(responder):
    """A host that is an alias, securely, of one with an address in a secure zone."""
    _alias(responder, ad=True)
    responder.gives(ALIAS, "A", "192.0.2.1", ad=True)
    responder.gives(ALIAS, "AAAA", ad=True)


def _alias(responder, *, ad):
    for rdtype in ("A", "AAAA"):
        responder.gives(HOST, rdtype, ad=ad, aliases=[(HOST, f"{ALIAS}.")], minimum=None)
    responder.gives(HOST, "CNAME", f"{ALIAS}.", ad=ad)


@pytest.mark.usefixtures("host")
def test_records(responder, resolver):
    """What is found, where, and whom it is about."""
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    answer = found(resolver)
    assert answer == dane.Dane(name=NAME, base=(HOST,), records=(RECORD,))
    assert answer.encrypts


@pytest.mark.usefixtures("host")
def test_port(responder, resolver):
    """Each port has its own records."""
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(resolver, port=2525) is dane.NONE
    assert responder.questions()[-1] == (f"_2525._tcp.{HOST}", "TLSA")


def test_insecure_addresses(responder, resolver):
    """In an insecure zone nobody is asked: some servers there fail over a question that they do
    not know, and it would not count.
    """
    responder.gives(HOST, "A", "192.0.2.1")
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(resolver) is dane.NONE
    assert not found(resolver).encrypts
    assert "TLSA" not in {rdtype for _, rdtype in responder.questions()}


@pytest.mark.parametrize("secure", [True, False])
@pytest.mark.usefixtures("host")
def test_none(responder, resolver, secure):
    """No such name, no such record, and a record that nobody vouches for: there is no DANE."""
    assert found(resolver) is dane.NONE
    responder.gives(f"_26._tcp.{HOST}", "TLSA", ad=secure)
    assert found(resolver, port=26) is dane.NONE
    responder.gives(f"_27._tcp.{HOST}", "TLSA", TEXT, ad=False)
    assert found(resolver, port=27) is dane.NONE


@pytest.mark.parametrize("rcode", ["SERVFAIL", "REFUSED"])
@pytest.mark.usefixtures("host")
def test_nobody_can_say(responder, resolver, rcode):
    """A lookup that fails puts the mail off: to go on without would be what an attacker wants."""
    responder.gives(NAME, "TLSA", rcode=rcode)
    with pytest.raises(
        ResolveError, match="without it, nobody knows what certificate mx"
    ) as caught:
        found(resolver)
    error = caught.value
    assert (error.temporary, error.category, error.action) == (True, "dns_error", "retry")
    assert error.tls_failure == "dnssec-invalid"
    assert NAME in str(error)


@pytest.mark.usefixtures("host")
def test_unusable(responder, resolver):
    """Of records that nobody can use there is TLS at least (RFC 7672 section 2.2)."""
    responder.gives(NAME, "TLSA", f"1 1 1 {DIGEST}", f"3 1 9 {DIGEST}", ad=True)
    answer = found(resolver)
    assert answer == dane.Dane(name=NAME, base=(HOST,))
    assert answer.encrypts


@pytest.mark.usefixtures("host")
def test_some_unusable(responder, resolver):
    """What can be used counts, beside what cannot."""
    responder.gives(NAME, "TLSA", f"0 0 1 {DIGEST}", TEXT, "3 1 0 abcd", ad=True)
    assert found(resolver).records == (RECORD,)


@pytest.mark.usefixtures("host")
def test_in_any_order(responder, make_resolver):
    """The order in which a server gives them is nothing that makes two connections differ."""
    texts = [TEXT, f"2 1 1 {'cd' * 32}"]
    responder.gives(NAME, "TLSA", *texts, ad=True)
    responder.gives(NAME, "TLSA", *reversed(texts), ad=True)
    assert found(make_resolver()) == found(make_resolver())


@pytest.mark.usefixtures("alias")
def test_behind_an_alias(responder, resolver):
    """The name behind the CNAMEs comes first (RFC 7672 section 2.2.2), and has its own name."""
    responder.gives(OTHER, "TLSA", TEXT, ad=True)
    responder.gives(NAME, "TLSA", f"3 1 1 {'cd' * 32}", ad=True)
    assert found(resolver) == dane.Dane(name=OTHER, base=(ALIAS,), records=(RECORD,))


@pytest.mark.usefixtures("alias")
def test_at_an_alias(responder, resolver):
    """Where there are none, those of the alias itself count."""
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(resolver) == dane.Dane(name=NAME, base=(HOST,), records=(RECORD,))
    assert (OTHER, "TLSA") in responder.questions()


@pytest.mark.usefixtures("alias")
def test_behind_an_alias_nobody_can_say(responder, resolver):
    """A lookup that fails behind the alias is no reason to take the next best."""
    responder.gives(OTHER, "TLSA", rcode="SERVFAIL")
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    with pytest.raises(ResolveError):
        found(resolver)


def test_secure_alias_of_an_insecure_name(responder, resolver):
    """An alias in a secure zone speaks for itself, wherever it leads; what it leads to does not."""
    _alias(responder, ad=True)
    responder.gives(ALIAS, "A", "192.0.2.1")
    responder.gives(OTHER, "TLSA", f"3 1 1 {'cd' * 32}", ad=True)
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(resolver).base == (HOST,)
    assert (OTHER, "TLSA") not in responder.questions()


def test_insecure_alias(responder, resolver):
    """Of an insecure alias nothing is asked, be it an alias of a secure name: anybody may have
    made it that.
    """
    _alias(responder, ad=False)
    responder.gives(ALIAS, "A", "192.0.2.1", ad=True)
    responder.gives(OTHER, "TLSA", TEXT, ad=True)
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(resolver) is dane.NONE
    assert "TLSA" not in {rdtype for _, rdtype in responder.questions()}


def test_untrusted_resolver(responder, make_resolver):
    """Of a resolver that the site does not trust nothing is secure."""
    responder.gives(HOST, "A", "192.0.2.1", ad=True)
    responder.gives(NAME, "TLSA", TEXT, ad=True)
    assert found(make_resolver(trust_ad=False)) is dane.NONE


def test_names_are_compared_as_names():
    """An upper-case host with a dot at its end is no alias of itself."""
    answer = Answer(name=HOST, canonical=HOST, records=("192.0.2.1",))

    class Nobody:
        """A resolver that is not to be asked."""

    assert dane.find(Nobody(), "MX.Example.com.", answer, 25) is dane.NONE
