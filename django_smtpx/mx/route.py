"""From a recipient's domain to the servers that take its mail, and the TLS that each must show.

1. An address literal is its own server (RFC 5321 section 4.1.3). Any other domain has its mail
   exchangers, the most preferred first and equals in random order (5.1); a null MX says that it
   takes no mail (RFC 7505), and where there is no MX at all the domain is its own.
2. An exchanger that is this very machine is left out, with all that are no better: mail must not
   come back here for ever (5.1). So is one that has no address.
3. TLSA records say which certificate a server has to show (RFC 7672), where the DNS is validated
   all the way there. Where they could not be looked up the server is left out for now: whoever
   sits on the way could be the reason.
4. An MTA-STS policy names the servers that may take the domain's mail, and wants certificates of
   them that hold (RFC 8461). It is that of the domain itself, wherever its CNAMEs lead. DANE is
   the stronger word about a server that has both.
5. Every other server is asked for TLS, and does without (RFC 7435), unless the mailer wants more.
"""

from __future__ import annotations

import ipaddress
import random
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING

from django_smtpx.mx import dane as dane_records
from django_smtpx.mx.answers import MX
from django_smtpx.mx.own import is_own_address
from django_smtpx.mx.refusals import not_named, refuse_address, refuse_domain, refuse_loop
from django_smtpx.smtp.errors import ResolveError, SMTPError, TLSError
from django_smtpx.smtp.options import Options, Security, local_helo_name, verifies
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from django_smtpx.mx.answers import Answer
    from django_smtpx.mx.dane import Dane
    from django_smtpx.mx.dns import Resolver
    from django_smtpx.mx.mta_sts import Found, Policies, Policy

    Find = Callable[[Resolver, str, Answer[str], int], Dane]
    """From a host, its addresses and a port to what its TLSA records say."""

MOST_HOSTS = 10
"""Servers of one domain that are looked at; no one's mail needs more, and each costs questions."""

MOST_ADDRESSES = 10
"""Addresses of one server that are tried."""

