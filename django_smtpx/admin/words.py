"""What rows say in plain words; the time is an argument."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import TYPE_CHECKING

from django.utils.formats import date_format, number_format
from django.utils.html import format_html
from django.utils.safestring import SafeString
from django.utils.text import Truncator
from django.utils.timesince import timesince, timeuntil
from django.utils.timezone import localtime
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from django_smtpx.config import mailer_errors, mailers
from django_smtpx.models import Category, Delivery, Route
from django_smtpx.pacing import used_up_until

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from django_smtpx.models import Attempt

Status = Delivery.Status

_SUBJECT_LENGTH = 80
_IMMINENT = 60.0
_NOTHING: Mapping[str, datetime] = MappingProxyType({})
_SECONDS_SAID = 120
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def status_badge(status: str) -> SafeString:
    """Return a status, or an attempt's outcome, as a coloured word; the word says it all."""
    known = Status(status)
    text = '<span class="smtpx-status smtpx-status-{}">{}</span>'
    return format_html(text, known.value, known.label)


def state_badge(state: str) -> SafeString:
    """Return a route's state as a coloured word."""
    known = Route.State(state)
    text = '<span class="smtpx-status smtpx-status-{}">{}</span>'
    return format_html(text, known.value, known.label)


def category_badge(category: str) -> SafeString:
    """Return a category as a word, coloured by what it is about; "" where there is none."""
    if not category:
        return SafeString("")
    known = Category(category)
    about = f" smtpx-about-{known.about}" if known.about else ""
    return format_html('<span class="smtpx-category{}">{}</span>', about, known.label)


def next_attempt(
    delivery: Delivery, now: datetime, used_up: Mapping[str, datetime] = _NOTHING
) -> str:
    """Say when, or on whose word, a delivery is tried again; "" once it is settled.

    ``used_up`` has the mailers whose rate is used up, and until when.
    """
    if delivery.status == Status.SENDING:
        return _("being sent now")
    if delivery.status == Status.UNKNOWN:
        return _("waits for a person")
    if delivery.status not in (Status.QUEUED, Status.DEFERRED):
        return ""
    if delivery.mailer not in mailers():
        return _("waits for its mailer to be configured")
    if delivery.lane > Delivery.Lane.IDLE:
        return _ready(used_up.get(delivery.mailer))
    return _idle(delivery.next_attempt_at, parked=delivery.parked_at is not None, now=now)


def _ready(closed_until: datetime | None) -> str:
    if closed_until is None:
        return _("due now")
    values = {"time": moment(closed_until)}
    return _("due now; its mailer’s rate is used up until %(time)s") % values


def untried(delivery: Delivery) -> str:
    """Say why there is no attempt of a delivery."""
    if delivery.status == Status.SUPPRESSED:
        return _("Never tried: the address is on the suppression list.")
    if delivery.status == Status.CANCELLED:
        return _("Never tried: it was cancelled.")
    if delivery.category == Category.EXPIRED:
        return _("Never tried: it had expired.")
    return _("Not tried yet.")


def _idle(due: datetime | None, *, parked: bool, now: datetime) -> str:
    if due is None:
        return (
            _("rests until its mailer, domain or sender is resumed")
            if parked
            else _("waits for a person")
        )
    if due <= now:
        return _("due now")
    if parked:
        return _("rests with its mailer, domain or sender until %(time)s") % {"time": moment(due)}
    return soon(due, now)


def rates_used_up(deliveries: Iterable[Delivery], now: datetime) -> dict[str, datetime]:
    """Return the mailers of what is ready whose rate is used up, and until when.

    One statement for each of them that has a rate.
    """
    names = {row.mailer for row in deliveries if row.lane > Delivery.Lane.IDLE}
    known = mailers()
    times = {name: used_up_until(known[name], now) for name in names if name in known}
    return {name: until for name, until in times.items() if until is not None}


def next_probe(route: Route, now: datetime) -> str:
    """Say when a route is tried again; "" while it is open."""
    if route.state == Route.State.OPEN:
        return ""
    if route.paused_until is None:
        return _("when it is resumed")
    return probe(route.paused_until, now)


def probe(at: datetime, now: datetime) -> str:
    """Say when something is tried again that has a time for it."""
    return _("due now") if at <= now else soon(at, now)


