"""The hosts of a way: those that rest are left out, and one drain probes each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.pacing.routes import (
    HOLDS,
    PROBE_LASTS,
    Key,
    State,
    all_routes,
    bounded,
    reopen,
    rest,
    take_probe,
)

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from django_smtpx.mailer import Way
    from django_smtpx.models import Route
    from django_smtpx.smtp import SMTPError
    from django_smtpx.smtp.options import Options


@dataclass(frozen=True, slots=True)
class Hosts:
    """The hosts to try, in order; ``probing`` are the names of those that have failed."""

    options: tuple[Options, ...]
    probing: frozenset[str] = frozenset()


def hosts_to_try(way: Way, hosts: Sequence[Options], at: datetime) -> Hosts:
    """Return which of ``hosts`` to try: a single one always, for it is the way itself that rests.

    Where all of them rest the way is being probed, and each is tried.
    """
    if len(hosts) < 2:
        return Hosts(tuple(hosts))
    names = {bounded(options.host): options.host for options in hosts}
    known = all_routes().filter(mailer=way.name, domain="", sender="", host__in=list(names))
    closed = known.exclude(state=State.OPEN)
    resting = {names[route.host]: route for route in closed if route.host in names}
    tried = tuple(
        options
        for options in hosts
        if options.host not in resting or _may_be_probed(way, resting[options.host], at)
    )
    return Hosts(tried or tuple(hosts), frozenset(resting))


def book_host_failure(
    way: Way, hosts: Sequence[Options], error: SMTPError, at: datetime
) -> datetime | None:
    """Rest one of several hosts after it failed; the others go on.

    What is about the account is not about the host that said it.
    """
    if len(hosts) < 2 or not error.host or error.category in HOLDS:
        return None
    return rest(Key(way.name, host=bounded(error.host)), error, at)


def book_host_success(way: Way, host: str) -> None:
    """Open a host again that answered a probe."""
    reopen(Key(way.name, host=bounded(host)))


def _may_be_probed(way: Way, route: Route, at: datetime) -> bool:
    due = route.paused_until
    if due is None or due > at:
        return False
    return take_probe(Key(way.name, host=route.host), due, at, PROBE_LASTS)
