"""Attempts, counted by the hour beside the deliveries: what is sent costs nothing more for it.

The sweep counts, by ranges of primary keys. A key is taken before its transaction is committed, so
the last key that is seen now is counted through a minute later: what was still being written then
is there. What some transaction of the site's own commits later than that is left out.

What is counted and how far move in one transaction, which begins by moving the mark from where it
was seen: of two that count at once, one has done so for both, and a worker that dies has not.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

from django.db import IntegrityError, transaction
from django.db.models import Max, Sum
from django.utils.timezone import get_default_timezone

from django_smtpx.ledger.rows import atomically, database
from django_smtpx.models import SENT_WITHIN, Attempt, Delivery, Message, Tally, TallyMark
from django_smtpx.providers import provider_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from datetime import tzinfo

Outcome = Attempt.Outcome

EVER = datetime(1970, 1, 1, tzinfo=UTC)
"""The hour of what is older than the retention: of all those hours together."""

BEHIND = timedelta(seconds=60)
"""What was written so long ago has been committed, too."""

LATEST = 1_000
"""Attempts that are looked at for what came of the latest ones."""

_PORTION = 500
"""Attempts in one statement."""

_PORTIONS = 20
"""Portions in one transaction."""

_TRANSACTIONS = 10
"""Transactions in one turn: the next one goes on with what is left."""

_ROWS = 200
"""Rows that are written by one statement."""

_SKEW = timedelta(days=1)
_MARK = 1


class Kind(NamedTuple):
    """What makes attempts alike."""

    hour: datetime
    mailer: str
    outcome: str
    category: str
    provider: str
    bucket: int

    @classmethod
    def of(cls, row: Tally) -> Kind:
        """Return what those have in common that were counted in ``row``."""
        return cls._make(getattr(row, name) for name in cls._fields)


@dataclass(frozen=True, slots=True)
class Lately:
    """What came of attempts in the latest ``span`` of time, by outcome.

    ``cut`` says that there were too many to look at more than that.
    """

    counts: Mapping[str, int]
    span: timedelta
    cut: bool

    def per_second(self, outcome: str) -> float:
        """Return how many of them ended so in a second."""
        return self.counts.get(outcome, 0) / max(self.span.total_seconds(), 0.001)


def tally(at: datetime) -> int:
    """Count attempts that are not counted yet, some ten thousand at most; return how many."""
    using = database()
    mark = TallyMark.objects.using(using).filter(pk=_MARK).first()
    if mark is None:
        _begin(at, using)
        return 0
    if at - BEHIND < mark.next_until < at + _SKEW:
        return 0
    total = 0
    for _ in range(_TRANSACTIONS):
        counts, through = _count(mark.counted_through, mark.next_through, using)
        moved = _moved(mark, through, at, using)
        if not atomically(partial(_book, mark, moved, counts, using), using):
            break
        total += sum(counts.values())
        if through == mark.next_through:
            break
        mark = moved
    return total


def forget_tallies(before: datetime) -> int:
    """Make what was counted of hours before then, some hundreds, a part of what was counted ever,
    and count it: no hour is told from another any more.
    """
    using = database()
    old = Tally.objects.using(using).filter(hour__gt=EVER, hour__lt=before)
    some = list(old.order_by("hour")[:_PORTION])
    return atomically(partial(_fold, some, using), using) if some else 0


# -- for people ------------------------------------------------------------------------------------


def counted_until() -> datetime | None:
    """Return until when attempts are counted; None where none is yet."""
    marks = TallyMark.objects.using(database()).filter(pk=_MARK)
    return marks.values_list("counted_until", flat=True).first()


def counted_by_hour(since: datetime) -> list[tuple[datetime, str, int]]:
    """Return how many attempts of each hour from then on had which outcome."""
    rows = Tally.objects.using(database()).filter(hour__gte=since).order_by()
    return list(rows.values_list("hour", "outcome").annotate(Sum("count")))


def counted_by_kind(since: datetime) -> list[tuple[str, str, str, int, int]]:
    """Return, by mailer, outcome, category and bucket, how many attempts there were since then."""
    rows = Tally.objects.using(database()).filter(hour__gte=since).order_by()
    kinds = rows.values_list("mailer", "outcome", "category", "bucket")
    return list(kinds.annotate(Sum("count")))


def latest_attempts() -> list[tuple[datetime, str]]:
    """Return when the latest attempts ended, and how: at most :data:`LATEST`, the newest first."""
    rows = Attempt.objects.using(database()).order_by("-pk")
    found = rows.values_list("started_at", "duration", "outcome")[:LATEST]
    return [(_ended(began, duration), outcome) for began, duration, outcome in found]


def lately(latest: Iterable[tuple[datetime, str]], span: timedelta, at: datetime) -> Lately:
    """Return what came of those of the ``latest`` attempts that ended in the ``span`` before then.

    Of a busier time than that only as much as they reach back.
    """
    ends = list(latest)
    reach = at - min((ended for ended, _ in ends), default=at - span)
    cut = len(ends) >= LATEST and reach < span
    within = reach if cut else span
    counts = Counter(outcome for ended, outcome in ends if at - within <= ended)
    return Lately(dict(counts), within, cut)


def counted_in_all() -> list[tuple[str, str, str, str, int, int]]:
    """Return how many attempts there ever were, by mailer, outcome, category, provider and bucket.

    No such number ever becomes less: the retention leaves them.
    """
    rows = Tally.objects.using(database()).order_by()
    kinds = rows.values_list("mailer", "outcome", "category", "provider", "bucket")
    return list(kinds.annotate(Sum("count")))


# -- counting --------------------------------------------------------------------------------------


def hour_of(at: datetime, zone: tzinfo) -> datetime:
    """Return when the hour began by the clocks of ``zone``, in UTC."""
    offset = at.astimezone(zone).utcoffset() or timedelta()
    beside = offset % timedelta(hours=1)
    local = at.astimezone(UTC) + beside
    return local.replace(minute=0, second=0, microsecond=0) - beside


def bucket_of(took: timedelta) -> int:
    """Return the bucket of a mail that was on its way for so long."""
    return bisect_left(SENT_WITHIN, took) + 1


def _begin(at: datetime, using: str) -> None:
    mark = TallyMark(pk=_MARK, next_through=_last_key(using), next_until=at)
    try:
        with transaction.atomic(using=using):
            mark.save(using=using, force_insert=True)
    except IntegrityError:
        # Another worker was first.
        return


def _last_key(using: str) -> int:
    found = Attempt.objects.using(using).aggregate(last=Max("pk"))["last"]
    return found or 0


def _moved(mark: TallyMark, through: int, at: datetime, using: str) -> TallyMark:
    """Return the mark when all up to the key ``through`` is counted."""
    if through < mark.next_through:
        return TallyMark(
            pk=mark.pk,
            counted_through=through,
            counted_until=mark.counted_until,
            next_through=mark.next_through,
            next_until=mark.next_until,
        )
    return TallyMark(
        pk=mark.pk,
        counted_through=through,
        counted_until=mark.next_until,
        # The retention may have deleted the last of them.
        next_through=max(through, _last_key(using)),
        next_until=at,
    )


def _book(mark: TallyMark, moved: TallyMark, counts: Counter[Kind], using: str) -> bool:
    """Move the mark, unless somebody else has, and add what was counted on the way."""
    marks = TallyMark.objects.using(using)
    still = marks.filter(
        pk=mark.pk, counted_through=mark.counted_through, next_until=mark.next_until
    )
    values = ("counted_through", "counted_until", "next_through", "next_until")
    if not still.update(**{name: getattr(moved, name) for name in values}):
        return False
    if counts:
        _add(counts, using)
    return True


def _add(counts: Counter[Kind], using: str) -> None:
    hours = {kind.hour for kind in counts}
    rows = Tally.objects.using(using)
    known = {Kind.of(row): row for row in rows.filter(hour__gte=min(hours), hour__lte=max(hours))}
    new, more = [], []
    for kind, count in counts.items():
        row = known.get(kind)
        if row is None:
            new.append(Tally(**kind._asdict(), count=count))
        else:
            row.count += count
            more.append(row)
    rows.bulk_update(more, ["count"], batch_size=_ROWS)
    rows.bulk_create(new, batch_size=_ROWS // 2)


def _fold(old: list[Tally], using: str) -> int:
    """Move these into the row of their kind that no hour has, unless somebody else has."""
    rows = Tally.objects.using(using)
    if rows.filter(pk__in=[row.pk for row in old]).delete()[0] != len(old):
        transaction.set_rollback(True, using=using)
        return 0
    counts: Counter[Kind] = Counter()
    for row in old:
        counts[Kind.of(row)._replace(hour=EVER)] += row.count
    _add(counts, using)
    return len(old)


def _count(after: int, through: int, using: str) -> tuple[Counter[Kind], int]:
    """Count attempts behind one key, up to another; return how far that was."""
    counts: Counter[Kind] = Counter()
    zone = get_default_timezone()
    for _ in range(_PORTIONS):
        rows = Attempt.objects.using(using).filter(pk__gt=after, pk__lte=through).order_by("pk")
        names = ("pk", "delivery_id", "started_at", "duration", "outcome", "category", "host")
        portion = list(rows.values_list(*names)[:_PORTION])
        counts.update(_kinds([tuple(row[1:]) for row in portion], zone, using))
        if len(portion) < _PORTION:
            return counts, through
        after = portion[-1][0]
    return counts, after


def _kinds(
    attempts: list[tuple[int, datetime, float, str, str, str]], zone: tzinfo, using: str
) -> Iterator[Kind]:
    """Yield what kind each attempt is of.

    A mail is on its way from when it was stored, or was to be sent, and so also while it rests
    with its mailer, which its age leaves out.
    """
    # By keys that are read first: PostgreSQL might go through all deliveries to join them.
    keys = {key for key, *_ in attempts}
    deliveries = Delivery.objects.using(using).filter(pk__in=keys)
    found = {key: (its, of) for key, its, of in deliveries.values_list("pk", "mailer", "message")}
    messages = Message.objects.using(using).filter(pk__in={of for _, of in found.values()})
    begins = {
        key: max(created_at, send_at or created_at)
        for key, created_at, send_at in messages.values_list("pk", "created_at", "send_at")
    }
    for key, started_at, duration, outcome, category, host in attempts:
        mailer, message = found.get(key, ("", 0))
        if message not in begins:
            # The retention was faster.
            continue
        ended = _ended(started_at, duration)
        sent = outcome == Outcome.SENT
        bucket = bucket_of(ended - begins[message]) if sent else 0
        hour = hour_of(ended, zone)
        yield Kind(hour, mailer, outcome, category, provider_of(host), bucket)


def _ended(started_at: datetime, duration: float) -> datetime:
    return started_at + timedelta(seconds=duration)
