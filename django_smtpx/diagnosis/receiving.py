"""Whether failure reports find back: the mail servers of the sending domain, and the TLS that its
own policies (MTA-STS, DANE) have them show to others.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from django_smtpx.mx import mta_sts, policy_host
from django_smtpx.mx.route import Router
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.diagnosis import Step
from django_smtpx.smtp.diagnosis.bounds import Bounded
from django_smtpx.smtp.errors import ResolveError, SMTPError, TLSError
from django_smtpx.smtp.wording import because, said, stopped

if TYPE_CHECKING:
    from django_smtpx.diagnosis.world import World
    from django_smtpx.mailer import MXOptions
    from django_smtpx.mx.mta_sts import Found, Stored
    from django_smtpx.smtp.options import Options

FETCH = 3.0
"""Seconds for a policy's web server."""
OPENING = 2.0
"""Seconds for one mail server's TLS."""
MOST_SERVERS = 2
"""So many servers' TLS is looked at."""

_NAMES = ("mx", "mta_sts", "tlsa")


class _Fresh:
    """A store that knows no policy but what was found just now, as others would find it."""

    def __init__(self) -> None:
        self._kept: Stored | None = None

    def get(self, domain: str) -> Stored | None:
        """Return what was found."""
        return self._kept

    def put(self, stored: Stored) -> bool:
        """Keep it for this once."""
        self._kept = stored
        return True


@dataclass(slots=True)
class _Seen:
    """The servers of the domain, its policy, and what is wrong with either."""

    found: Found | None = None
    hosts: tuple[Options, ...] = ()
    error: SMTPError | None = None
    failures: list[SMTPError] = field(default_factory=list)
    shown: dict[str, str] = field(default_factory=dict)


def receiving_steps(world: World, mx: MXOptions) -> tuple[Step, ...]:
    """Return the steps of the sending domain's own servers."""
    if "." not in world.domain:
        return tuple(Step(name, None) for name in _NAMES)
    seen = _look(world, mx)
    return _servers(world, seen), _policy(world, seen), _tlsa(world, mx, seen)


def _look(world: World, mx: MXOptions) -> _Seen:
    fetch = policy_host.PolicyHosts(world.resolver, ca_file=mx.template.ca_file, timeout=FETCH)
    policies = mta_sts.Policies(world.resolver, _Fresh(), fetch=fetch)
    seen = _Seen(found=policies.policy_for(world.domain))
    router = Router(
        mx.template, resolver=world.resolver, policies=policies, dane=mx.dane, port=mx.port
    )
    try:
        route = router.route(world.domain)
    except SMTPError as error:
        seen.error = error
        return seen
    seen.hosts, seen.failures = route.hosts, list(route.failures)
    for options in [one for one in route.hosts if one.tls_reason][:MOST_SERVERS]:
        seen.shown[options.host] = _shown(options, seen)
    return seen


def _shown(options: Options, seen: _Seen) -> str:
    """Open one connection, without a word of mail, to see whether a server's TLS holds."""
    own = replace(options, probe=False, timeout=OPENING)
    try:
        connection = Connection.open(own, Bounded(OPENING))
    except TLSError as error:
        seen.failures.append(error)
        return said("its TLS does not hold")
    except SMTPError as error:
        return said("not reached (%(category)s)", category=error.category)
    connection.quit()
    return said("its TLS holds")


# -- telling ---------------------------------------------------------------------------------------


def _servers(world: World, seen: _Seen) -> Step:
    evidence: dict[str, Any] = {"domain": world.domain}
    if seen.error is None:
        evidence["servers"] = [options.host for options in seen.hosts]
        return Step("mx", True, evidence)
    if isinstance(seen.error, TLSError):
        return Step("mx", True, evidence)
    if seen.error.category == "loop":
        note = said("This machine takes the domain's mail itself.")
        return Step("mx", None, evidence, note)
    mend = said(
        "Let %(domain)s have a mail server (MX), or send from a domain that has: failure "
        "reports have nowhere to go, and many receivers take no mail of such a sender.",
        domain=world.domain,
    )
    return Step("mx", False, evidence, stopped(seen.error), mend)


def _policy(world: World, seen: _Seen) -> Step:
    found = seen.found
    evidence: dict[str, Any] = {"domain": world.domain}
    if found is None or (found.policy is None and found.failure is None):
        return Step("mta_sts", None, {**evidence, "policy": said("none")})
    if found.policy is None:
        assert found.failure is not None
        mend = said(
            "Mend the policy of %(domain)s, or take its TXT record out of the DNS.",
            domain=world.domain,
        )
        return Step("mta_sts", False, evidence, stopped(found.failure.text), mend)
    policy = found.policy
    evidence |= {"policy": policy.mode, "mx": list(policy.mx)}
    error = _of_policy(seen, "MTA-STS")
    if error is None:
        return Step("mta_sts", True, evidence | _seen_of(seen))
    mend = said(
        "Let the policy name all servers of the domain, and each show a certificate that holds."
    )
    ok = policy.mode != "enforce"
    return Step("mta_sts", ok, evidence | _seen_of(seen), stopped(error), mend)


def _tlsa(world: World, mx: MXOptions, seen: _Seen) -> Step:
    evidence: dict[str, Any] = {"domain": world.domain}
    if not mx.resolver.trust_ad:
        note = said("It is not known: the resolver is not said to validate DNSSEC (trust_ad).")
        return Step("tlsa", None, evidence, note)
    lost = [one for one in (*seen.failures, seen.error) if isinstance(one, ResolveError)]
    if any(one.tls_failure for one in lost):
        error = next(one for one in lost if one.tls_failure)
        return Step("tlsa", False, evidence, stopped(error), said("See to the domain's DNSSEC."))
    named = [one for one in seen.hosts if "TLSA" in one.tls_reason]
    evidence["servers"] = [
        because(one.host, said("%(count)s records", count=len(one.tlsa))) for one in named
    ]
    if not named:
        return Step("tlsa", None, evidence)
    failing = _of_policy(seen, "TLSA")
    if failing is None:
        return Step("tlsa", True, evidence | _seen_of(seen))
    mend = said(
        "Publish TLSA records that fit the server's certificate, the next one's before it changes."
    )
    return Step("tlsa", False, evidence | _seen_of(seen), stopped(failing), mend)


def _of_policy(seen: _Seen, kind: str) -> TLSError | None:
    """Return what does not hold of the servers' TLS by that kind of policy."""
    errors = [one for one in (*seen.failures, seen.error) if isinstance(one, TLSError)]
    return next((one for one in errors if kind in str(one)), None)


def _seen_of(seen: _Seen) -> dict[str, Any]:
    return {"seen": [because(*pair) for pair in seen.shown.items()]} if seen.shown else {}
