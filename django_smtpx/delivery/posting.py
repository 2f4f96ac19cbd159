"""One drain of a webhook: claim, post, decide, book.

Beside the way of the mail: with a task of its own, and with a few connections at most, so that an
endpoint that is slow keeps no mail waiting, and no other endpoint.
"""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

from django.views.decorators.debug import sensitive_variables

from django_smtpx import ledger
from django_smtpx.config import lease as lease_seconds
from django_smtpx.config import webhooks
from django_smtpx.delivery.stopping import never
from django_smtpx.ledger import Posted
from django_smtpx.webhooks import Poster, decide, headers

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_smtpx.ledger import Event, Lease, Standing
    from django_smtpx.webhooks import Endpoint

NO_NEW_WORK_AFTER = 10.0
"""Seconds after which a drain leaves the rest to its successor: behind mail that waits as well."""

MOST_EVENTS = 20
"""Events that are claimed at once; more are never posted and not booked yet."""

BOOK_AFTER = 1.0
"""Seconds after which what was posted is booked, though there is more to post."""

_TIMEOUTS_IN_A_LEASE = 3


def post_events(
    name: str,
    *,
    wake: Callable[[], None] = lambda: None,
    linger: float = 0.0,
    stopping: Callable[[], bool] = never,
) -> int:
    """Post what is due to the endpoint ``name``, and return how many events were taken.

    ``wake`` is called when one more drain should run, ``stopping`` is asked whether to end before
    the time; ``linger`` is as for :func:`~django_smtpx.delivery.drain`.
    """
    endpoint = webhooks().get(name)
    return 0 if endpoint is None else Posting(endpoint, wake, linger, stopping).run()


def due_webhooks() -> list[str]:
    """Return the names of the endpoints that have events to be told now."""
    names = webhooks()
    return ledger.due_endpoints(names, ledger.now()) if names else []


class Posting:
    """One run over the events of one endpoint, over one connection."""

    def __init__(
        self,
        endpoint: Endpoint,
        wake: Callable[[], None] = lambda: None,
        linger: float = 0.0,
        stopping: Callable[[], bool] = never,
        *,
        clock: Callable[[], float] = time.monotonic,
        rand: Callable[[], float] = random.random,
    ) -> None:
        self._endpoint = endpoint
        self._wake = wake
        self._linger = linger
        self._stopping = stopping
        self._clock = clock
        self._rand = rand
        self._began = clock()
        self._taken = 0

    # An error report of Django's has what variables hold: secrets that sign.
    @sensitive_variables()
    def run(self) -> int:
        """Post until nothing is due, the endpoint rests, the time is up or the worker stops."""
        if self._stopping():
            self._wake()
            return 0
        name, at = self._endpoint.name, ledger.now()
        standing = ledger.standing(name)
        # Who finds out whether it is back is one.
        most = 1 if standing.failures else self._endpoint.max_connections
        if not standing.is_open(at) or ledger.posting_now(name, at) >= most:
            return 0
        poster = Poster(self._endpoint)
        try:
            self._batches(poster, standing)
        finally:
            poster.close()
        return self._taken

    def _batches(self, poster: Poster, standing: Standing) -> None:
        name = self._endpoint.name
        seconds = max(lease_seconds(), _TIMEOUTS_IN_A_LEASE * self._endpoint.timeout)
        alone = self._endpoint.max_connections == 1
        while not self._is_over():
            limit = 1 if standing.failures else MOST_EVENTS
            lease, events = ledger.claim_events(name, limit, seconds)
            if not events:
                if not self._linger:
                    return
                # What was committed while hints were coalesced is found.
                time.sleep(self._linger)
                self._linger = 0.0
                continue
            if len(events) == MOST_EVENTS and not alone:
                self._wake()
                alone = True
            self._post_all(poster, lease, events, standing)
            standing = ledger.standing(name)
            if not standing.is_open(lease.now()):
                return
        self._wake()

    def _post_all(
        self, poster: Poster, lease: Lease, events: Sequence[Event], standing: Standing
    ) -> None:
        """Post events one after the other, book what came of them, and give back the rest."""
        left = len(events)
        posted: list[Posted] = []
        began = self._clock()
        try:
            for event in events:
                if self._is_over() or not lease.valid():
                    break
                posted.append(self._post(poster, lease, event))
                left -= 1
                if posted[-1].fate.done and self._clock() - began < BOOK_AFTER:
                    continue
                booked, posted, began = posted, [], self._clock()
                standing = self._book(lease, booked, standing)
                if not standing.is_open(lease.now()):
                    break
        finally:
            self._book(lease, posted, standing)
            if left:
                ledger.release_events(self._endpoint.name, lease)

    def _post(self, poster: Poster, lease: Lease, event: Event) -> Posted:
        began = lease.now()
        body = event.body.encode()
        signed = headers(self._endpoint.secrets, str(event.uuid), int(began.timestamp()), body)
        answer = poster.post(body, signed)
        at = lease.now()
        age = (at - (event.first_tried_at or at)).total_seconds()
        return Posted(event, answer, decide(answer, event.attempts, age, self._rand()), at)

    def _book(self, lease: Lease, posted: Sequence[Posted], standing: Standing) -> Standing:
        self._taken += sum(one.fate.done for one in posted)
        return ledger.book_posts(self._endpoint, lease, posted, standing)

    def _is_over(self) -> bool:
        return self._stopping() or self._clock() - self._began > NO_NEW_WORK_AFTER
