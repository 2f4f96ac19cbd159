"""Webhooks of a real site: its worker is killed while a receiver has an event in its hands."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.webhooks.receiver import SECRET, receiving

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

MESSAGES = 30
SECONDS = 90.0


def test_a_worker_that_is_killed_amid_a_post(
    make_site: Callable[..., Site], make_sink: Callable[..., Sink]
) -> None:
    """The next one posts that event again, by the same id, and all others."""
    asked, released = threading.Event(), threading.Event()
    with receiving() as receiver:

        def answer(request: object) -> int:
            if not asked.is_set():
                asked.set()
                released.wait(SECONDS)
            return 200

        receiver.answer = answer
        site = make_site(
            "sqlite",
            "filesystem",
            make_sink(0.0).options(),
            SMTPX_LEASE=3,
            SMTPX_SWEEP_INTERVAL=1,
            SMTPX_WEBHOOKS={"crm": {"url": receiver.url, "secret": SECRET, "timeout": 2}},
        )
        site.call("send_many", count=MESSAGES)
        with site.worker("prefork", 2) as worker:
            assert asked.wait(SECONDS)
            worker.kill()
        released.set()
        with site.worker("prefork", 2):
            site.call("wait_settled", seconds=SECONDS)
            give_up = time.monotonic() + SECONDS
            while len({one.event for one in receiver.taken}) < MESSAGES:
                assert time.monotonic() < give_up, "events are missing"
                time.sleep(0.05)
        first, *others = receiver.requests
        assert [one.body for one in others if one.event == first.event][:1] == [first.body]
        assert list(receiver.by_delivery().values()) == [["delivery.sent"]] * MESSAGES
