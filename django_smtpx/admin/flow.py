"""What came of attempts, over the last day and the last month, as the overview shows it."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import TYPE_CHECKING

from django.utils.formats import date_format, number_format
from django.utils.timezone import get_current_timezone, localtime
from django.utils.translation import gettext as _

from django_smtpx import ledger
from django_smtpx.admin import words
from django_smtpx.admin.charts import Chart, Stretch, chart
from django_smtpx.admin.links import Figure
from django_smtpx.models import SENT_WITHIN, Attempt, Category, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import date, tzinfo

    from django_smtpx.admin.links import Links

    Counted = Sequence[tuple[datetime, str, int]]

Outcome = Attempt.Outcome

HOURS, DAYS = 24, 30

FAILURES = 500
"""Deliveries that failed last, and that wait after a failure, of which the domains are counted."""

MOST = 10
"""Categories and domains that are named."""

_HOUR = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Kind:
    """So many attempts that were alike."""

    mailer: str
    outcome: str
    category: str
    bucket: int
    count: int


def kinds_of_today(now: datetime) -> list[Kind]:
    """Return what was counted of the last hours."""
    return [Kind(*row) for row in ledger.counted_by_kind(_first_hour(now))]


def charts(now: datetime, links: Links) -> list[Chart]:
    """Return the bars of the last hours and of the last days, in the reader's zone."""
    zone = get_current_timezone()
    first_hour = _first_hour(now)
    first_day = localtime(now, zone).date() - timedelta(days=DAYS - 1)
    counted = ledger.counted_by_hour(min(_midnight(first_day, zone), first_hour))
    return [_by_hour(counted, first_hour, zone, links), _by_day(counted, first_day, zone, links)]


def sent_within(kinds: Iterable[Kind], part: float) -> str:
    """Say within which time ``part`` of what was sent was sent; "" where nothing was."""
    counts: Counter[int] = Counter()
    for kind in kinds:
        if kind.outcome == Outcome.SENT:
            counts[kind.bucket] += kind.count
    total, so_far = counts.total(), 0
    for bucket in sorted(counts):
        so_far += counts[bucket]
        if so_far >= part * total:
            return _bound(bucket)
    return ""


def categories(kinds: Iterable[Kind], links: Links) -> list[Figure]:
    """Return what most attempts failed for, and how many each."""
    counts: Counter[str] = Counter()
    for kind in kinds:
        if kind.outcome != Outcome.SENT:
            counts[kind.category] += kind.count
    labels = dict(Category.choices)
    return [
        Figure(
            str(labels.get(name, name)),
            number_format(count),
            links.deliveries(category__exact=name),
        )
        for name, count in counts.most_common(MOST)
    ]


def domains(now: datetime, links: Links) -> list[Figure]:
    """Count the domains of what failed last, and of what waits after a failure."""
    rows = Delivery.objects.using(ledger.database()).order_by("-pk")
    counts: Counter[tuple[str, str]] = Counter()
    since = now - HOURS * _HOUR
    for status in (Delivery.Status.FAILED, Delivery.Status.DEFERRED):
        # By status, which has an index in the order of time; that of categories has it by category.
        latest = rows.filter(status=status).values_list("domain", "settled_at")[:FAILURES]
        for domain, settled_at in latest:
            if domain and (settled_at is None or settled_at >= since):
                counts[domain, status] += 1
    return [
        Figure(
            _("%(domain)s: %(status)s")
            % {"domain": domain, "status": Delivery.Status(status).label},
            number_format(count),
            links.deliveries(status__exact=status, domain=domain),
        )
        for (domain, status), count in counts.most_common(MOST)
    ]


def _first_hour(now: datetime) -> datetime:
    return ledger.hour_of(now, get_current_timezone()) - (HOURS - 1) * _HOUR


def _midnight(day: date, zone: tzinfo) -> datetime:
    return datetime.combine(day, time.min, tzinfo=zone).astimezone(UTC)


def _by_hour(counted: Counted, first: datetime, zone: tzinfo, links: Links) -> Chart:
    """Draw the last hours. A site's own hours fall into those of a reader whose clocks are half an
    hour beside by their beginnings.
    """
    found: defaultdict[datetime, Counter[str]] = defaultdict(Counter)
    for hour, outcome, count in counted:
        if hour >= first:
            found[ledger.hour_of(hour, zone)][outcome] += count
    hours = [first + number * _HOUR for number in range(HOURS)]
    stretches = [
        Stretch(
            date_format(localtime(hour, zone), "TIME_FORMAT"),
            found[hour],
            _lists(localtime(hour, zone).strftime("%Y-%m-%dT%H"), hour, hour + _HOUR, links),
        )
        for hour in hours
    ]
    title = _("The last %(count)s hours, by hour") % {"count": number_format(HOURS)}
    return chart("hours", title, _("Hour from"), stretches, lambda one: _list_of(one, links))


def _by_day(counted: Counted, first: date, zone: tzinfo, links: Links) -> Chart:
    found: defaultdict[date, Counter[str]] = defaultdict(Counter)
    for hour, outcome, count in counted:
        found[localtime(hour, zone).date()][outcome] += count
    days = [first + timedelta(days=number) for number in range(DAYS + 1)]
    begins = [_midnight(day, zone) for day in days]
    stretches = [
        Stretch(
            date_format(day, "MONTH_DAY_FORMAT"),
            found[day],
            _lists(day.isoformat(), begins[number], begins[number + 1], links),
        )
        for number, day in enumerate(days[:DAYS])
    ]
    title = _("The last %(count)s days, by day") % {"count": number_format(DAYS)}
    return chart("days", title, _("Day"), stretches, lambda one: _list_of(one, links))


def _list_of(outcome: str, links: Links) -> str:
    return links.deliveries(status__exact=outcome)


def _lists(when: str, begin: datetime, end: datetime, links: Links) -> dict[str, str]:
    """Return where the numbers of a stretch of time lead: to what was stored in it and has that
    status now; and to what failed in it, which may have been tried for days.
    """
    urls = {one.value: links.deliveries(status__exact=one.value, when=when) for one in Outcome}
    urls[Outcome.FAILED] = links.deliveries(
        status__exact=Delivery.Status.FAILED,
        settled_at__gte=begin.isoformat(),
        settled_at__lt=end.isoformat(),
    )
    return urls


def _bound(bucket: int) -> str:
    if bucket > len(SENT_WITHIN):
        return _("more than %(time)s") % {"time": words.span(SENT_WITHIN[-1])}
    return _("at most %(time)s") % {"time": words.span(SENT_WITHIN[bucket - 1])}