def pace(per_second: float | None) -> str:
    """Say how slowly a route goes, in the unit that makes it a number of at least one."""
    if per_second is None:
        return ""
    units = (
        (1, _("%(count)s messages a second")),
        (60, _("%(count)s messages a minute")),
        (3600, _("%(count)s messages an hour")),
    )
    seconds, said = next((unit for unit in units if per_second * unit[0] >= 1), units[-1])
    return said % {"count": number_format(round(per_second * seconds, 1))}


def expiry(at: datetime | None, now: datetime) -> str:
    """Say until when an entry of the suppression list counts."""
    if at is None:
        return _("never")
    if at <= now:
        return _("expired (%(time)s)") % {"time": moment(at)}
    return soon(at, now)


def soon(due: datetime, now: datetime) -> str:
    """Say how long it is until ``due``, and when that is."""
    values = {"time": moment(due), "wait": timeuntil(due, now, depth=1)}
    if (due - now).total_seconds() < _IMMINENT:
        return _("in less than a minute (%(time)s)") % values
    return _("in %(wait)s (%(time)s)") % values


def duration(seconds: float) -> str:
    """Say how long something is: "45 seconds", "5 minutes", "1 hour, 30 minutes"."""
    whole = round(seconds)
    if whole < _SECONDS_SAID:
        text = ngettext("%(count)s second", "%(count)s seconds", whole)
        return text % {"count": number_format(whole)}
    begin = datetime(2000, 1, 1, tzinfo=UTC)
    return timesince(begin, begin + timedelta(seconds=whole), depth=2)


def moment(at: datetime) -> str:
    """Return a time in the reader's zone and manner."""
    return date_format(localtime(at), "DATETIME_FORMAT")


def mailer(name: str) -> str:
    """Return a mailer's name, and whether it can still be used."""
    if not name:
        return _("(without a name)")
    if name in mailers():
        return name
    if name in mailer_errors():
        return _("%(mailer)s (configuration error)") % {"mailer": name}
    return _("%(mailer)s (not configured)") % {"mailer": name}


def subject(text: str, *, whole: bool = False) -> str:
    """Return a subject, cut to what fits into a list unless the ``whole`` of it is wanted."""
    if not text.strip():
        return _("(no subject)")
    return text if whole else Truncator(text).chars(_SUBJECT_LENGTH)


def codes(code: int | None, enhanced_code: str) -> str:
    """Return "550 5.1.1", or what there is of it."""
    return " ".join(str(part) for part in (code, enhanced_code) if part)


def counts(by_status: Mapping[str, int]) -> str:
    """Return "3 sent, 1 failed", in the order of the statuses."""
    parts = [
        _("%(count)s %(status)s")
        % {"count": number_format(by_status[status.value]), "status": status.label}
        for status in Status
        if by_status.get(status.value)
    ]
    return ", ".join(parts)


def address(attempt: Attempt) -> str:
    """Return "192.0.2.1:25" or "[2001:db8::1]:25", or what there is of it."""
    ip = f"[{attempt.ip}]" if ":" in attempt.ip else attempt.ip
    return f"{ip}:{attempt.port}" if attempt.port else ip


def encryption(attempt: Attempt) -> str:
    """Return how an attempt's connection was encrypted, and what vouched for the server."""
    if not attempt.tls or not attempt.tls_verified_by:
        return attempt.tls
    values = {"tls": attempt.tls, "how": attempt.tls_verified_by.upper()}
    return _("%(tls)s, verified by %(how)s") % values


def since(at: datetime, now: datetime) -> str:
    """Return how long ago that is; Django's own says "0 minutes" of what is less than one."""
    return timesince(at, now, depth=1) if now - at >= timedelta(minutes=1) else span(now - at)


def span(length: timedelta) -> str:
    """Return a length of time in its largest whole unit."""
    seconds = round(length.total_seconds())
    if seconds >= _DAY:
        count = seconds // _DAY
        text = ngettext("%(count)s day", "%(count)s days", count)
    elif seconds >= _HOUR:
        count = seconds // _HOUR
        text = ngettext("%(count)s hour", "%(count)s hours", count)
    elif seconds >= _MINUTE:
        count = seconds // _MINUTE
        text = ngettext("%(count)s minute", "%(count)s minutes", count)
    else:
        count = max(seconds, 0)
        text = ngettext("%(count)s second", "%(count)s seconds", count)
    return text % {"count": number_format(count)}
