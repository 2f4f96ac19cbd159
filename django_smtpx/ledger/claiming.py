"""Rows under a lease: claimed, marked, renewed, given back."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django.db import connections
from django.db.models import Case, Q, QuerySet, Value, When

from django_smtpx.ledger.clock import Lease, Reading, database_now
from django_smtpx.ledger.lanes import ready_in, ready_lane
from django_smtpx.ledger.rows import ROW_FIELDS, Row, atomically, database, patiently, update_some
from django_smtpx.ledger.sql import Piece, Update
from django_smtpx.ledger.statements import take_at_once, takes_all_at_once, update_rows
from django_smtpx.models import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

Status = Delivery.Status
Lane = Delivery.Lane

_KEYS = 500
_MAILER, _DESTINATION, _AT = "\0mailer", "\0destination", datetime(1, 1, 2, tzinfo=UTC)
"""Stand for what is put in their places; no row has them."""

WAITING = (Status.QUEUED, Status.DEFERRED)


def now() -> datetime:
    """Return the time by the outbox's database: the one clock that leases and due times go by."""
    return database_now(database())


def reading() -> Reading:
    """Read that clock once, for all that one drain asks the time for."""
    return Reading.take(database())


def claim(
    mailer: str,
    limit: int,
    lease_seconds: float,
    *,
    lane: Lane = Lane.READY,
    destination: str = "",
    by: Reading | None = None,
) -> tuple[Lease, list[Row]]:
    """Lease up to ``limit`` ready deliveries of ``mailer``, most urgent first, message by message.

    Of those that go straight to ``destination``, where the mailer sends to
    domains rather than to a host. One short transaction that begins with its
    write; nobody else can claim them until the lease, ``lease_seconds`` long,
    has run out. ``by`` is a fresh reading of the database's clock, if the caller has one.
    """
    using = database()
    lease = Lease.begin(lease_seconds, using, by)
    taken = {
        "lane": Lane.OUT,
        "status": Status.SENDING,
        "lease_token": lease.token,
        "lease_expires_at": lease.renewed_until(),
        "marked": False,
    }

    def take() -> int:
        ready = _ready(mailer, destination, lane, lease.read_at, using)
        if connections[using].features.has_select_for_update_skip_locked:
            free = ready.select_for_update(skip_locked=True, of=_of_self(using))
            chosen = list(free.values_list("pk", flat=True)[:limit])
            return Delivery.objects.using(using).filter(pk__in=chosen).update(**taken)
        return update_some(ready, limit, **taken)

    if takes_all_at_once(using):
        ready = _ready_in_words(
            lane, limit, using, mailer=mailer, destination=destination, at=lease.read_at
        )
        return lease, patiently(lambda: _take_at_once(ready, taken, using), using)
    if not atomically(take, using):
        return lease, []
    return lease, rows_of(lease)


def _take_at_once(ready: Piece, taken: Mapping[str, Any], using: str) -> list[Row]:
    """Take ``ready`` and read what was taken, in the order of :func:`rows_of`, in one go."""
    found = take_at_once(Delivery, ready, taken, ("priority", *ROW_FIELDS), using)
    rows = [(-priority, Row._make(values)) for priority, *values in found]
    rows.sort(key=lambda entry: (entry[0], entry[1].message, entry[1].pk))
    return [row for _, row in rows]


def rows_of(lease: Lease) -> list[Row]:
    """Return the rows that are claimed under ``lease``, most urgent first, message by message."""
    held = _held(lease).order_by("-priority", "message_id", "pk")
    return [Row._make(values) for values in held.values_list(*ROW_FIELDS)]


def from_headers(rows: Iterable[Row]) -> dict[int, str]:
    """Return the From header of each message that ``rows`` belong to, by its primary key."""
    keys = {row.message for row in rows}
    found = Message.objects.using(database()).filter(pk__in=keys)
    return dict(found.values_list("pk", "from_header"))


def senders_of(messages: Sequence[int]) -> set[tuple[str, str, str]]:
    """Return mailer, reverse path and From header of each sender of ``messages``."""
    found: set[tuple[str, str, str]] = set()
    for first in range(0, len(messages), _KEYS):
        keys = messages[first : first + _KEYS]
        rows = Message.objects.using(database()).filter(pk__in=keys)
        found.update(rows.values_list("mailer", "envelope_sender", "from_header").distinct())
    return found


