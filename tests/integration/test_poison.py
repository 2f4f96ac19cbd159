"""A message that kills each worker that sends it, among others."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_smtpx.testing import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.testing import Conversation
    from tests.integration.sites import Site, Worker

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

MESSAGES = 150
LOOK_FOR = 2.0
"""Seconds, less than the lease, in which the process is found that has sent the poison."""
POISON = "to-70-0@example.net"


def owner(port: int, processes: list[int]) -> int | None:
    """Return which of ``processes`` has a TCP socket with that local port, by proc(5).

    Several sockets may have it, with different peers, and those that are over have no inode.
    """
    rows = (line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:])
    inodes = {row[9] for row in rows if int(row[1].rpartition(":")[2], 16) == port}
    sockets = {f"socket:[{inode}]" for inode in inodes - {"0"}}
    for process in processes:
        with suppress(FileNotFoundError):
            for descriptor in Path(f"/proc/{process}/fd").iterdir():
                with suppress(FileNotFoundError):
                    if str(descriptor.readlink()) in sockets:
                        return process
    return None


class Killer:
    """Kills the process that has just sent the poison, whole, before its answer is there."""

    def __init__(self) -> None:
        self.workers: list[Worker] = []
        self.deaths = 0

    def __call__(self, conversation: Conversation, arg: str) -> None:
        """Be the server's answer to the content of the poison."""
        process, give_up = None, time.monotonic() + LOOK_FOR
        while process is None:
            # While children come and go the kernel may leave some out (proc_tid_children(5)).
            assert time.monotonic() < give_up, (
                f"Nobody has the socket with port {conversation.peer[1]}."
            )
            children = [pid for worker in self.workers for pid in worker.children()]
            process = owner(conversation.peer[1], children)
        os.kill(process, signal.SIGKILL)
        self.deaths += 1


@pytest.mark.parametrize(("database", "broker"), [("sqlite", "filesystem"), ("postgres", "redis")])
def test_a_message_that_kills_its_workers(
    make_site: Callable[..., Site], database: str, broker: str
) -> None:
    """After three of them a person decides about it, and all the other mail has been sent."""
    killer = Killer()
    with ScriptedServer({"EOD": {POISON: killer}}) as server:
        site = make_site(
            database,
            broker,
            {
                "host": server.host,
                "port": server.port,
                "security": "none",
                "retry": {"schedule": [1], "max_age": 3600},
            },
            SMTPX_LEASE=4,
            SMTPX_SWEEP_INTERVAL=1,
        )
        with site.worker("prefork", 2) as one, site.worker("prefork", 2) as other:
            killer.workers += [one, other]
            site.call("send_plain", count=MESSAGES)
            statuses = site.call("wait_settled", seconds=120)
        rows = {row["recipient"]: row for row in site.call("deliveries")}
        arrived = Counter(recipient for mail in server.messages for recipient in mail.recipients)
    poison = rows.pop(POISON)
    print(f"{database}, {broker}: {statuses}, {killer.deaths} deaths; {poison['outcomes']}")
    assert killer.deaths == 3
    assert statuses == {"sent": MESSAGES - 1, "unknown": 1}
    assert (poison["status"], poison["outcomes"]) == ("unknown", ["unknown"] * 3)
    assert "died 3 times" in poison["reply"]
    for recipient, row in rows.items():
        assert 1 <= arrived[recipient] <= 1 + row["outcomes"].count("unknown")
    # Two deaths may each leave the neighbours of one chunk in doubt; the third is of one alone.
    assert sum(arrived[recipient] - 1 for recipient in rows) <= 2 * 19
