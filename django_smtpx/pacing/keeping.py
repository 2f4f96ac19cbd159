"""What keeps mail that is counted as due: a way that rests, or a rate that is used up.

The rows do not say it: what is closed is written to them by the next drain that meets it, and a
full rate never is. So whoever is to be told until when mail waits is told by the ways.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django.db.models import Q

from django_smtpx import ledger
from django_smtpx.mailer import Way
from django_smtpx.pacing import credentials
from django_smtpx.pacing.gates import Gate, gate_of, gate_of_mailer
from django_smtpx.pacing.meter import used_up
from django_smtpx.pacing.routes import State, all_routes
from django_smtpx.pacing.slow import slowdown_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.ledger import Waiting
    from django_smtpx.mailer import Mailer
    from django_smtpx.models import Route
    from django_smtpx.pace import Slowdown
    from django_smtpx.pacing.meter import UsedUp

    Routes = Mapping[tuple[str, str], Route]

Wait = ledger.Wait

_BEHIND_A_WAY = frozenset({Wait.READY, Wait.REST})


def kept(
    waiting: Sequence[Waiting], mailers: Mapping[str, Mailer], at: datetime
) -> tuple[list[Waiting], list[UsedUp]]:
    """Return ``waiting``, as the ledger counts it, with what keeps it at ``at``, and the limits
    that do.

    What is due behind a closed way rests, and what rests already does so as long as that. What is
    due behind a used-up rate waits for its turn. In three statements at most. Whose sender is held
    is not known of a group: what no drain has met yet is due.
    """
    names = {one.mailer for one in waiting if one.wait in _BEHIND_A_WAY}
    if not names:
        return list(waiting), []
    closed_or_slow = ~Q(state=State.OPEN) | Q(slow_limit__isnull=False) | Q(domain="")
    rows = all_routes().filter(closed_or_slow, mailer__in=names, host="", sender="")
    routes = {(route.mailer, route.domain): route for route in rows}
    gates = _gates(routes, mailers, at)
    resting = [_resting(one, gates) for one in waiting]
    due = [one for one in resting if one.wait == Wait.READY]
    full = used_up(_ways(due, routes, mailers), at)
    told = [_turned(one, full.get(_key(one, mailers))) for one in resting]
    return ledger.in_order(told), list(dict.fromkeys(full.values()))


def _gates(
    routes: Routes, mailers: Mapping[str, Mailer], at: datetime
) -> dict[tuple[str, str], Gate]:
    """Return what is closed, by mailer and domain."""
    own = [mailers[name] for name, domain in routes if not domain and name in mailers]
    refused = credentials.refusals(own) if own else {}
    gates = {}
    for (name, domain), route in routes.items():
        if domain or name not in mailers:
            gate = gate_of(route, at)
        else:
            gate = gate_of_mailer(route, refused.get(name), at)
        # Where this process alone may not log in, others may send it.
        if not gate.is_open and gate.parks:
            gates[name, domain] = gate
    return gates


def _resting(one: Waiting, gates: Mapping[tuple[str, str], Gate]) -> Waiting:
    if one.wait not in _BEHIND_A_WAY:
        return one
    ways = ((one.mailer, ""), (one.mailer, one.domain))
    ends = [gates[way].until for way in ways if way in gates]
    if not ends:
        return one
    if None in ends:
        return replace(one, wait=Wait.REST, until=None)
    # What has been put away comes back no earlier than its own time: in waves.
    known = [end for end in (*ends, one.until) if end is not None]
    return replace(one, wait=Wait.REST, until=max(known))


def _ways(
    due: Iterable[Waiting], routes: Routes, mailers: Mapping[str, Mailer]
) -> Iterable[tuple[Way, Slowdown | None]]:
    for name, domain in sorted({_key(one, mailers) for one in due if one.mailer in mailers}):
        yield Way(mailers[name], domain), slowdown_of(routes.get((name, domain)))


def _key(one: Waiting, mailers: Mapping[str, Mailer]) -> tuple[str, str]:
    """Return the way of a group, by mailer and domain: behind hosts there is one for all."""
    mailer = mailers.get(one.mailer)
    return one.mailer, one.domain if mailer is not None and mailer.transport == "mx" else ""


def _turned(one: Waiting, full: UsedUp | None) -> Waiting:
    if full is None or one.wait != Wait.READY:
        return one
    return replace(one, wait=Wait.RATE, until=full.until)
