"""The hosts of a way: those that rest are left out, and one drain probes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.models import Category
from django_smtpx.pacing.routes import (
    HOLDS,
    PROBE_LASTS,
    Key,
    State,
    all_routes,
    bounded,
    reopen,
    rest,
    said_until,
    take_probe,
)
from django_smtpx.smtp import SMTPError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.mailer import Way
    from django_smtpx.models import Route
    from django_smtpx.smtp.options import Options


_DEAD = frozenset({Category.UNREACHABLE, Category.TIMEOUT, Category.DISCONNECTED})
_WISHES = frozenset({Category.TLS_ERROR, Category.UNSUPPORTED})


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts to try, in order; ``probing`` are the names of those that have failed.

    Where there is none to try ``rests`` is until when, and ``why``.
    """

    options: tuple[Options, ...]
    probing: frozenset[str] = frozenset()
    rests: datetime | None = None
    why: SMTPError | None = None


def hosts_to_try(way: Way, hosts: Sequence[Options], at: datetime) -> Hosts:
    """Return which of ``hosts`` to try: a single one always, for it is the way itself that rests.

    Where all of them rest the way is being probed, and each is tried. But not where mail goes
    straight to a domain: many have the same servers, and what is dead is not to be found out for
    each of them, once more and once more.
    """
    if len(hosts) < 2 and not way.domain:
        return Hosts(tuple(hosts))
    resting = _resting(way, hosts)
    tried = tuple(
        options
        for options in hosts
        if options.host not in resting or _may_be_probed(way, resting[options.host], at)
    )
    probing = frozenset(resting)
    if way.domain and not tried:
        return Hosts((), probing, *_behind(resting.values(), at))
    return Hosts(tried or tuple(hosts), probing)


def resting_hosts(way: Way, hosts: Sequence[Options], at: datetime) -> frozenset[str]:
    """Return the names of those that rest still; nothing is written for that."""
    return frozenset(
        host
        for host, route in _resting(way, hosts).items()
        if route.paused_until is None or route.paused_until > at
    )


def is_dead(error: SMTPError) -> bool:
    """Say whether a host has failed without a word, as one does that is away."""
    return error.code is None and error.category in _DEAD


def book_host_failure(
    way: Way,
    hosts: Sequence[Options],
    error: SMTPError,
    at: datetime,
    *,
    probed: bool = False,
) -> datetime | None:
    """Rest one of several hosts after it failed; the others go on.

    What is about the account is not about the host that said it. Nor, where mail goes straight to
    domains, is a certificate, or what it does not know: other domains, and other mail, may want
    less of the same host. A domain's only host rests when it is dead, for the sake of the others
    behind it. ``probed`` says that it rested before, and that this was its probe.
    """
    if not error.host or error.category in HOLDS:
        return None
    if way.domain and error.category in _WISHES:
        return None
    if len(hosts) < 2 and not (way.domain and is_dead(error)):
        return None
    return rest(Key(way.name, host=bounded(error.host)), error, at, probed=probed)


def book_host_success(way: Way, host: str) -> None:
    """Open a host again that answered a probe."""
    reopen(Key(way.name, host=bounded(host)))


def _resting(way: Way, hosts: Sequence[Options]) -> dict[str, Route]:
    """Return the routes that are closed of hosts, by the host's name."""
    names = {bounded(options.host): options.host for options in hosts}
    known = all_routes().filter(mailer=way.name, domain="", sender="", host__in=list(names))
    closed = known.exclude(state=State.OPEN)
    return {names[route.host]: route for route in closed if route.host in names}


def _behind(resting: Iterable[Route], at: datetime) -> tuple[datetime | None, SMTPError]:
    """Return until when mail rests behind these hosts, and what to say of it: where one of them is
    due, somebody else is probing it.
    """
    first = min(resting, key=lambda route: (route.paused_until is None, route.paused_until))
    until = first.paused_until
    if until is not None and until <= at:
        until = at + PROBE_LASTS
    return until, SMTPError(
        said(
            "The host %(host)s rests %(until)s: %(reason)s",
            host=first.host,
            until=said_until(until),
            reason=first.pause_reason or said("no reason given"),
        ),
        phase="connect",
        host=first.host,
        category=first.category or Category.OTHER_TEMPORARY.value,
    )


def _may_be_probed(way: Way, route: Route, at: datetime) -> bool:
    due = route.paused_until
    if due is None or due > at:
        return False
    return take_probe(Key(way.name, host=route.host), due, at, PROBE_LASTS)
