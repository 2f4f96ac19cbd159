"""Workers that are killed at random instants, until all is drained."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site, Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MESSAGES = 2000
KILLS = 10
# A message takes twice this at the server, so that kills fall between its file and its 250 too.
DELAY = 0.004


def _kill(worker: Worker, rand: random.Random) -> None:
    """Kill one process of the pool (as the kernel does when memory is short), or all there are."""
    children = worker.children()
    if children and rand.random() < 0.4:
        with suppress(ProcessLookupError):
            os.kill(rand.choice(children), signal.SIGKILL)
        time.sleep(rand.uniform(0.2, 1.0))
    worker.kill()


@pytest.mark.parametrize(("database", "broker"), [("sqlite", "filesystem"), ("postgres", "redis")])
def test_nothing_is_lost_when_workers_are_killed(
    make_site: Callable[..., Site], make_sink: Callable[..., Sink], database: str, broker: str
) -> None:
    """All arrives, and what arrives twice has an attempt whose outcome is unknown."""
    sink = make_sink(DELAY)
    site = make_site(
        database,
        broker,
        {**sink.options(), "retry": {"schedule": [1], "max_age": 3600}},
        SMTPX_LEASE=6,
        SMTPX_SWEEP_INTERVAL=1,
    )
    assert site.call("send_many", count=MESSAGES) == {"messages": MESSAGES}
    rand = random.Random(random.random())  # pytest-randomly prints the seed behind it
    for _ in range(KILLS):
        with site.worker("prefork", 2) as worker:
            time.sleep(rand.uniform(0.0, 4.0))
            _kill(worker, rand)
    with site.worker("prefork", 2):
        statuses = site.call("wait_settled", seconds=240)
    rows = site.call("deliveries")
    arrived = Counter(sink.arrived())
    print(f"{statuses}; {sum(n > 1 for n in arrived.values())} arrived more than once.")

    # A child and then all: three connections at most, with 20 messages on their way in each.
    assert sum(count - 1 for count in arrived.values()) <= KILLS * 3 * 20
    # Conservation: every row is still there, and each has come to an end.
    assert len(rows) == MESSAGES == sum(statuses.values())
    assert set(statuses) <= {"sent", "failed", "unknown"}
    keys = {(row["message__message_id"], row["recipient"]): row for row in rows}
    assert set(arrived) <= set(keys)
    for key, row in keys.items():
        _check_row(row, arrived[key])
    # A row that lost its lease three times ends with its reason, and there can be only a few.
    assert statuses["sent"] >= MESSAGES - 3 * KILLS


def _check_row(row: dict, count: int) -> None:
    """Check that one row tells what has become of its mail."""
    if row["status"] == "sent":
        assert count >= 1, row
    if row["status"] == "failed":
        assert count == 0, row
        assert row["reply"] or row["category"], row
    if count > 1:
        assert row["outcomes"].count("unknown") >= count - 1, row
    if count == 1 and row["status"] != "sent":
        assert "unknown" in row["outcomes"], row
