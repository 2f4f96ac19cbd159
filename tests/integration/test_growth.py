"""What a worker keeps of the mail that it has delivered: nothing.

``DJANGO_SMTPX_DRAINED`` is how many messages go through one process while it is measured (default:
2,000), behind a tenth of them to warm up.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

DRAINED = int(os.environ.get("DJANGO_SMTPX_DRAINED", "2000"))

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120 + DRAINED // 20)]

AT_ONCE = 5000
MOST = 10 * 1024
"""KiB that a process may grow by; of a short run, in which a leak has less time, two fifths."""


def _resident(pid: int) -> int:
    """Return a process's resident memory, in KiB."""
    found = re.search(r"^VmRSS:\s+(\d+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1])


def test_a_worker_does_not_grow_with_what_it_has_delivered(
    make_site: Callable[..., Site], sink: Sink
) -> None:
    """Behind its first messages a process stays as large as it is, however many follow."""
    site = make_site("postgres", "redis", {**sink.options(), "max_connections": 1})

    def deliver(count: int) -> None:
        for first in range(0, count, AT_ONCE):
            site.call("send_many", count=min(AT_ONCE, count - first))
            site.call("wait_settled", seconds=600)

    with site.worker("prefork", 1) as worker:
        deliver(max(DRAINED // 10, 500))
        (child,) = worker.children()
        before, master = _resident(child), _resident(worker.process.pid)
        deliver(DRAINED)
        assert worker.children() == [child]
        grown = _resident(child) - before
        master = _resident(worker.process.pid) - master
    assert set(site.call("statuses")) == {"sent"}
    print(f"{before} KiB at first; after {DRAINED} messages {grown} more, {master} in the parent.")
    most = MOST if DRAINED >= 20_000 else MOST * 2 // 5
    assert grown < most
    assert master < most
