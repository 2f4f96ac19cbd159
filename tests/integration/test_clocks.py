"""Clocks that differ, jump, or are read in another time zone: the database's UTC clock is the one."""

from __future__ import annotations

from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import settled
from tests.integration.conftest import skipping
from tests.integration.stores import DATABASES
from tests.integration.tools import NotThere, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.postgres import PostgresServer
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

LEASE = 4
SOUND = {
    "claimed": 1,
    "early": 0,
    "stolen": 0,
    "late": 1,
    "promoted": [0, 1],
    "purged": [0, 2],
}


def faketime(**env: str) -> dict[str, str]:
    """Return the environment of a process whose wall clock is not ours; its others go on."""
    libraries = sorted(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
    if not libraries:
        raise NotThere("libfaketime is not installed (apt-get install libfaketime).")
    return {
        "LD_PRELOAD": str(libraries[0]),
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "FAKETIME_NO_CACHE": "1",
        **env,
    }


@pytest.mark.parametrize(
    ("database", "changes", "zone"),
    [
        ("postgres", {"OPTIONS": {"options": "-c timezone=Asia/Kolkata"}}, "UTC"),
        ("postgres", {"TIME_ZONE": "America/St_Johns"}, "America/St_Johns"),
        ("mariadb", {"OPTIONS": {"init_command": "SET time_zone = '+05:30'"}}, "+05:30"),
        ("mariadb", {"OPTIONS": {"init_command": "SET time_zone = '-03:30'"}}, "-03:30"),
    ],
)
def test_the_sessions_time_zone_changes_nothing(
    make_site: Callable[..., Site],
    sink: Sink,
    tmp_path: Path,
    database: str,
    changes: dict,
    zone: str,
) -> None:
    """Leases, due times and the retention are the same in each zone; Django sets PostgreSQL's."""
    with ExitStack() as stack:
        with skipping():
            rows = stack.enter_context(DATABASES[database](tmp_path))
        options = {**rows.get("OPTIONS", {}), **changes.get("OPTIONS", {})}
        site = make_site({**rows, **changes, "OPTIONS": options}, "filesystem", sink.options())
        assert site.call("session_time_zone") == zone
        found = site.call("clocks")
        assert found.pop("off") < 2
        assert found == SOUND


def test_a_change_to_winter_time_changes_nothing(
    make_site: Callable[..., Site], sink: Sink, postgres_server: PostgresServer
) -> None:
    """A lease and a due time that lie across the hour that comes twice are what they are."""
    with skipping():
        # Berlin's clocks go back at 01:00 UTC.
        changed = faketime(FAKETIME="@2026-10-25 00:59:58", TZ="UTC")
        server = postgres_server.start(**changed)
    site = make_site({**server, "TIME_ZONE": "Europe/Berlin"}, "filesystem", sink.options())
    assert site.call("session_time_zone") == "Europe/Berlin"
    found = site.call("clocks")
    assert found.pop("off") > 3600
    assert found == SOUND


def test_machines_whose_clocks_differ_share_the_work(
    make_site: Callable[..., Site], make_sink: Callable[..., Sink]
) -> None:
    """A minute ahead, a minute behind: no lease ends early, and nothing is sent before its time."""
    sink = make_sink(0.005)
    site = make_site("postgres", "redis", sink.options(), SMTPX_LEASE=LEASE, SMTPX_SWEEP_INTERVAL=1)
    with skipping():
        ahead = site.elsewhere(**faketime(FAKETIME="+60s"))
        behind = site.elsewhere(**faketime(FAKETIME="-60s"))
    with ahead.worker("prefork", 1), behind.worker("prefork", 1):
        wanted = {
            "ahead": ahead.call("send_at", after=6.0, subject="ahead"),
            "behind": behind.call("send_at", after=6.0, subject="behind"),
        }
        for each in (ahead, behind):
            each.call("send_many", count=150)
        site.call("wait_settled", seconds=60)
    assert str(settled(site, sink, stored=302)) == (
        "302 sent; 0 duplicates; 0 once of unknown outcome"
    )
    began = site.call("attempted_at")
    for subject, at in wanted.items():
        late = datetime.fromisoformat(began[subject]) - datetime.fromisoformat(at)
        assert timedelta(0) <= late < timedelta(seconds=20), subject


def test_a_wall_clock_that_jumps_ends_no_lease(
    make_site: Callable[..., Site], make_sink: Callable[..., Sink], tmp_path: Path
) -> None:
    """A worker's clock goes a day ahead, and two days back, while it sends: nothing comes of it."""
    sink = make_sink(0.01)
    site = make_site("postgres", "redis", sink.options(), SMTPX_LEASE=LEASE, SMTPX_SWEEP_INTERVAL=1)
    clock = tmp_path / "clock"
    clock.write_text("+0s\n")
    with skipping():
        jumping = site.elsewhere(**faketime(FAKETIME_TIMESTAMP_FILE=str(clock)))
    site.call("send_many", count=300)
    with jumping.worker("prefork", 2):
        for arrivals, jump in ((30, "+1d"), (120, "-1d")):
            wait_for("mail arrives", lambda least=arrivals: len(sink.arrived()) >= least)
            new = clock.with_suffix(".new")
            new.write_text(f"{jump}\n")
            new.replace(clock)
        site.call("wait_settled", seconds=60)
    assert str(settled(site, sink, stored=300)) == (
        "300 sent; 0 duplicates; 0 once of unknown outcome"
    )
