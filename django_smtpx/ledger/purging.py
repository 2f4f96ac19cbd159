"""Retention: contents first, later the rows, in bounded batches of messages that have ended.

Messages come by primary key, which is the order that they were stored in, near enough: a batch of
which each was stored after the time in question is the last one. So each batch begins behind the
one before it, and what has gone already costs nothing, vacuumed or not. Whatever is locked at this
moment is left for the next time.
"""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections, transaction
from django.db.models import Exists, F, Model, OuterRef, Q, QuerySet, signals
from django.db.models.deletion import get_candidate_relations_to_delete

from django_smtpx.ledger.keeping import Place, remove_files
from django_smtpx.ledger.policies import forget_policies
from django_smtpx.ledger.rows import atomically, database, patiently
from django_smtpx.ledger.suppressing import forget_expired
from django_smtpx.ledger.tallies import forget_tallies
from django_smtpx.ledger.tls_results import forget_tls_results
from django_smtpx.ledger.webhooks import forget_events
from django_smtpx.models import Attempt, Content, ContentPart, Delivery, Message, Suppression, Turn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from datetime import datetime

_BATCH = 500
"""Messages in one transaction."""

_MOST_BYTES = 64 * 1024 * 1024
"""Bytes of content in one transaction, unless a single one is larger."""

_MOST_RECIPIENTS = 2000
"""Deliveries in one transaction, unless a single message has more."""

_KEYS = 500
"""Keys in one statement."""


class Purged(NamedTuple):
    """How many contents and messages went, and whether that was all that is due."""

    contents: int
    messages: int
    finished: bool


def give_turn_back(name: str, every: float, at: datetime) -> None:
    """Let whoever asks next have the turn of a periodic job, which has not come to its end."""
    using = database()
    turns = Turn.objects.using(using).filter(name=name)
    patiently(lambda: turns.update(taken_at=at - timedelta(seconds=every)), using)


class _Ended(NamedTuple):
    """A message that may go."""

    key: int
    weight: int


def purge(
    at: datetime,
    content_age: timedelta,
    log_age: timedelta,
    over: Callable[[], bool] = lambda: False,
) -> Purged:
    """Delete content, and later the rows, of messages that were wholly settled so long ago.

    What expired on the suppression list, policies that did, and what was counted of attempts and
    for reports go with the log; events that webhooks were told of go with the contents. It ends
    when ``over`` says so, between two batches, and leaves the rest.
    """
    using = database()
    no_content, no_log = at - min(content_age, log_age), at - log_age
    contents = messages = 0
    for keys in _batches(Content, "size", no_content, _MOST_BYTES, using):
        if over():
            return Purged(contents, messages, finished=False)
        contents += atomically(partial(_delete_contents, keys, no_content, using), using)
    for keys in _batches(Message, "recipient_count", no_log, _MOST_RECIPIENTS, using):
        if over():
            return Purged(contents, messages, finished=False)
        messages += atomically(partial(_delete_messages, keys, no_log, using), using)
    for forget in (forget_expired, forget_policies, forget_tls_results, forget_tallies):
        while forget(no_log):
            if over():
                return Purged(contents, messages, finished=False)
    finished = forget_events(no_content, no_log, over)
    return Purged(contents, messages, finished=finished)


def _batches(
    model: type[Content | Message], weight: str, before: datetime, most: int, using: str
) -> Iterator[list[int]]:
    """Yield keys of messages that were settled before then and have a row of ``model``, in batches
    whose ``weight`` in all is at most ``most``, unless a single one weighs more.

    The keys are read first: PostgreSQL may join by reading messages from the first one on, and
    would do so for every batch.
    """
    last = 0
    while True:
        ahead = model._default_manager.using(using).filter(pk__gt=last).order_by("pk")
        keys = list(ahead.values_list("pk", flat=True)[:_BATCH])
        rows = Message.objects.using(using).filter(pk__in=keys).order_by("pk")
        batch = list(rows.values_list("pk", "settled_at", "created_at", weight))
        settled = {key: at for key, at, _, _ in batch if at is not None}
        late = [key for key, at in settled.items() if at > before]
        gone = settled.keys() - set(_late(late, before, using))
        yield from _portions([_Ended(key, size) for key, _, _, size in batch if key in gone], most)
        young = all(created_at > before for _, _, created_at, _ in batch)
        if len(keys) < _BATCH or (batch and young):
            return
        last = keys[-1]