def mark(lease: Lease, rows: Sequence[Row], meanwhile: Callable[[], None] | None = None) -> bool:
    """Write down that the content of ``rows`` may leave next, and renew a lease that runs low.

    Only when this returns True may it leave: if the worker dies after that,
    the outcome counts as unknown. False means that the lease was lost.
    """
    if lease.runs_low() and not renew(lease):
        return False
    using = database()
    return patiently(lambda: mark_rows(lease, rows, using, meanwhile), using) and lease.valid()


def mark_rows(
    lease: Lease,
    rows: Sequence[Row],
    using: str,
    meanwhile: Callable[[], None] | None = None,
) -> bool:
    """Mark ``rows``; False where not all of them are claimed under ``lease`` any more."""
    return update_rows(marking(lease, rows), using, meanwhile) == len(rows)


def marking(lease: Lease, rows: Sequence[Row]) -> Update:
    """Return what marks ``rows``."""
    return Update(
        model=Delivery,
        keys=[row.pk for row in rows],
        only={"lease_token": lease.token, "status": Status.SENDING},
        values={"marked": True},
    )


def renew(lease: Lease) -> bool:
    """Move the end of the lease on for all that is still claimed under it; False if nothing is."""
    asked_at = lease.clock()
    until = lease.renewed_until()
    if not patiently(lambda: _held(lease).update(lease_expires_at=until), database()):
        return False
    lease.renew(asked_at)
    return True


def release(lease: Lease, rows: Sequence[Row]) -> int:
    """Give back rows whose content has not left, as if never claimed, and count them."""
    return give_back(lease, rows, lane=ready_lane())


def give_back(lease: Lease, rows: Sequence[Row], **values: Any) -> int:
    """End the claim on rows whose content has not left; ``values``, with the lane, are written."""
    held = _held(lease).filter(pk__in=[row.pk for row in rows])
    back = Case(When(attempt_count=0, then=Value(Status.QUEUED)), default=Value(Status.DEFERRED))
    return patiently(
        lambda: held.update(
            status=back, lease_token=None, lease_expires_at=None, marked=False, **values
        ),
        database(),
    )


def abandon(lease: Lease, rows: Sequence[Row], *, in_doubt: bool) -> None:
    """Let the lease on rows whose sending raised end now.

    The sweep counts it as lost, as if the worker had died of them: a message
    that stops every worker does not hold up its neighbours for ever.
    ``in_doubt`` says that their content may have left.
    """
    held = _held(lease).filter(pk__in=[row.pk for row in rows])
    at = lease.now()
    patiently(lambda: held.update(lease_expires_at=at, marked=in_doubt), database())


def _ready(
    mailer: str, destination: str, lane: Lane, at: datetime, using: str
) -> QuerySet[Delivery]:
    unexpired = Q(expires_at=None) | Q(expires_at__gt=at)
    rows = Delivery.objects.using(using).filter(unexpired, ready_in(lane))
    return rows.filter(mailer=mailer, destination=destination).order_by("-priority", "pk")


def _ready_in_words(lane: Lane, limit: int, using: str, **given: Any) -> Piece:
    """Return the SELECT of the first of :func:`_ready`, which is put into words once."""
    sql, parameters = _words_of_ready(lane, limit, using)
    places = {_MAILER: given["mailer"], _DESTINATION: given["destination"], _AT: given["at"]}
    return Piece(sql, [places.get(one, one) for one in parameters])


@lru_cache(maxsize=512)
def _words_of_ready(lane: Lane, limit: int, using: str) -> tuple[str, tuple[Any, ...]]:
    ready = _ready(_MAILER, _DESTINATION, lane, _AT, using)[:limit]
    sql, parameters = ready.values_list("pk").query.get_compiler(using).as_sql()
    return sql, tuple(parameters)


def _held(lease: Lease) -> QuerySet[Delivery]:
    held = Delivery.objects.using(database())
    return held.filter(lease_token=lease.token, status=Status.SENDING)


def _of_self(using: str) -> tuple[str, ...]:
    return ("self",) if connections[using].features.has_select_for_update_of else ()
