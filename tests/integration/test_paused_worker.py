"""A worker that is stopped for longer than its leases, and wakes up."""

from __future__ import annotations

import os
import random
import signal
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import settled
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

PAUSES = int(os.environ.get("DJANGO_SMTPX_PAUSES", "2"))
"""How many times a worker is stopped, a hundred messages to each."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240 + 20 * PAUSES)]

LEASE = 2
DELAY = 0.02
AT_STAKE = 20


@pytest.mark.parametrize("on_unknown", ["retry", "hold"])
def test_who_wakes_up_writes_and_sends_nothing_that_is_not_his_own(
    make_site: Callable[..., Site], make_sink: Callable[..., Sink], on_unknown: str
) -> None:
    """What a sleeper held is somebody else's by then: it arrives once, or is of unknown outcome."""
    sink = make_sink(DELAY)
    site = make_site(
        "postgres",
        "redis",
        {
            **sink.options(),
            "retry": {"schedule": [1], "max_age": 3600},
            "on_unknown": on_unknown,
        },
        SMTPX_LEASE=LEASE,
        SMTPX_SWEEP_INTERVAL=1,
    )
    messages = 100 * PAUSES
    rand = random.Random(random.random())  # pytest-randomly prints the seed behind it
    with site.worker("prefork", 2) as one, site.worker("prefork", 2) as other:
        for _ in range(PAUSES):
            arrived = len(sink.arrived())
            site.call("send_many", count=100)
            # Both are at it then, with some of them under way and the rest claimed.
            wait_for("mail arrives", lambda before=arrived: len(sink.arrived()) > before)
            time.sleep(rand.uniform(0.0, 0.3))
            sleeper = rand.choice((one, other)).process.pid
            os.killpg(sleeper, signal.SIGSTOP)
            try:
                time.sleep(LEASE + rand.uniform(0.2, 2.0))
            finally:
                os.killpg(sleeper, signal.SIGCONT)
        site.call("wait_settled", seconds=100)
    account = settled(site, sink, stored=messages)
    print(account)

    at_stake = PAUSES * 2 * AT_STAKE
    assert account.twice <= (account.doubtful if on_unknown == "retry" else 0)
    assert account.doubtful <= at_stake
    # Who was claimed by a sleeper three times has ended with that reason.
    otherwise = messages - account.statuses["sent"]
    assert otherwise <= (PAUSES if on_unknown == "retry" else at_stake + PAUSES)
