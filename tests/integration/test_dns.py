"""The resolver before Unbound, which validates a zone that was signed a moment ago."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from django_smtpx.mx.answers import MX
from django_smtpx.mx.dns import Resolver, ResolverOptions
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.errors import ResolveError
from tests.integration.conftest import skipping
from tests.integration.nameservers import HOST, NameServer, name_server
from tests.integration.zones import Zones

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

LONG = '"' + '" "'.join(["x" * 250] * 20) + '"'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NameServer]:
    """An Unbound in front of the zones."""
    zones = Zones()
    for domain in ("lab.test", "unsigned.lab.test"):
        zones.add(f"a.{domain}", "MX", f"10 mx.{domain}.")
        zones.add(f"mx.{domain}", "A", "127.0.0.1")
        zones.add(f"mx.{domain}", "AAAA", "::1")
        zones.add(f"long.{domain}", "TXT", LONG)
        zones.add(f"_25._tcp.mx.{domain}", "TLSA", f"3 1 1 {'ab' * 32}")
    zones.add("alias.lab.test", "CNAME", "a.lab.test.")
    zones.add("leaving.lab.test", "CNAME", "a.unsigned.lab.test.")
    zones.forge("forged.lab.test", "MX", "10 mx.lab.test.")
    zones.add("half.lab.test", "AAAA", "::1")
    zones.forge("half.lab.test", "A", "127.0.0.1")
    with skipping(), name_server(tmp_path_factory.mktemp("dns"), zones) as running:
        yield running


def resolver(server: NameServer, **changes: Any) -> Resolver:
    """Return a resolver that knows nothing yet."""
    options: dict[str, Any] = server.options(**changes)
    return Resolver(ResolverOptions(**{**options, "nameservers": tuple(options["nameservers"])}))


@pytest.mark.parametrize(("domain", "secure"), [("lab.test", True), ("unsigned.lab.test", False)])
def test_what_is_signed_is_secure(server: NameServer, domain: str, secure: bool) -> None:
    """Records, and that there are none, are so below the trust anchor, and not where no signature
    leads.
    """
    asking = resolver(server)
    found = asking.mx(f"a.{domain}")
    assert found.records == (MX(10, f"mx.{domain}"),)
    addresses = asking.addresses(f"mx.{domain}")
    assert addresses.records == ("127.0.0.1", "::1")
    certificates = asking.tlsa(f"_25._tcp.mx.{domain}")
    assert certificates.records == (TLSA(3, 1, 1, b"\xab" * 32),)
    nothing, nobody = asking.mx(f"mx.{domain}"), asking.mx(f"nobody.{domain}")
    assert (nothing.records, nothing.exists) == ((), True)
    assert (nobody.records, nobody.exists) == ((), False)
    assert [one.secure for one in (found, addresses, certificates, nothing, nobody)] == [secure] * 5


def test_an_alias_is_as_secure_as_its_end(server: NameServer) -> None:
    """One that leads out of what is signed is not secure."""
    alias, leaving = resolver(server).mx("alias.lab.test"), resolver(server).mx("leaving.lab.test")
    assert (alias.canonical, alias.secure) == ("a.lab.test", True)
    assert (leaving.canonical, leaving.secure) == ("a.unsigned.lab.test", False)
    assert leaving.records


def test_what_was_forged(server: NameServer) -> None:
    """It is no answer but a failure, and the server's reason is in its text."""
    with pytest.raises(ResolveError) as caught:
        resolver(server).mx("forged.lab.test")
    assert caught.value.temporary
    assert re.search(
        rf"MX of forged\.lab\.test: the DNS server {re.escape(HOST)}:{server.port} answered SERVFAIL "
        r"\(DNSSEC BOGUS: .*signature",
        str(caught.value),
    )


def test_one_forged_family(server: NameServer) -> None:
    """The forged address is not among those of the other family, which is as secure as it is."""
    found = resolver(server).addresses("half.lab.test")
    assert (found.records, found.secure) == (("::1",), True)


def test_without_trust(server: NameServer) -> None:
    """Nothing is secure by the word of a server that is not trusted."""
    assert not resolver(server, trust_ad=False).mx("a.lab.test").secure


@pytest.mark.parametrize(("domain", "secure"), [("lab.test", True), ("unsigned.lab.test", False)])
def test_what_is_too_long_for_a_datagram(server: NameServer, domain: str, secure: bool) -> None:
    """It comes whole, over TCP."""
    found = resolver(server).txt(f"long.{domain}")
    assert found.records == ("x" * 5000,)
    assert found.secure == secure


def test_what_nobody_knows(server: NameServer) -> None:
    """That no server answers the resolver is a failure, and not that there is nothing."""
    with pytest.raises(ResolveError, match="answered SERVFAIL"):
        resolver(server).mx("elsewhere.example")
