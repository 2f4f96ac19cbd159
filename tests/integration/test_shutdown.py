"""A worker that is told to stop, or whose children are killed, in the middle of it."""

from __future__ import annotations

import signal
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.looking import held, outcomes, statuses, wait_sent
from tests.integration.test_pools import SOON, WORKERS, stop
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import SlowServer
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

NOTHING_HELD = {"claimed": 0, "slots": 0}


def wait_for_mail(server: SlowServer, count: int) -> None:
    """Wait until so many mails have arrived."""
    wait_for("mail is under way", lambda: len(server.arrived()) >= count)


def deliver_the_rest(site: Site, server: SlowServer, count: int) -> None:
    """Let the next worker deliver what is left, and check that nothing was doubled or in doubt."""
    server.answer_after(0)
    with site.worker("threads", 2):
        wait_sent(site, count)
    arrived = server.arrived()
    assert len(arrived) == len(set(arrived)) == count
    assert outcomes(site) == {"sent": count}


def test_a_stop_waits_for_the_reply_to_a_content(
    make_site: Callable[..., Site], slow_server: SlowServer
) -> None:
    """Without it nobody would ever know what became of the mail; the log says what is waited for."""
    slow_server.answer_after(None)
    site = make_site("postgres", "redis", slow_server.options(), SMTPX_SWEEP_INTERVAL=1)
    site.call("send_many", count=50)
    with site.worker("prefork", 1) as worker:
        wait_for_mail(slow_server, 1)
        worker.process.send_signal(signal.SIGTERM)
        wait_for("the worker says so", lambda: "has answered the content" in worker.log())
        assert worker.process.poll() is None
        # What was not begun does not wait with it.
        assert held(site) == {"claimed": 1, "slots": 1}
        slow_server.answer_after(0)
        worker.process.wait(SOON)
    assert held(site) == NOTHING_HELD
    assert statuses(site) == {"sent": 1, "queued": 49}
    deliver_the_rest(site, slow_server, 50)


def test_a_soft_shutdown_is_a_stop_and_then_the_rest_of_its_time(
    make_site: Callable[..., Site], slow_server: SlowServer
) -> None:
    """SIGQUIT with worker_soft_shutdown_timeout leaves nothing in doubt either."""
    site = make_site(
        "postgres",
        "redis",
        slow_server.options(),
        SMTPX_SWEEP_INTERVAL=1,
        CELERY_WORKER_SOFT_SHUTDOWN_TIMEOUT=2,
    )
    site.call("send_many", count=100)
    with site.worker("prefork", WORKERS) as worker:
        wait_for_mail(slow_server, 2 * WORKERS)
        stop(worker, signal.SIGQUIT)
    assert held(site) == NOTHING_HELD
    deliver_the_rest(site, slow_server, 100)


def test_a_killed_child_is_accounted_for(
    make_site: Callable[..., Site], slow_server: SlowServer
) -> None:
    """A hard time limit, and a cold shutdown: what was on its way is unknown, and goes once more."""
    site = make_site(
        "postgres",
        "redis",
        {**slow_server.options(), "retry": {"schedule": [1], "max_age": 3600}},
        SMTPX_SWEEP_INTERVAL=1,
        SMTPX_LEASE=3,
        CELERY_TASK_ANNOTATIONS={"django_smtpx.drain": {"soft_time_limit": 2, "time_limit": 2}},
    )
    site.call("send_many", count=60)
    with site.worker("prefork", 1) as worker:
        wait_for("a child is killed", lambda: "Hard time limit" in worker.log())
        wait_for("another is at work", lambda: held(site)["slots"] > 0)
        assert stop(worker, signal.SIGQUIT) < SOON
    slow_server.answer_after(0)
    with site.worker("threads", 1):
        wait_sent(site, 60)
    times = Counter(slow_server.arrived())
    assert len(times) == 60
    doubled = sum(count - 1 for count in times.values())
    assert doubled <= outcomes(site).get("unknown", 0) <= 2 * 20


def test_a_soft_limit_of_one_second_does_no_harm(
    make_site: Callable[..., Site], slow_server: SlowServer
) -> None:
    """One for all tasks, ours as well, ends drains at safe points."""
    site = make_site(
        "postgres",
        "redis",
        slow_server.options(),
        SMTPX_SWEEP_INTERVAL=1,
        CELERY_TASK_ANNOTATIONS={"*": {"soft_time_limit": 1}},
    )
    site.call("send_many", count=20)
    with site.worker("prefork", 2) as worker:
        wait_sent(site, 20)
    assert "Soft time limit (1s) exceeded" in worker.log()
    arrived = slow_server.arrived()
    assert len(arrived) == len(set(arrived)) == 20
    assert outcomes(site) == {"sent": 20}
