"""The parts that the outbox is measured with tell the truth, and say what is missing."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import django
import pytest

from django_smtpx.models import Message

pytest.importorskip("benchmarks.processes", reason="The benchmarks are not beside the tests here.")
from benchmarks.processes import ClientFailed, NotThere, find_smtp_sink
from benchmarks.queues import cpu, environments, mails, profiling, sinks, stores

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT = Path(__file__).parents[1]


@pytest.fixture
def services() -> None:
    """Skip where a service is missing that the outbox is measured with."""
    try:
        find_smtp_sink()
        with stores.postgres(), stores.redis():
            pass
    except NotThere as reason:
        pytest.skip(str(reason))


def measured(name: str, *args: str) -> Mapping[str, Mapping[str, Mapping[str, float]]]:
    """Run a benchmark with next to nothing to do, and return its figures."""
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{name}", "--runs=1", "--json", *args],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    figures: Mapping[str, Mapping[str, Mapping[str, float]]] = json.loads(done.stdout)["figures"]
    return figures


@pytest.mark.integration
@pytest.mark.usefixtures("services")
def test_the_outbox_is_measured_with_a_command_and_with_workers() -> None:
    """Each way of sending what is queued has a rate, and costs CPU time on the whole way."""
    figures = measured("outbox", "--only=ours", "--only=ours-too", "--messages=30", "--batch=30")
    assert set(figures) == {
        "django_smtpx",
        "django_smtpx, two commands",
        "django_smtpx, Celery solo",
        "django_smtpx, Celery prefork",
    }
    for row in figures.values():
        assert row["messages_per_second"]["median"] > 0
        assert row["all_cpu_us"]["median"] >= row["send_mail_cpu_us"]["median"] > 0


@pytest.mark.integration
@pytest.mark.usefixtures("services")
def test_one_worker_is_measured_over_a_longer_way() -> None:
    """The way is as long as was asked for, or longer."""
    figures = measured("outbox_roundtrip", "--only=ours", "--messages=20", "--rtt=4")
    assert figures["relay"]["round_trip_ms"]["median"] >= 4
    assert figures["django_smtpx"]["messages_per_second"]["median"] > 0


def test_no_two_mails_are_alike_and_each_has_about_three_kilobytes() -> None:
    """What is measured is the mail that the page speaks of."""
    made = [mail.message() for mail in mails.mails(7, 3)]
    assert [mail.subject for mail in made] == [
        f"Your order {number} is on its way" for number in (7, 8, 9)
    ]
    assert len({mail.body for mail in made}) == 3
    for mail in made:
        assert 2_500 < len(mail.message().as_bytes()) < 3_500
        assert len(mail.recipients()) == 1


def test_what_a_process_spent_before_is_not_counted() -> None:
    """Time counts from the beginning on, and that of a process that came later counts whole."""
    spent = cpu.Spent()
    assert spent.seconds is None
    spent.note({1: 5.0, 2: None})
    spent.begin()
    spent.note({1: 5.5, 3: 0.25})
    spent.note({3: 0.75, 1: None})
    assert spent.seconds == pytest.approx(1.25)


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="There is no /proc here.")
def test_the_time_of_a_process_is_what_the_kernel_says() -> None:
    """What a process and its children have spent is found by its id, and only if it is the one."""
    until = time.process_time() + 0.05
    while time.process_time() < until:
        pass
    found = cpu.cpu_of_all(os.getpid())
    assert found >= time.process_time() - 3 / cpu.TICK
    assert cpu.cpu_of(os.getpid(), named="no such program") is None
    assert cpu.cpu_of(2**22 + 1) is None


def test_a_profile_names_what_was_busy_and_what_was_asked() -> None:
    """The function that took the CPU time is in the profile."""

    def busy() -> None:
        until = time.process_time() + 0.2
        while time.process_time() < until:
            pass

    text = profiling.profiled(busy)
    assert f"{__name__}:" in text
    assert "test_a_profile_names_what_was_busy_and_what_was_asked.<locals>.busy" in text


@pytest.mark.django_db
def test_a_profile_counts_statements() -> None:
    """Statements that differ in nothing but values are one, with a number."""
    text = profiling.profiled(
        lambda: [Message.objects.filter(pk=key).delete() for key in (1, 2, 3)]
    )
    *_, table = text.partition("statements, by the clock")
    assert any(
        line.split()[2:3] == ["3"] and '"django_smtpx_message"' in line
        for line in table.splitlines()
    ), table


def test_the_count_is_the_latest_that_was_written_whole() -> None:
    """A line that is half written yet is read when the rest is there."""
    written = io.BytesIO(b"sess=0 quit=0 mesg=1\rsess=0 quit=0 mesg=2\rsess=0 quit=0 me")
    sink = sinks.Sink(25, written)
    assert sink.count() == 2
    written.write(b"sg=12\r")
    written.seek(-6, os.SEEK_END)
    assert sink.count() == 12


def test_a_standstill_ends_the_measurement(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who waits for mail that does not come is told, and does not wait for ever."""
    monkeypatch.setattr(sinks, "STANDSTILL", 0.0)
    with pytest.raises(ClientFailed, match="Nothing has moved"):
        sinks.wait_until(lambda: False, lambda: 5)


def test_each_queue_has_the_django_that_is_here_if_it_works_with_it() -> None:
    """Only django-celery-email is compared on an older one; our own runs where we are."""
    here = f"Django~={django.VERSION[0]}.{django.VERSION[1]}.0"
    assert here in environments.requirements("post_office")
    assert here in environments.requirements("django-mailer")
    assert [r for r in environments.requirements("celery-email") if r.startswith("Django")] == [
        "Django~=5.2.0"
    ]
    assert environments.python_of("django_smtpx") == sys.executable


def test_an_environment_that_cannot_be_made_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What could not be installed is named, and nothing is left that looks complete."""
    monkeypatch.setenv("DJANGO_SMTPX_BENCHMARKS_CACHE", str(tmp_path))
    monkeypatch.setattr(environments.venv, "create", lambda *args, **options: None)
    (tmp_path / "pip").write_text("#!/bin/sh\necho no such thing >&2\nexit 1\n")
    (tmp_path / "pip").chmod(0o755)
    monkeypatch.setattr(environments, "_python_in", lambda folder: tmp_path / "pip")
    with pytest.raises(NotThere, match=r"(?s)django-mailer.* cannot be installed:\nno such thing"):
        environments.python_of("django-mailer")
    assert not list(tmp_path.glob("*/requirements.txt"))


def test_a_missing_database_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no PostgreSQL is told where it was looked for, and how to say where it is."""
    pytest.importorskip("psycopg")
    monkeypatch.setenv("PGHOST", "127.0.0.1")
    monkeypatch.setenv("PGPORT", "1")
    with (
        pytest.raises(NotThere, match=r"does not answer at 127.0.0.1:1 \(PGHOST"),
        stores.postgres(),
    ):
        pass


def test_a_missing_broker_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Who has no Redis is told where it was looked for."""
    pytest.importorskip("redis")
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    with pytest.raises(NotThere, match=r"answer at redis://127\.0\.0\.1:1/0"), stores.redis():
        pass
