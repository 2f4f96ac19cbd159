"""The benchmarks run, and say what they measured in the form that is promised; no figure is judged."""

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

processes = pytest.importorskip(
    "benchmarks.processes", reason="The benchmarks are not beside the tests here."
)
report = pytest.importorskip("benchmarks.report")
stores = pytest.importorskip("benchmarks.queues.stores")
LISTS = pytest.importorskip("benchmarks.backlogs.process").LISTS
ROOT = Path(__file__).parents[1]


def figures(name: str, *args: str) -> dict[str, Any]:
    """Run a benchmark with next to nothing to do; check what all say, and return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--runs=1", "--json", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["benchmark"] == name
    assert said["options"]["runs"] == 1
    assert said["machine"]["python"]
    assert said["goals"]
    for goal in said["goals"].values():
        assert set(goal) == {"median", "min", "max", "runs", "goal", "met"}
        assert goal["runs"] == [goal["median"]]
        assert goal["goal"][:2] in (">=", "<=")
    return said["figures"]


@pytest.fixture
def sink() -> None:
    """Skip where there is no smtp-sink."""
    try:
        processes.find_smtp_sink()
    except processes.NotThere as reason:
        pytest.skip(str(reason))


@pytest.mark.integration
@pytest.mark.usefixtures("sink")
@pytest.mark.skipif(
    importlib.util.find_spec("aiosmtplib") is None, reason="aiosmtplib is not installed."
)
def test_loopback_compares_four_clients() -> None:
    """Each client has a rate and a CPU time."""
    found = figures("loopback", "--messages=5")
    assert list(found) == ["django_smtpx", "smtplib", "aiosmtplib", "raw socket"]
    for client in found.values():
        assert list(client) == ["messages_per_second", "cpu_us_per_message"]
        assert client["messages_per_second"]["median"] > 0


@pytest.mark.integration
@pytest.mark.usefixtures("sink")
def test_roundtrip_compares_over_a_longer_way() -> None:
    """The way is as long as was asked for, or longer, and each client has a rate."""
    found = figures("roundtrip", "--messages=2", "--rtt=4")
    assert set(found) == {"relay", "django_smtpx", "django_smtpx, BDAT", "smtplib"}
    assert found["relay"]["round_trip_ms"]["median"] >= 4


def test_memory_says_how_it_grew() -> None:
    """Both ways of sending a file are measured, and all its octets arrived."""
    found = figures("memory", "--megabytes=1")
    assert set(found) == {"django_smtpx, BDAT", "django_smtpx, DATA", "smtplib, DATA"}
    for client in found.values():
        assert client["growth_mb"]["median"] >= 0


def test_attachments_are_stored_and_delivered() -> None:
    """Memory and time of each step are there, and both servers got both mails whole."""
    found = figures("attachments", "--megabytes=2", "--stores=file,SQLite")
    assert set(found) == {"file", "SQLite"}
    for row in found.values():
        for work in ("send", "store", "deliver", "deliver_again"):
            assert row[f"{work}_growth"]["median"] >= 0
            assert row[f"{work}_seconds"]["median"] > 0


@pytest.mark.integration
def test_retention_is_measured_beside_deliveries() -> None:
    """The purge has rates, and deliveries beside it have waits."""
    try:
        with stores.postgres():
            pass
    except processes.NotThere as reason:
        pytest.skip(str(reason))
    found = figures("retention", "--messages=2000")
    assert found["purge"]["contents_per_second"]["median"] > 0
    assert found["purge"]["messages_per_second"]["median"] > 0
    for row in ("delivery alone", "delivery beside a purge"):
        assert found[row]["longest_ms"]["median"] > 0


def test_compose_says_what_mail_and_memory_cost() -> None:
    """Each kind of mail has a CPU time in both ways, and a large one a growth."""
    found = figures("compose", "--messages=1", "--megabytes=1")
    assert len(found) == 6
    for row in found.values():
        assert list(row) == ["django_smtpx", "Django"]
        assert row["django_smtpx"]["median"] > 0


@pytest.mark.integration
@pytest.mark.usefixtures("sink")
def test_a_backlog_is_drained_and_looked_at() -> None:
    """Each kind of rows has a time a message, a time of the sweep and of each list."""
    try:
        with stores.postgres():
            pass
    except processes.NotThere as reason:
        pytest.skip(str(reason))
    found = figures("backlog", "--messages=5", "--rows=40", "--routes=40", "--looks=1")
    assert len(found) == 2 * 3 + 1
    *compared, promoted = found.values()
    for row in compared:
        # A message, its CPU time and the sweep; the lists and pages; the overview.
        assert len(row) == 3 + len(LISTS) + 1
        assert all(figure["median"] > 0 for figure in row.values())
    assert promoted["us_per_row"]["median"] > 0
    taken = figures("backlog", "--sizes", "--rows=40")
    assert taken["delivery"]["bytes_per_row"]["median"] > 0
    assert taken["delivery: smtpx_delivery_claim"]["bytes_per_row"]["median"] > 0
    seen = figures("backlog", "--overviews", "--rows=40", "--looks=1")
    assert len(seen) == 2
    for row in seen.values():
        assert row["overview, ms"]["median"] > 0
        assert row["us_per_attempt"]["median"] > 0
    written = figures("backlog", "--writes", "--messages=20")
    assert written["fillfactor 100: claim"]["wal_records"]["median"] > 1


def test_recipients_are_measured_with_and_without_limits() -> None:
    """Each server has a time and a number of commands."""
    found = figures("recipients", "--recipients=150")
    assert list(found) == [
        "452, 150 recipients",
        "LIMITS, 150 recipients",
    ]
    for row in found.values():
        assert row["us_per_recipient"]["median"] > 0
        assert row["commands_per_recipient"]["median"] >= 1


def test_a_ratio_is_that_of_one_run_and_medians_are_shown() -> None:
    """A reader gets medians and goals in columns, and is told when there were too few runs."""
    measured = report.Report("some", argparse.Namespace(runs=3, json=False))
    for ours, theirs in ((8, 2), (90, 30), (200, 100)):
        measured.add("ours", "rate", ours)
        measured.add("theirs", "rate", theirs)
        measured.goal("ratio", measured.latest("ours", "rate") / theirs, ">=", 2.5)
    first, few, _, *tables = measured.as_text().splitlines()
    assert first.startswith("some, medians of 3 runs; Python ")
    assert few == "Fewer than 5 runs: these figures say little."
    assert [line.split() for line in tables if line and not line.startswith("-")] == [
        ["rate"],
        ["ours", "90"],
        ["theirs", "30"],
        ["goal", "median", "least", "most", "wanted"],
        ["ratio", "3", "2", "4", ">=", "2.5", "met"],
    ]


@pytest.mark.parametrize(
    ("comparison", "limit", "met"), [(">=", 2, True), (">=", 3, False), ("<=", 2, True)]
)
def test_a_goal_that_is_missed_is_said(comparison: str, limit: float, met: bool) -> None:
    """Goals have a side, and the limit itself meets them."""
    measured = report.Report("some", argparse.Namespace(json=True))
    measured.goal("ratio", 2, comparison, limit)
    goals = measured.as_json()["goals"]
    assert goals["ratio"]["goal"] == f"{comparison} {limit}"
    assert goals["ratio"]["met"] is met


def test_a_missing_sink_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who lacks smtp-sink is told what it is a part of."""
    monkeypatch.setattr(processes, "SBIN", "")
    with pytest.raises(processes.NotThere, match="a part of Postfix"):
        processes.find_smtp_sink()
