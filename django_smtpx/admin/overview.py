"""The page that is opened at 3 a.m.: is mail flowing, what waits and since when, what is closed.

Nothing on it takes longer with more rows: what waits and what failed is looked at up to a bound,
which the page names, and what was sent has been counted beside the deliveries.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from django.utils.formats import number_format
from django.utils.text import Truncator
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_smtpx import delivery, ledger
from django_smtpx.admin import flow, ways, words
from django_smtpx.admin.base import may_view
from django_smtpx.admin.links import Links
from django_smtpx.health import NOTHING, Trouble, findings, lately_sent
from django_smtpx.language import in_language, recorded, recorded_reason
from django_smtpx.models import Attempt, Delivery, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from django.http import HttpRequest

    from django_smtpx.admin.charts import Chart
    from django_smtpx.admin.links import Figure
    from django_smtpx.admin.ways import Way
    from django_smtpx.health import Finding
    from django_smtpx.ledger import Lately, Queued

Outcome = Attempt.Outcome
Wait = ledger.Wait

_MOST_REASON = 200
"""Characters of what is wrong that are shown."""
_LEVELS = {True: "error", False: "warning"}


@dataclass(frozen=True, slots=True)
class Headline:
    """One sentence of the answer; ``level`` is one of Django's messages."""

    level: str
    text: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Waits:
    """What waits for one thing, in words."""

    label: str
    count: str
    url: str
    oldest: str
    due: str


@dataclass(slots=True)
class Overview:
    """What the page shows; what the user may not see is empty."""

    headlines: list[Headline] = field(default_factory=list)
    sees_deliveries: bool = False
    sees_routes: bool = False
    swept: str = ""
    lately: str = ""
    waits: list[Waits] = field(default_factory=list)
    looked_at: str = ""
    charts: list[Chart] = field(default_factory=list)
    counted_until: str = ""
    median: str = ""
    slowest: str = ""
    mailers: list[Way] = field(default_factory=list)
    routes: list[Way] = field(default_factory=list)
    resume: str = ""
    all_routes: str = ""
    categories: list[Figure] = field(default_factory=list)
    domains: list[Figure] = field(default_factory=list)
    failures: str = ""


def overview(request: HttpRequest, now: datetime) -> Overview | None:
    """Return what the user may see of it; None where that is nothing."""
    page = Overview(
        sees_deliveries=may_view(request, Delivery), sees_routes=may_view(request, Route)
    )
    if not (page.sees_deliveries or page.sees_routes):
        return None
    links = Links(request)
    queue = ledger.outlook(now) if page.sees_deliveries else []
    lately = lately_sent(now) if page.sees_deliveries else NOTHING
    routes = ways.closed_routes() if page.sees_routes else []
    page.swept = _swept(delivery.last_turn(), now)
    found = list(findings(now, queue, lately))
    if page.sees_deliveries and not _AGAINST_FLOW.intersection(one.trouble for one in found):
        page.headlines.append(_all_is_well(queue, lately))
    page.headlines += _headlines(found, page, routes, links, now)
    kinds = _add_flow(page, queue, lately, links, now) if page.sees_deliveries else None
    page.mailers = ways.mailer_ways(routes, kinds, links, now)
    page.routes, page.all_routes = ways.ways_behind(routes, links, now)
    page.resume = links.resume() if page.sees_routes else ""
    return page


def _add_flow(
    page: Overview, queue: Sequence[Queued], lately: Lately, links: Links, now: datetime
) -> list[flow.Kind]:
    """Add what is of deliveries, and return what was counted of the last day."""
    page.lately = _lately(lately)
    page.waits = [_waits(one, links, now) for one in queue]
    if any(one.more for one in queue):
        page.looked_at = number_format(ledger.LOOKED_AT)
    until = ledger.counted_until()
    page.counted_until = words.moment(until) if until is not None else ""
    page.charts = flow.charts(now, links)
    kinds = flow.kinds_of_today(now)
    page.median, page.slowest = flow.sent_within(kinds, 0.5), flow.sent_within(kinds, 0.95)
    page.categories = flow.categories(kinds, links)
    page.domains = flow.domains(now, links)
    page.failures = number_format(flow.FAILURES)
    return kinds


# -- the answer ------------------------------------------------------------------------------------


def _swept(turn: datetime | None, now: datetime) -> str:
    if turn is None:
        return ""
    text = _("Mail that is due was last looked for %(time)s ago.")
    return text % {"time": words.since(turn, now)}


def _headlines(
    found: Iterable[Finding], page: Overview, routes: Iterable[Route], links: Links, now: datetime
) -> Iterator[Headline]:
    """Say what stands against mail flowing, but for the mailers that are held: those are named
    above every page.
    """
    by_mailer = {route.mailer: links.route(route) for route in routes if ways.is_mailer(route)}
    for one in found:
        said = _SAID.get(one.trouble)
        if said is not None and (page.sees_routes or one.trouble not in _OF_ROUTES):
            url = by_mailer.get(one.mailer, "") if one.mailer else _list_of(one, links)
            yield Headline(_LEVELS[one.failing], said(one, now), url)