_NULL_MX = "5.1.10"


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The servers of a domain, in the order to try, each with the TLS that it must show.

    ``authentic`` says that these are the domain's own, by DNSSEC or by an
    MTA-STS policy that is enforced, as REQUIRETLS wants it (RFC 8689 section
    4.2.1). ``leniently`` has, for those whose policy is only being tested, how
    to go there where they do not show it. ``failures`` say which servers are
    left out for now, or would be if their policy were not only tested, and why:
    each has its ``host``. ``found`` is what was found of an MTA-STS policy.
    """

    domain: str
    hosts: tuple[Options, ...]
    authentic: bool = False
    leniently: tuple[tuple[Options, Options], ...] = ()
    failures: tuple[SMTPError, ...] = ()
    found: Found | None = None

    @property
    def ways(self) -> tuple[Options, ...]:
        """Every way that a session may be opened, for mail of no special wish."""
        return self.hosts + tuple(lenient for _, lenient in self.leniently)

    def instead(self, options: Options) -> tuple[Options, ...]:
        """Return how to go to a host whose TLS does not hold by a policy that is only tested."""
        return tuple(
            replace(lenient, addresses=options.addresses)
            for strict, lenient in self.leniently
            if replace(strict, addresses=options.addresses) == options
        )

    def verified(self) -> tuple[Options, ...]:
        """Return the hosts as a message with REQUIRETLS is to reach them: none without a
        certificate that holds (RFC 8689 section 4.2.1).
        """
        return tuple(
            options if verifies(options) else _verified(options, said("the message's REQUIRETLS"))
            for options in self.hosts
        )


class Router:
    """Finds routes; it keeps nothing but what its resolver and its policies keep.

    ``template`` is what all servers have in common: the name to say, the times
    to wait, the mailer's own ``security``. ``policies`` None and ``dane``
    False: they are not looked at. ``rand`` orders equals, ``is_own`` says
    whether a server at an address and port is this machine.
    """

    def __init__(
        self,
        template: Options,
        *,
        resolver: Resolver,
        policies: Policies | None = None,
        dane: bool = True,
        port: int = 25,
        find: Find = dane_records.find,
        rand: Callable[[], float] = random.random,
        is_own: Callable[[str, int], bool] = is_own_address,
    ) -> None:
        self._template = replace(template, port=port)
        self._resolver = resolver
        self._policies = policies
        self._dane = dane
        self._find = find
        self._port = port
        self._rand = rand
        self._is_own = is_own

    def route(self, domain: str, *, heeding: bool = True) -> Route:
        """Return the route to ``domain``; without ``heeding`` no policy counts: the message said
        ``TLS-Required: No`` (RFC 8689 section 5).

        Raises :class:`ResolveError`: final where there is no such domain, or it takes no mail,
        temporary where nobody can say; :class:`TLSError`, temporary, where a policy allows none of
        the servers.
        """
        if domain.startswith("["):
            return self._to_literal(domain)
        name = domain.lower().rstrip(".")
        if not name:
            refuse_address(said("The address has no domain that mail could go to"))
        mx = self._resolver.mx(name)
        servers = self._servers(name, mx)
        found = self._policies.policy_for(name) if self._policies and heeding else None
        policy = found.policy if found is not None else None
        judged = _Judging(self, name, mx, policy, heeding=heeding)
        for server in servers:
            judged.take(server)
        if not judged.hosts:
            reason = judged.reason
            if self._policies and isinstance(reason, TLSError):
                # It may be old: mail that waits for a better server finds the better policy.
                self._policies.doubt(name)
            raise reason
        enforced = policy is not None and policy.mode == "enforce"
        return Route(
            domain=domain,
            hosts=tuple(judged.hosts),
            authentic=mx.secure or enforced,
            leniently=tuple(judged.leniently),
            failures=tuple(judged.failures),
            found=found,
        )

    # -- servers ---------------------------------------------------------------------------------

    def _to_literal(self, domain: str) -> Route:
        address = _address_of(domain)
        if address is None:
            refuse_address(
                said("%(domain)s is no address literal (RFC 5321 section 4.1.3)", domain=domain)
            )
        if self._is_ours(address):
            refuse_loop(domain)
        return Route(domain=domain, hosts=(self.to(address, (address,)),))

    def _servers(self, name: str, mx: Answer[MX]) -> list[_Server]:
        """Return the servers that have an address, or whose addresses nobody can say now.

        Raises where there is none of them.
        """
        if not mx.exists:
            refuse_domain(said("There is no domain %(name)s", name=name))
        exchangers = [record for record in mx.records if record.host]
        if mx.records and not exchangers:
            refuse_domain(
                said("%(name)s takes no mail: it has a null MX (RFC 7505)", name=name), _NULL_MX
            )
        implicit = not exchangers
        servers = self._looked_up(exchangers or [MX(0, name)], name)
        if servers:
            return servers
        if implicit:
            refuse_domain(
                said("%(name)s has neither mail exchangers nor an address in the DNS", name=name)
            )
        raise ResolveError(
            said(
                "No mail exchanger of %(name)s has an address: %(exchangers)s",
                name=name,
                exchangers=", ".join(record.host for record in exchangers[:MOST_HOSTS]),
            ),
            phase="resolve",
            category="dns_error",
        )

    def _looked_up(self, exchangers: Sequence[MX], name: str) -> list[_Server]:
        servers: list[_Server] = []
        # Those without an address cost questions, too: a domain may list thousands of them.
        chosen = self._in_order(exchangers)[:MOST_HOSTS]
        for _, equals in groupby(chosen, lambda record: record.preference):
            looked_at = [self._look_up(record.host) for record in equals]
            if any(server.ours for server in looked_at):
                if not servers:
                    refuse_loop(name)
                break
            servers += [server for server in looked_at if server.addresses or server.error]
        return servers

    def _in_order(self, exchangers: Iterable[MX]) -> list[MX]:
        """Return each host once, where it is preferred most; equals in random order."""
        best: dict[str, int] = {}
        for record in exchangers:
            best[record.host] = min(record.preference, best.get(record.host, record.preference))
        drawn = [(preference, self._rand(), host) for host, preference in best.items()]
        return [MX(preference, host) for preference, _, host in sorted(drawn)]

    def _look_up(self, host: str) -> _Server:
        if host == (self._template.helo or local_helo_name()).lower():
            return _Server(host, ours=True)
        try:
            answer = self._resolver.addresses(host)
        except ResolveError as error:
            error.host = host
            return _Server(host, error=error)
        if any(map(self._is_ours, answer.records)):
            return _Server(host, ours=True)
        usable = tuple(filter(self._is_usable, answer.records))[:MOST_ADDRESSES]
        return _Server(host, answer, usable)

    def _is_ours(self, address: str) -> bool:
        return address == self._template.source_address or self._is_own(address, self._port)

    def _is_usable(self, address: str) -> bool:
        ip = ipaddress.ip_address(address)
        source = self._template.source_address
        other = source is not None and ipaddress.ip_address(source).version != ip.version
        return not (other or ip.is_multicast)

    # -- one server ------------------------------------------------------------------------------

    def to(self, host: str, addresses: tuple[str, ...]) -> Options:
        """Return how to speak to a server of which no policy says anything."""
        return replace(self._template, host=host, addresses=addresses)

    def dane(self, server: _Server, mx: Answer[MX]) -> Dane | None:
        """Return what the TLSA records of a server say; None where there can be none.

        Raises :class:`ResolveError` where they could not be looked up.
        """
        if not (self._dane and mx.secure and server.answer is not None):
            return None
        return self._find(self._resolver, server.host, server.answer, self._port)


@dataclass(frozen=True, slots=True)
class _Server:
    """A server, and what the DNS says of it: its addresses, those to use, or why neither."""

    host: str
    answer: Answer[str] | None = None
    addresses: tuple[str, ...] = ()
    error: ResolveError | None = None
    ours: bool = False


class _Judging:
    """The servers of one domain, as they are taken one after the other."""

    def __init__(
        self, router: Router, name: str, mx: Answer[MX], policy: Policy | None, *, heeding: bool
    ) -> None:
        self.hosts: list[Options] = []
        self.leniently: list[tuple[Options, Options]] = []
        self.failures: list[SMTPError] = []
        self._router = router
        self._name = name
        self._mx = mx
        self._policy = policy if policy is not None and policy.mode != "none" else None
        self._heeding = heeding

    @property
    def reason(self) -> SMTPError:
        """Why there is no server to use: a policy, before what may be better in a minute."""
        return next((e for e in self.failures if isinstance(e, TLSError)), self.failures[0])

    def take(self, server: _Server) -> None:
        """Add how to go to ``server``, or why not to."""
        if server.error is not None:
            self.failures.append(server.error)
            return
        try:
            found = self._router.dane(server, self._mx) if self._heeding else None
        except ResolveError as error:
            error.host = server.host
            self.failures.append(error)
            return
        options = self._router.to(server.host, server.addresses)
        if found is not None and found.records:
            self.hosts.append(self._by_dane(options, found))
            return
        if found is not None and found.encrypts:
            options = _encrypted(options, found.name)
        self._by_policy(options)

    def _by_dane(self, options: Options, found: Dane) -> Options:
        """Return how to go to a server with TLSA records that can be used (RFC 7672)."""
        names = (*found.base, self._name, self._mx.canonical)
        return replace(
            options,
            security=Security.STARTTLS,
            verify=True,
            tlsa=found.records,
            names=tuple(dict.fromkeys(names)),
            tls_reason=said("the TLSA records of %(name)s", name=found.name),
        )

    def _by_policy(self, options: Options) -> None:
        policy = self._policy
        if policy is None:
            self.hosts.append(options)
            return
        reason = said(
            "the MTA-STS policy of %(name)s (%(mode)s)", name=self._name, mode=policy.mode
        )
        if not policy.matches(options.host):
            self.failures.append(not_named(options.host, reason, policy))
            if policy.mode != "enforce":
                self.hosts.append(options)
            return
        strict = _verified(options, reason)
        self.hosts.append(strict)
        if policy.mode != "enforce":
            self.leniently.append((strict, options))


def _verified(options: Options, reason: str) -> Options:
    """Return how to go to a server that has to show a certificate for its name (PKIX)."""
    return replace(
        options,
        security=Security.STARTTLS,
        verify=True,
        names=(options.host,),
        tls_reason=reason,
    )


def _encrypted(options: Options, name: str) -> Options:
    """Return how to go to a server with TLSA records of which none can be used: with TLS, and
    whatever certificate (RFC 7672 section 2.2), unless the mailer wants more.
    """
    if options.security is Security.STARTTLS:
        return options
    reason = said("the TLSA records of %(name)s, none of which can be used", name=name)
    return replace(options, security=Security.STARTTLS, verify=False, tls_reason=reason)


def _address_of(literal: str) -> str | None:
    """Return the IP address in an address literal, None where there is none."""
    inner = literal[1:-1] if literal.endswith("]") else ""
    tag, colon, rest = inner.partition(":")
    try:
        if colon and tag.lower() == "ipv6":
            return str(ipaddress.IPv6Address(rest))
        return str(ipaddress.IPv4Address(inner))
    except ValueError:
        return None
