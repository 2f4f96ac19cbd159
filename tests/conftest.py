"""What all tests share."""

from __future__ import annotations

import os
from math import inf
from typing import TYPE_CHECKING

import pytest
from django.db import connection

from django_smtpx import tasks
from django_smtpx.ledger import timings
from django_smtpx.smtp import trust
from tests.writing_first import watching

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

pytest_plugins = ["django_smtpx.testing.fixtures"]

REQUIRE_ALL = os.environ.get("DJANGO_SMTPX_REQUIRE_ALL", "") not in ("", "0")
"""Whether a test that talks to real servers, and skips since one is not there, has failed."""


@pytest.fixture(autouse=True)
def _believe_everybody() -> Iterator[None]:
    """Forget which hosts fell out of step: another test's server may have the same port."""
    yield
    trust.forget()


@pytest.fixture(autouse=True)
def _timings_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave timings in memory: whether a drain writes them would depend on when it runs."""
    timings._buffer.start_clean()
    monkeypatch.setattr(timings._buffer, "_due_at", inf)


@pytest.fixture(autouse=True)
def _hints_are_as_they_were() -> Iterator[None]:
    """Fail a test that leaves hints caught: others would miss theirs."""
    wake = tasks.wake
    yield
    assert tasks.wake is wake, "somebody has caught the hints, and not let go of them"


@pytest.fixture(autouse=True)
def _transactions_begin_with_their_write() -> Iterator[None]:
    """Fail a test in which a transaction of ours began by reading: SQLite may fail it, too."""
    with watching() as watch:
        yield
    if connection.vendor == "sqlite":
        assert watch.found == [], "a transaction of ours begins by reading"


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item,
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Turn a skip of an integration test into a failure, where all of them are required."""
    report = yield
    if (
        REQUIRE_ALL
        and report.skipped
        and not hasattr(report, "wasxfail")
        and item.get_closest_marker("integration")
    ):
        reason = report.longrepr[2] if isinstance(report.longrepr, tuple) else report.longrepr
        report.outcome = "failed"
        report.longrepr = f"Skipped, though DJANGO_SMTPX_REQUIRE_ALL is set. {reason}"
    return report