def _sweep(one: Finding, now: datetime) -> str:
    if one.since is None:
        return _("No worker has ever swept here: is one running?")
    text = _("No worker has swept for %(time)s: is one running?")
    return text % {"time": words.since(one.since, now)}


def _cut(reason: str) -> str:
    return Truncator(reason).chars(_MOST_REASON)


def _misconfigured(one: Finding, now: datetime) -> str:
    text = _("Mailer %(mailer)s cannot be used, and its mail waits: %(reason)s")
    return text % {"mailer": repr(one.mailer), "reason": _cut(in_language(one.reason))}


def _paused(one: Finding, now: datetime) -> str:
    values = {
        "mailer": repr(one.mailer),
        "reason": _cut(recorded_reason(one.reason)) or _("no reason given"),
        "time": words.probe(one.until, now) if one.until is not None else "–",
    }
    return _("Mailer %(mailer)s is paused (%(reason)s). Next probe: %(time)s.") % values


def _late(one: Finding, now: datetime) -> str:
    text = ngettext(
        "%(count)s delivery is due, and has been for %(time)s.",
        "%(count)s deliveries are due, the first of them for %(time)s.",
        one.count,
    )
    time = words.since(one.since, now) if one.since is not None else "–"
    return text % {"count": _number(one), "time": time}


def _nothing_sent(one: Finding, now: datetime) -> str:
    text = ngettext(
        "The latest attempt was not sent.",
        "None of the latest %(count)s attempts was sent.",
        one.count,
    )
    return text % {"count": _number(one)}


def _person(one: Finding, now: datetime) -> str:
    text = ngettext(
        "%(count)s delivery waits for a person: its outcome is unknown, or it is held.",
        "%(count)s deliveries wait for a person: their outcome is unknown, or they are held.",
        one.count,
    )
    return text % {"count": _number(one)}


def _webhook(one: Finding, now: datetime) -> str:
    values = {"name": repr(one.webhook), "reason": recorded(one.reason) or _("no reason given")}
    if one.since is None:
        # What is wrong is for whoever sets it, and so in English.
        return _(
            "Webhook %(name)s cannot be used as it is configured: manage.py check says why."
        ) % (values)
    values |= {"count": _number(one), "time": words.since(one.since, now)}
    if one.until is None:
        text = _("Webhook %(name)s is disabled for %(time)s (%(reason)s). Waiting: %(count)s.")
    else:
        text = _("Webhook %(name)s fails for %(time)s (%(reason)s). Waiting: %(count)s.")
    return text % values


_SAID: dict[Trouble, Callable[[Finding, datetime], str]] = {
    Trouble.SWEEP: _sweep,
    Trouble.CONFIGURATION: _misconfigured,
    Trouble.PAUSED: _paused,
    Trouble.LATE: _late,
    Trouble.NOTHING_SENT: _nothing_sent,
    Trouble.PERSON: _person,
    Trouble.WEBHOOK: _webhook,
}
_AGAINST_FLOW = {Trouble.SWEEP, Trouble.LATE, Trouble.NOTHING_SENT}
_OF_ROUTES = (Trouble.CONFIGURATION, Trouble.PAUSED, Trouble.WEBHOOK)


def _list_of(one: Finding, links: Links) -> str:
    """Return the list of the deliveries that something is about."""
    waits = {Trouble.LATE: Wait.READY, Trouble.PERSON: Wait.PERSON}
    wait = waits.get(one.trouble)
    return links.deliveries(wait=wait) if wait is not None else ""


def _all_is_well(queue: Sequence[Queued], lately: Lately) -> Headline:
    """Say so also where something else is to be said: what waits for a person keeps no other."""
    if lately.counts:
        return Headline("success", _("Mail is flowing."))
    if queue:
        return Headline("success", _("Nothing that may go is late."))
    return Headline("success", _("Nothing waits to be sent."))


def _lately(lately: Lately) -> str:
    if not lately.counts:
        return _("No attempt in the last %(time)s.") % {"time": words.span(lately.span)}
    values = {
        "outcomes": words.counts(lately.counts),
        "time": words.span(lately.span),
        "pace": words.pace(lately.per_second(Outcome.SENT)),
    }
    if lately.cut:
        text = _("The latest attempts, of %(time)s: %(outcomes)s. Sent: %(pace)s.")
    else:
        text = _("In the last %(time)s: %(outcomes)s. Sent: %(pace)s.")
    return text % values


# -- what waits ------------------------------------------------------------------------------------


def _waits(one: Queued, links: Links, now: datetime) -> Waits:
    return Waits(
        label=str(one.wait.label),
        count=_number(one),
        url=links.deliveries(wait=one.wait),
        oldest=words.since(one.oldest, now) if one.oldest <= now else "",
        due=_due(one, now),
    )


def _due(one: Queued, now: datetime) -> str:
    if one.due is None or one.wait in (Wait.SENDING, Wait.PERSON):
        return ""
    if one.due > now:
        return words.soon(one.due, now)
    return _("for %(time)s") % {"time": words.since(one.due, now)}


def _number(one: Queued | Finding) -> str:
    number = number_format(one.count)
    return _("more than %(count)s") % {"count": number} if one.more else number
