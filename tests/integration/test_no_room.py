"""A database that refuses to write for a while, as one does whose disk is full."""

from __future__ import annotations

import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import settled
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.postgres import PostgresServer
    from tests.integration.sites import Site, Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

MESSAGES = 400
DELAY = 0.01
PROCESSES = 2
AT_STAKE = 20 * PROCESSES
LEASE = 5


def _cpu_seconds(worker: Worker) -> float:
    """Return the CPU time that a worker's processes have taken so far."""
    ticks = 0
    for pid in (worker.process.pid, *worker.children()):
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def _no_files(worker: Worker) -> Callable[[bool], None]:
    """Let a worker's processes write not a byte to any file, which is what SQLite needs."""

    def refuse(refuse: bool) -> None:
        for pid in worker.children():
            hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
            resource.prlimit(pid, resource.RLIMIT_FSIZE, (0 if refuse else hard, hard))

    return refuse


@pytest.mark.parametrize(("database", "seconds"), [("postgres", 2.0), ("sqlite", LEASE + 4.0)])
def test_who_cannot_settle_stops_sending_and_goes_on_when_there_is_room(
    make_site: Callable[..., Site],
    make_sink: Callable[..., Sink],
    request: pytest.FixtureRequest,
    database: str,
    seconds: float,
) -> None:
    """No more leaves than was marked, nothing spins meanwhile, and it is that which is unknown."""
    sink = make_sink(DELAY)
    server: PostgresServer | None = None
    if database == "postgres":
        server = request.getfixturevalue("postgres_server")
    site = make_site(
        server.start() if server else "sqlite",
        "redis",
        {**sink.options(), "retry": {"schedule": [1], "max_age": 3600}},
        SMTPX_LEASE=LEASE,
        SMTPX_SWEEP_INTERVAL=1,
    )
    assert site.call("send_many", count=MESSAGES) == {"messages": MESSAGES}
    with site.worker("prefork", PROCESSES) as worker:
        refuse = server.refuse_writes if server else _no_files(worker)
        wait_for("mail arrives", lambda: len(sink.arrived()) > 20)
        refuse(True)
        before, cpu, log = len(sink.arrived()), _cpu_seconds(worker), len(worker.log())
        time.sleep(seconds)
        left = len(sink.arrived()) - before
        cpu, log = _cpu_seconds(worker) - cpu, len(worker.log()) - log
        refuse(False)
        site.call("wait_settled", seconds=100)
    account = settled(site, sink, stored=MESSAGES)
    print(f"{left} left, {cpu:.1f} s of CPU, {log} characters of log. {account}.")

    assert left <= AT_STAKE
    assert cpu < 1.0 + 0.2 * seconds
    assert log < 20_000 * (1 + seconds)
    assert account.statuses == Counter(sent=MESSAGES)
    if seconds < LEASE:
        assert account.doubtful == account.twice == 0
    else:
        assert account.twice <= account.doubtful <= AT_STAKE
