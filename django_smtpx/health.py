"""Is mail flowing? What stands against it, as values: any face shows them, and none adds a rule."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import TextChoices
from django.utils.translation import gettext_lazy as _

from django_smtpx import delivery, ledger
from django_smtpx.config import mailer_errors, mailers, sweep_interval, webhook_errors, webhooks
from django_smtpx.models import Attempt, Route, WebhookEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from django_smtpx.ledger import Lately, Queued

LATE = timedelta(minutes=5)
"""For so long what is due may wait."""

LATELY = timedelta(minutes=5)
"""What counts as now."""

ENOUGH = 10
"""Attempts of which one ought to be sent: fewer may all be to addresses that are no more."""

NOTHING = ledger.Lately({}, LATELY, cut=False)
"""No attempt."""

_SILENCE = 60.0
_SWEEPS = 3


class Trouble(TextChoices):
    """What stands against it; the values are the names that alarms may rely on."""

    CONFIGURATION = "configuration", _("a mailer is not configured as it must be")
    SWEEP = "sweep", _("no worker looks after the mail")
    HELD = "held", _("a mailer is held")
    PAUSED = "paused", _("a mailer is paused")
    LATE = "late", _("mail that is due is not sent")
    NOTHING_SENT = "nothing_sent", _("none of the latest attempts was sent")
    PERSON = "person", _("mail waits for a person")
    WEBHOOK = "webhook", _("a webhook takes no events")


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that stands against it.

    ``mailer`` is "" where it is about all of them. ``count`` is how many deliveries or attempts it
    is about, and ``more`` says that there may be more of them. ``since`` is from when on it has
    been so, ``until`` when that is looked at again; None where nobody knows. ``reason`` is what
    closed a mailer, or what is wrong with its configuration, whole and in English. ``webhook`` is
    the endpoint that it is about, whose events ``count`` counts then.
    """

    trouble: Trouble
    mailer: str = ""
    count: int = 0
    more: bool = False
    since: datetime | None = None
    until: datetime | None = None
    reason: str = ""
    failing: bool = True
    webhook: str = ""


def findings(
    at: datetime,
    queue: list[Queued] | None = None,
    lately: Lately | None = None,
    *,
    late: timedelta = LATE,
) -> list[Finding]:
    """Return what stands against mail flowing at that time, the worst first; nothing: it flows.

    ``queue`` is :func:`~django_smtpx.ledger.outlook` and ``lately`` is :func:`lately_sent`, where
    they are known. It takes no longer with a million rows.
    """
    waiting = ledger.outlook(at) if queue is None else queue
    tried = lately_sent(at) if lately is None else lately
    found = [*_configuration(), *_sweep(waiting, at), *_routes(), *_queue(waiting, at, late)]
    found += [*_attempts(tried, at), *_webhooks(at)]
    return sorted(found, key=lambda one: not one.failing)


def lately_sent(at: datetime) -> Lately:
    """Return what came of the attempts of the last minutes."""
    return ledger.lately(ledger.latest_attempts(), LATELY, at)


def flows(found: list[Finding]) -> bool:
    """Say whether nothing of it keeps mail from being sent: a warning does not."""
    return not any(one.failing for one in found)


def _configuration() -> Iterator[Finding]:
    for name, error in sorted(mailer_errors().items()):
        yield Finding(trouble=Trouble.CONFIGURATION, mailer=name, reason=str(error))


def _sweep(queue: list[Queued], at: datetime) -> Iterator[Finding]:
    turn = delivery.last_turn()
    silence = timedelta(seconds=max(_SILENCE, _SWEEPS * sweep_interval()))
    # Where no mail was ever sent there may be no worker yet.
    if turn is None and not queue:
        return
    if turn is None or at - turn > silence:
        yield Finding(trouble=Trouble.SWEEP, since=turn, failing=bool(queue))


def _routes() -> Iterator[Finding]:
    closed = Route.objects.using(ledger.database()).filter(
        mailer__in={*mailers(), *mailer_errors()}, host="", domain="", sender=""
    )
    troubles = {Route.State.HELD.value: Trouble.HELD, Route.State.PAUSED.value: Trouble.PAUSED}
    for route in closed.exclude(state=Route.State.OPEN).order_by("mailer"):
        trouble = troubles[route.state]
        yield Finding(
            trouble=trouble,
            mailer=route.mailer,
            until=route.paused_until,
            reason=route.pause_reason,
            failing=trouble is Trouble.HELD,
        )


def _queue(queue: list[Queued], at: datetime, late: timedelta) -> Iterator[Finding]:
    for one in queue:
        is_late = one.due is not None and at - one.due > late
        if one.wait == ledger.Wait.READY and is_late:
            yield Finding(trouble=Trouble.LATE, count=one.count, more=one.more, since=one.due)
        if one.wait == ledger.Wait.PERSON:
            yield Finding(
                trouble=Trouble.PERSON,
                count=one.count,
                more=one.more,
                since=one.oldest,
                failing=False,
            )


def _attempts(lately: Lately, at: datetime) -> Iterator[Finding]:
    count = sum(lately.counts.values())
    if count and not lately.counts.get(Attempt.Outcome.SENT):
        yield Finding(
            trouble=Trouble.NOTHING_SENT,
            count=count,
            since=at - lately.span,
            failing=count >= ENOUGH,
        )


def _webhooks(at: datetime) -> Iterator[Finding]:
    """Tell of webhooks that are disabled, or fail for a while; mail flows all the same."""
    for name, error in sorted(webhook_errors().items()):
        yield Finding(trouble=Trouble.WEBHOOK, webhook=name, reason=error, failing=False)
    if not webhooks():
        return
    rows = WebhookEndpoint.objects.using(ledger.database()).filter(name__in=[*webhooks()])
    for row in rows.order_by("name"):
        since = row.disabled_at or row.failing_since
        if since is None or (row.disabled_at is None and at - since <= LATE):
            continue
        count = ledger.waiting_events(row.name)
        yield Finding(
            trouble=Trouble.WEBHOOK,
            webhook=row.name,
            count=count,
            more=count >= ledger.MOST_COUNTED,
            since=since,
            until=None if row.disabled_at else row.rests_until,
            reason=row.error,
            failing=False,
        )
