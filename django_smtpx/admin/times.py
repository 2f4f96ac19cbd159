"""The filter by time: a stretch of time is a range of keys, which every list has an index for.

Django's own ``date_hierarchy`` asks for the first and the last time of all rows
and for their different days, which reads each of them: seconds, with a million.
Keys grow with ``created_at``, as both are given when a message is stored. So the
first key of a stretch is searched for, by some tens of look-ups of one row at
the most. Rows that were stored in the very moment in which a stretch begins may be on either
side of it.
"""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import TYPE_CHECKING, Any

from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx.admin.filters import AskingFilter
from django_smtpx.admin.lists import first_delivery_from
from django_smtpx.models import Message

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from django.contrib import admin
    from django.contrib.admin.filters import _ListFilterChoices
    from django.contrib.admin.views.main import ChangeList
    from django.db.models import QuerySet
    from django.http import HttpRequest
    from django.utils.functional import _StrOrPromise

Span = tuple[datetime, datetime | None]
"""From when until before when; None: until now."""

DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


class WhenFilter(AskingFilter):
    """By when a message was stored: lately, on one day, or within one hour of it.

    ``?when=`` takes ``hour``, ``today``, ``yesterday``, ``week``, a day as
    ``2026-03-04`` and an hour as ``2026-03-04T13``, in the site's time zone.
    """

    title = _("time")
    parameter_name = "when"
    template = "admin/django_smtpx/when_filter.html"

    day = ""
    """The chosen day, as the form has it."""

    def lookups(
        self, request: HttpRequest, model_admin: admin.ModelAdmin[Any]
    ) -> Sequence[tuple[str, _StrOrPromise]]:
        """Return the stretches that end now."""
        return (
            ("hour", _("Last hour")),
            ("today", _("Today")),
            ("yesterday", _("Yesterday")),
            ("week", _("Last 7 days")),
        )

    def choices(self, changelist: ChangeList) -> Iterator[_ListFilterChoices]:
        """Yield what can be chosen; beside a day those before and after it."""
        yield from super().choices(changelist)
        chosen = span(self.value() or "", timezone.now())
        if chosen is None or self.value() in dict(self.lookup_choices):
            return
        day = timezone.localtime(chosen[0]).date()
        self.day = day.isoformat()
        yield from (self._choice(changelist, day + number * DAY, now=chosen) for number in _AROUND)

    def _choice(self, changelist: ChangeList, day: date, *, now: Span) -> _ListFilterChoices:
        value = day.isoformat()
        selected = value == self.day
        text = date_format(day, "DATE_FORMAT")
        if selected and self.value() != value:
            values = {"day": text, "hour": date_format(timezone.localtime(now[0]), "TIME_FORMAT")}
            text = now_in_words("%(day)s, one hour from %(hour)s") % values
            value = str(self.value())
        return {
            "selected": selected,
            "query_string": changelist.get_query_string({self.parameter_name: value}),
            "display": text,
        }

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Return the rows of the chosen stretch; none of one that there is not."""
        if self.value() is None:
            return queryset
        chosen = span(self.value() or "", timezone.now())
        if chosen is None:
            return queryset.none()
        first = first_key(queryset.model, chosen[0])
        if first is None:
            return queryset.none()
        rows = queryset.filter(pk__gte=first)
        after = None if chosen[1] is None else first_key(queryset.model, chosen[1])
        return rows if after is None else rows.filter(pk__lt=after)


_AROUND = (-1, 0, 1)
_YEARS = range(1970, 9999)  # days beyond them have no day before, or none after


def span(value: str, now: datetime) -> Span | None:
    """Return the stretch of time that a value of the filter means; None: it means none."""
    today = timezone.localtime(now).date()
    known: dict[str, Span] = {
        "hour": (now - HOUR, None),
        "today": (_midnight(today), None),
        "yesterday": (_midnight(today - DAY), _midnight(today)),
        "week": (now - 7 * DAY, None),
    }
    if value in known:
        return known[value]
    try:
        if len(value) == len("2026-03-04T13"):
            begin = timezone.make_aware(datetime.strptime(value, "%Y-%m-%dT%H"))  # noqa: DTZ007 (it is made aware)
            chosen = begin, begin + HOUR
        else:
            day = date.fromisoformat(value)
            chosen = _midnight(day), _midnight(day + DAY)
    except (ValueError, OverflowError):
        return None
    return chosen if chosen[0].year in _YEARS else None


def first_since(at: datetime) -> int | None:
    """Return the key of the first message that was stored at ``at`` or later; None: there is none.

    By interpolation, which comes near it in a few steps where mail comes evenly; and by halves
    after each step that brought little, which bounds their number where it does not.
    """
    rows = Message.objects.values_list("pk", "created_at")
    oldest, newest = rows.order_by("pk").first(), rows.order_by("-pk").first()
    if oldest is None or newest is None or newest[1] < at:
        return None
    if oldest[1] >= at:
        return oldest[0]
    low, high, ceiling, halve = oldest, newest, newest[0], False
    # What is sought is high, or lies between low and ceiling.
    while ceiling - low[0] > 1:
        share = 0.5 if halve else (at - low[1]) / max(high[1] - low[1], timedelta.resolution)
        guess = low[0] + round((ceiling - low[0]) * share)
        guess = min(max(guess, low[0] + 1), ceiling - 1)
        size = ceiling - low[0]
        found = rows.filter(pk__gte=guess, pk__lt=ceiling).order_by("pk").first()
        if found is not None and found[1] < at:
            low = found
        else:
            high, ceiling = found or high, guess
        halve = not halve and ceiling - low[0] > size // 2
    return high[0]


def first_key(model: type[Any], at: datetime) -> int | None:
    """Return the key of the first message, or delivery of one, that was stored since then."""
    message = first_since(at)
    if message is None or model is Message:
        return message
    return first_delivery_from(message)


def _midnight(day: date) -> datetime:
    return timezone.make_aware(datetime.combine(day, time.min))
