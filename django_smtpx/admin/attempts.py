"""The timeline: deliveries with their attempts, as the templates show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.core.exceptions import ImproperlyConfigured
from django.db.models import Case, Count, F, IntegerField, Prefetch, Q, Value, When

from django_smtpx.admin import reasons, references, words
from django_smtpx.config import rules
from django_smtpx.language import recorded
from django_smtpx.models import Attempt, Delivery, Route

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.admin.references import Reference
    from django_smtpx.models import Message
    from django_smtpx.smtp import Rule

MOST_DELIVERIES = 100
"""Deliveries on a message's page; those that were not sent come first."""

MOST_WITH_TRANSCRIPTS = 20
"""Up to so many deliveries the transcripts are on the message's page; else on the deliveries'."""

MOST_ATTEMPTS = 50
"""Attempts on a delivery's page; those before are a link away."""

MOST_ATTEMPTS_EACH = 10
"""Attempts of each delivery on a message's page, the latest ones."""

_REPLY_SHOWN = 500
"""Characters of a reply that are seen at once."""

_MOST_ROUTES = 20


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt in words, with where its codes and its rule are documented.

    ``tried_again`` is how long after it the next one began.
    """

    row: Attempt
    address: str
    encryption: str
    transcript: str
    reply: str
    rest_of_reply: str
    code: Reference | None
    enhanced_code: Reference | None
    rule: Reference | None
    tried_again: str


@dataclass(frozen=True, slots=True)
class Story:
    """One delivery in words, and its attempts in order.

    ``earlier`` is how many attempts before those are not shown, ``later`` how
    many behind them. ``closed`` is what it rests with.
    """

    row: Delivery
    next_attempt: str
    why: str
    untried: str
    tries: tuple[Try, ...]
    closed: tuple[Route, ...] = ()

    @property
    def earlier(self) -> int:
        """How many attempts before those are not shown."""
        return self.tries[0].row.number - 1 if self.tries else 0

    @property
    def later(self) -> int:
        """How many attempts behind those are not shown."""
        return max(self.row.attempt_count - self.tries[-1].row.number, 0) if self.tries else 0


def stories(message: Message, counted: int, now: datetime) -> list[Story]:
    """Return the deliveries of a message that has ``counted`` of them, in two statements, one
    more where any of them rests, and one where what is ready has a rate.
    """
    with_transcripts = counted <= MOST_WITH_TRANSCRIPTS
    # The latest of each, by a column of its delivery: no window over all of them.
    latest = Attempt.objects.filter(delivery__attempt_count__lt=F("number") + MOST_ATTEMPTS_EACH)
    attempts = latest.order_by("number")
    if not with_transcripts:
        attempts = attempts.defer("transcript")
    unsettled_first = Case(
        When(status=Delivery.Status.SENT, then=Value(1)),
        default=Value(0),
        output_field=IntegerField(),
    )
    rows = Delivery.objects.filter(message=message).order_by(unsettled_first, "pk")
    with_attempts = rows.prefetch_related(Prefetch("attempts", queryset=attempts))
    shown = list(with_attempts[:MOST_DELIVERIES])
    closed = _closed(message, shown)
    used_up = words.rates_used_up(shown, now)
    return [
        _story(
            row,
            message,
            row.attempts.all(),
            now,
            with_transcripts=with_transcripts,
            closed=closed,
            used_up=used_up,
        )
        for row in shown
    ]


def story(delivery: Delivery, now: datetime, *, up_to: int | None = None) -> Story:
    """Return one delivery with the latest there is about it, in one statement, and one more where
    it rests, or is ready and has a rate; or with what is up to that number of attempt.
    """
    message = delivery.message
    attempts = delivery.attempts.order_by("-number")
    shown = attempts if up_to is None else attempts.filter(number__lte=up_to)
    return _story(
        delivery,
        message,
        shown[:MOST_ATTEMPTS],
        now,
        with_transcripts=True,
        closed=_closed(message, [delivery]),
        used_up=words.rates_used_up([delivery], now),
    )


def status_counts(messages: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return, by message, how many of its deliveries have each status, in one statement."""
    found = Delivery.objects.filter(message__in=list(messages)).order_by()
    rows = found.values_list("message", "status").annotate(count=Count("pk"))
    counts: dict[int, dict[str, int]] = {}
    for message, status, count in rows:
        counts.setdefault(message, {})[status] = count
    return counts


def _story(
    row: Delivery,
    message: Message,
    attempts: Iterable[Attempt],
    now: datetime,
    *,
    with_transcripts: bool,
    closed: Sequence[Route],
    used_up: Mapping[str, datetime],
) -> Story:
    ordered = sorted(attempts, key=lambda attempt: attempt.number)
    latest = ordered[-1] if ordered else None
    complete = latest is None or latest.number >= row.attempt_count
    own = _own_rules()
    return Story(
        row=row,
        next_attempt=words.next_attempt(row, now, used_up),
        # Of the latest attempt alone it is known what it led to.
        why=reasons.why(row, message, latest, now) if complete else "",
        untried=words.untried(row),
        tries=tuple(
            _try(attempt, following, own, with_transcript=with_transcripts)
            for attempt, following in zip(ordered, (*ordered[1:], None), strict=False)
        ),
        closed=tuple(route for route in closed if _is_behind(row, route)),
    )


def _try(
    attempt: Attempt, following: Attempt | None, own: Sequence[Rule], *, with_transcript: bool
) -> Try:
    again = ""
    if following is not None:
        waited = (following.started_at - attempt.started_at).total_seconds()
        again = words.duration(max(waited, 0.0))
    # With a code it is the server's.
    reply = attempt.reply if attempt.code else recorded(attempt.reply)
    return Try(
        row=attempt,
        address=words.address(attempt),
        encryption=words.encryption(attempt),
        transcript=attempt.transcript if with_transcript else "",
        reply=reply[:_REPLY_SHOWN],
        rest_of_reply=reply[_REPLY_SHOWN:],
        code=references.for_code(attempt.code),
        enhanced_code=references.for_enhanced_code(attempt.enhanced_code),
        rule=references.for_rule(attempt.rule, own) if attempt.rule else None,
        tried_again=again,
    )


def _closed(message: Message, rows: Sequence[Delivery]) -> list[Route]:
    """Return what deliveries of a message may rest with, if any of them does."""
    resting = [row for row in rows if row.parked_at is not None]
    if not resting:
        return []
    routes = Route.objects.filter(mailer=message.mailer, host="").exclude(state=Route.State.OPEN)
    senders = (message.envelope_sender, message.from_header)
    found = routes.filter(Q(domain="") | Q(domain__in={_destination(row) for row in resting}))
    return [
        route
        for route in found.order_by("domain", "sender")[:_MOST_ROUTES]
        if not route.sender or any(_address(route.sender) in sender for sender in senders)
    ]


def _is_behind(row: Delivery, route: Route) -> bool:
    return row.parked_at is not None and route.domain in ("", _destination(row))


def _destination(row: Delivery) -> str:
    return row.destination or row.domain


def _address(sender: str) -> str:
    """Return the address of a route's sender: ``MAIL FROM <a@example.com>``."""
    return sender.rpartition(" ")[2].strip("<>")


def _own_rules() -> Sequence[Rule]:
    try:
        return rules()
    except ImproperlyConfigured:
        return ()
