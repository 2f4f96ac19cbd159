"""A real worker with each of Celery's pools: it works, is told to stop, and the next one goes on."""

from __future__ import annotations

import importlib.util
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.looking import connections, held, outcomes, wait_sent
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import SlowServer
    from tests.integration.sites import Site, Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(180)]

WORKERS = 4
SOON = 10.0
"""Seconds in which a worker has stopped, at 200 ms a mail, however busy the machine is: its drains
need less than one, and have twenty where nobody tells them."""


def stop(worker: Worker, number: signal.Signals = signal.SIGTERM) -> float:
    """Tell the parent alone to stop, and return how many seconds it took."""
    began = time.monotonic()
    worker.process.send_signal(number)
    worker.process.wait(60)
    return time.monotonic() - began


@pytest.mark.parametrize(
    ("pool", "messages", "more", "settings"),
    [
        # The site's own limits are no limits of ours.
        ("prefork", 2000, [], {"CELERY_TASK_SOFT_TIME_LIMIT": 1, "CELERY_TASK_TIME_LIMIT": 2}),
        # Children that were forked later: one a task, and as many as there is work for.
        ("prefork", 500, ["--autoscale", "4,1"], {"CELERY_WORKER_MAX_TASKS_PER_CHILD": 1}),
        ("threads", 500, [], {}),
        ("solo", 100, [], {}),
        ("gevent", 500, [], {}),
    ],
    ids=["prefork", "replaced", "threads", "solo", "gevent"],
)
def test_each_mail_arrives_once_through_a_stop_in_the_middle(
    make_site: Callable[..., Site],
    slow_server: SlowServer,
    pool: str,
    messages: int,
    more: list[str],
    settings: dict[str, Any],
) -> None:
    """Within seconds what has left is settled, the rest is back, and each session has said QUIT;
    drains in parallel share no connection, and leave none to the database.
    """
    if pool == "gevent" and importlib.util.find_spec("gevent") is None:
        pytest.skip("gevent is not installed (pip install gevent).")
    options = {**slow_server.options(), "max_connections": WORKERS, "idle_timeout": 1}
    site = make_site("postgres", "redis", options, SMTPX_SWEEP_INTERVAL=1, **settings)
    site.call("send_many", count=messages)
    with site.worker(pool, WORKERS, *more) as worker:
        wait_for("mail is under way", lambda: len(slow_server.arrived()) >= 12)
        seconds = stop(worker)
    print(f"{pool}: stopped within {seconds:.1f} s.")
    assert seconds < SOON
    assert held(site) == {"claimed": 0, "slots": 0}
    sessions = slow_server.sessions()
    assert sessions == {"open": sessions["open"], "quit": sessions["open"]}

    slow_server.answer_after(0.005)
    with site.worker(pool, WORKERS, *more) as worker:
        wait_sent(site, messages)
        # Celery's own fix-up for Django closes the connection of the thread that a task ran in.
        wait_for("no connection to the database is left", lambda: not connections(site))
    arrived = slow_server.arrived()
    assert len(arrived) == len(set(arrived)) == messages
    assert outcomes(site) == {"sent": messages}
    most = slow_server.most_sessions()
    assert most == 1 if pool == "solo" else 1 < most <= WORKERS
    assert "Traceback" not in worker.log()
    assert "time limit" not in worker.log()
