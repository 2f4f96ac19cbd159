"""Workers that are killed at random instants, until all is drained.

``DJANGO_SMTPX_KILLS`` is how many kills there are, a hundred messages to each (default: 10).
"""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Self

import pytest

from tests.integration.accounts import settled

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site, Worker

KILLS = int(os.environ.get("DJANGO_SMTPX_KILLS", "10"))
MESSAGES = 100 * KILLS

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300 + 10 * KILLS)]

# A message takes twice this at the server, so that kills fall between its file and its 250 too,
# and there is mail to the last of them.
DELAY = 0.01
AT_STAKE = 20
"""Messages that one process may have sent without having written what became of them."""


class Pair:
    """Two workers, of two processes each; what is killed is replaced.

    ``whole``: never a single process of a pool.
    """

    def __init__(self, site: Site, rand: random.Random, *, whole: bool) -> None:
        self._site = site
        self._rand = rand
        self._whole = whole
        self._running: list[tuple[AbstractContextManager[Worker], Worker]] = []

    def __enter__(self) -> Self:
        for _ in range(2):
            self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        with ExitStack() as stack:
            for context, _worker in self._running:
                stack.push(context)

    def _begin(self) -> None:
        context = self._site.worker("prefork", 2)
        self._running.append((context, context.__enter__()))

    def kill(self) -> int:
        """Kill one process of a pool, as the kernel does when memory is short, or all of a worker.

        Return how many processes that had mail in their hands may have died.
        """
        context, worker = self._running[0]
        children = [] if self._whole else worker.children()
        if children and self._rand.random() < 0.5:
            self._running.reverse()
            with suppress(ProcessLookupError):
                os.kill(self._rand.choice(children), signal.SIGKILL)
            return 1
        worker.kill()
        del self._running[0]
        context.__exit__(None, None, None)
        self._begin()
        return 2


@pytest.mark.parametrize(
    ("database", "broker", "on_unknown"),
    [
        ("sqlite", "filesystem", "retry"),
        ("postgres", "redis", "hold"),
        *([("postgres", "redis", "retry")] if KILLS > 10 else []),
    ],
)
def test_nothing_is_lost_when_workers_are_killed(
    make_site: Callable[..., Site],
    make_sink: Callable[..., Sink],
    database: str,
    broker: str,
    on_unknown: str,
) -> None:
    """All arrives; what arrives twice has an attempt of unknown outcome, and with "hold" nothing does."""
    sink = make_sink(DELAY)
    site = make_site(
        database,
        broker,
        {
            **sink.options(),
            "retry": {"schedule": [1], "max_age": 3600},
            "on_unknown": on_unknown,
        },
        SMTPX_LEASE=6,
        SMTPX_SWEEP_INTERVAL=1,
    )
    assert site.call("send_many", count=MESSAGES) == {"messages": MESSAGES}
    rand = random.Random(random.random())  # pytest-randomly prints the seed behind it
    died = 0
    # Where a folder is the broker, the processes of Celery's pool share one queue with one lock: what
    # dies with the lock in its hand leaves the others waiting for it, until the worker is restarted.
    with Pair(site, rand, whole=broker == "filesystem") as pair:
        for _ in range(KILLS):
            time.sleep(rand.uniform(0.0, 1.5))
            died += pair.kill()
        left = site.call("statuses")
        site.call("wait_settled", seconds=120 + KILLS)
    account = settled(site, sink, stored=MESSAGES)
    print(f"{KILLS} kills of {died} processes at most, and {left} then. {account}.")

    assert account.twice <= (died * AT_STAKE if on_unknown == "retry" else 0)
    assert account.doubtful <= died * AT_STAKE
    # A row that lost its lease three times ends with its reason, and there can be only a few.
    ended_otherwise = MESSAGES - account.statuses["sent"]
    assert ended_otherwise <= (KILLS if on_unknown == "retry" else died * AT_STAKE + KILLS)