def _late(keys: Sequence[int], before: datetime, using: str) -> list[int]:
    """Return which of these messages have a delivery that was settled later than that.

    Their own note of it says so; but it is the deliveries that count, whoever has changed those.
    """
    rows = _deliveries_after(before, using).filter(message__in=keys) if keys else None
    return [] if rows is None else list(rows.values_list("message_id", flat=True))


def _deliveries_after(before: datetime, using: str) -> QuerySet[Delivery]:
    rows = Delivery.objects.using(using)
    return rows.filter(Q(settled_at=None) | Q(settled_at__gt=before))


def _portions(ended: Sequence[_Ended], most: int) -> Iterator[list[int]]:
    some: list[int] = []
    weight = 0
    for one in ended:
        weight += one.weight
        if some and weight > most:
            yield some
            some, weight = [], one.weight
        some.append(one.key)
    if some:
        yield some


def _delete_contents(keys: Sequence[int], before: datetime, using: str) -> int:
    return _drop_contents(_still(keys, before, using), using)


def _delete_messages(keys: Sequence[int], before: datetime, using: str) -> int:
    gone = _still(keys, before, using)
    if not gone:
        return 0
    deliveries = list(
        Delivery.objects.using(using).filter(message__in=gone).values_list("pk", flat=True)
    )
    for first in range(0, len(deliveries), _KEYS):
        some = deliveries[first : first + _KEYS]
        # Who is on the suppression list stays there without the evidence.
        evidence = Suppression.objects.using(using).filter(attempt__delivery__in=some)
        evidence.update(attempt=None)
        _delete(Attempt.objects.using(using).filter(delivery__in=some))
        _delete(Delivery.objects.using(using).filter(pk__in=some))
    _drop_contents(gone, using)
    _delete(Message.objects.using(using).filter(pk__in=gone))
    return len(gone)


def _drop_contents(keys: Sequence[int], using: str) -> int:
    """Delete contents wherever they are; files only once no row names them any more."""
    rows = Content.objects.using(using).filter(pk__in=keys)
    found = list(rows.values_list("pk", "large_size", "storage", "name")) if keys else []
    if not found:
        return 0
    in_parts = [key for key, size, _, name in found if size and not name]
    if in_parts:
        _delete(ContentPart.objects.using(using).filter(content__in=in_parts))
    files = [Place(storage, name) for _, _, storage, name in found if name]
    if files:
        transaction.on_commit(partial(remove_files, files), using=using, robust=True)
    return _delete(rows)


def _still(keys: Sequence[int], before: datetime, using: str) -> list[int]:
    """Return which messages are settled still: one that a person sends again meanwhile stays.

    They are locked, or written to, first, so that whoever comes after that waits, and finds them
    gone. What somebody else has locked is not waited for.
    """
    late = _deliveries_after(before, using).filter(message=OuterRef("pk"))
    # Never without a note: who sends again clears that first, and is seen by it.
    noted = Q(settled_at__lte=before) | (Q(settled_at__isnull=False) & ~Exists(late))
    settled = Message.objects.using(using).filter(noted, pk__in=keys)
    features = connections[using].features
    if features.has_select_for_update:
        skip = features.has_select_for_update_skip_locked
        settled = settled.order_by("pk").select_for_update(skip_locked=skip)
    else:
        settled.update(settled_at=F("settled_at"))
    return list(settled.values_list("pk", flat=True))


def _delete(rows: QuerySet[Any]) -> int:
    """Delete rows that none of ours points to any more, in one statement where nobody else cares.

    Django would read each of them first, for signals and for rows of the site that point to them.
    """
    model = rows.model
    if _is_of_interest(model):
        return rows.delete()[1].get(model._meta.label, 0)
    return rows._raw_delete(rows.db)


def _is_of_interest(model: type[Model]) -> bool:
    if signals.pre_delete.has_listeners(model) or signals.post_delete.has_listeners(model):
        return True
    own = model._meta.app_config
    relations: Any = get_candidate_relations_to_delete(model._meta)
    return any(relation.field.model._meta.app_config != own for relation in relations)
