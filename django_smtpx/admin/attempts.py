"""The timeline: deliveries with their attempts, as the templates show them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from django.db.models import Case, Count, IntegerField, Prefetch, Value, When

from django_smtpx.admin import words
from django_smtpx.models import Attempt, Delivery

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime

MOST_DELIVERIES = 100
"""Deliveries on a message's page; those that were not sent come first."""

MOST_WITH_TRANSCRIPTS = 20
"""Up to so many deliveries the transcripts are on the message's page; else on the deliveries'."""


@dataclass(frozen=True, slots=True)
class Try:
    """One attempt in words."""

    row: Attempt
    codes: str
    address: str
    encryption: str
    transcript: str


@dataclass(frozen=True, slots=True)
class Story:
    """One delivery in words, and its attempts in order."""

    row: Delivery
    next_attempt: str
    untried: str
    tries: tuple[Try, ...]


def stories(message: int, counted: int, now: datetime) -> list[Story]:
    """Return the deliveries of a message that has ``counted`` of them, in two statements."""
    with_transcripts = counted <= MOST_WITH_TRANSCRIPTS
    attempts = Attempt.objects.order_by("number")
    if not with_transcripts:
        attempts = attempts.defer("transcript")
    unsettled_first = Case(
        When(status=Delivery.Status.SENT, then=Value(1)),
        default=Value(0),
        output_field=IntegerField(),
    )
    rows = Delivery.objects.filter(message=message).order_by(unsettled_first, "pk")
    shown = rows.prefetch_related(Prefetch("attempts", queryset=attempts))[:MOST_DELIVERIES]
    return [
        _story(row, row.attempts.all(), now, with_transcripts=with_transcripts) for row in shown
    ]


def story(delivery: Delivery, now: datetime) -> Story:
    """Return one delivery with all there is about it, in one statement."""
    return _story(delivery, delivery.attempts.order_by("number"), now, with_transcripts=True)


def status_counts(messages: Iterable[int]) -> dict[int, dict[str, int]]:
    """Return, by message, how many of its deliveries have each status, in one statement."""
    found = Delivery.objects.filter(message__in=list(messages)).order_by()
    rows = found.values_list("message", "status").annotate(count=Count("pk"))
    counts: dict[int, dict[str, int]] = {}
    for message, status, count in rows:
        counts.setdefault(message, {})[status] = count
    return counts


def _story(
    row: Delivery, attempts: Iterable[Attempt], now: datetime, *, with_transcripts: bool
) -> Story:
    tries = tuple(
        Try(
            row=attempt,
            codes=words.codes(attempt.code, attempt.enhanced_code),
            address=words.address(attempt),
            encryption=words.encryption(attempt),
            transcript=attempt.transcript if with_transcripts else "",
        )
        for attempt in attempts
    )
    return Story(row, words.next_attempt(row, now), words.untried(row), tries)
