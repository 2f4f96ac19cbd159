"""Celery's tasks and the hints to them."""

from __future__ import annotations

import threading
import time

import pytest
from celery import current_app
from celery.exceptions import SoftTimeLimitExceeded
from django.core.mail import EmailMessage

from django_smtpx import delivery, tasks
from django_smtpx.models import Message
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, real_queue
from tests.factories import statuses, stored


class Broker:
    """Stands in for publishing: remembers what was published, or fails as told."""

    def __init__(self, monkeypatch, behave=lambda: None):
        self.published = []
        self.behave = behave
        for task in (tasks.drain, tasks.sweep, tasks.purge):
            monkeypatch.setattr(task, "apply_async", self._publisher(task.name))

    def _publisher(self, name):
        def apply_async(args=(), **options):
            self.behave()
            self.published.append((name, *args, options))

        return apply_async

    @property
    def names(self):
        """What was published, without the options."""
        return [entry[:-1] for entry in self.published]


@pytest.fixture
def hints(monkeypatch):
    """Return the process's hints, as a fresh process has them."""
    fresh = tasks.Hints()
    monkeypatch.setattr(tasks, "hints", fresh)
    monkeypatch.setattr(tasks, "_site_has_celery", lambda: True)
    return fresh


def test_the_tasks_have_their_names():
    """Workers and hints agree on the public names."""
    names = {tasks.drain.name, tasks.sweep.name, tasks.purge.name}
    assert names == {"django_smtpx.drain", "django_smtpx.sweep", "django_smtpx.purge"}
    assert names <= set(current_app.tasks)


def test_a_hint_carries_a_name_and_expires(monkeypatch, hints):
    """No mail, no id and no credential goes over the broker, and nothing old stays in it."""
    broker = Broker(monkeypatch)
    tasks.wake("default")
    name, mailer, options = broker.published[0]
    assert (name, mailer) == ("django_smtpx.drain", "default")
    assert options["retry"] is False
    assert options["expires"] == 10


def test_hints_are_coalesced_by_mailer(monkeypatch, hints):
    """A loop of send_mail() publishes one hint a mailer, not one a mail."""
    broker = Broker(monkeypatch)
    for _ in range(100):
        tasks.wake("a")
    tasks.wake("b")
    assert broker.names == [("django_smtpx.drain", "a"), ("django_smtpx.drain", "b")]
    hints._sent["a"] -= tasks.COALESCE
    tasks.wake("a")
    assert len(broker.published) == 3


def test_a_broker_that_refuses_never_fails_a_send(monkeypatch, hints, caplog):
    """After a failure the process is silent for a while, and the caller sees nothing."""

    def refuse():
        raise ConnectionRefusedError("no broker")

    broker = Broker(monkeypatch, refuse)
    tasks.wake("a")
    assert "sweep finds the mail" in caplog.text
    broker.behave = lambda: None
    tasks.wake("b")
    assert broker.published == []
    hints._silent_until = 0.0
    tasks.wake("c")
    assert broker.names == [("django_smtpx.drain", "c")]


def test_a_broker_that_swallows_costs_one_bounded_wait(monkeypatch, hints):
    """A connection that hangs delays one send by PATIENCE, and a thousand sends by no more."""
    monkeypatch.setattr(tasks, "PATIENCE", 0.05)
    release = threading.Event()
    Broker(monkeypatch, release.wait)
    began = time.monotonic()
    for number in range(1000):
        tasks.wake(f"mailer {number}")
    elapsed = time.monotonic() - began
    release.set()
    assert 0.05 <= elapsed < 2


def test_a_site_without_celery_sends_no_hints(monkeypatch, hints):
    """Without an app there is nobody to hint to, and a stranger's broker is left alone."""
    monkeypatch.undo()
    broker = Broker(monkeypatch)
    tasks.Hints().send_drain("a")
    assert broker.published == []
    monkeypatch.setenv("CELERY_BROKER_URL", "memory://")
    tasks.Hints().send_drain("a")
    assert len(broker.published) == 1


def test_a_forked_child_begins_anew(monkeypatch, hints):
    """What the parent sent lately does not silence its children."""
    hints._silent_until = time.monotonic() + 100
    hints.forget()
    broker = Broker(monkeypatch)
    tasks.wake("a")
    assert len(broker.published) == 1


@pytest.mark.django_db
def test_always_eager_delivers_in_place(hints, settings):
    """With CELERY_TASK_ALWAYS_EAGER send_mail() has delivered when its transaction is through."""
    from django.test import TestCase

    monkey = current_app.conf
    monkey.task_always_eager = True
    wake = tasks.wake
    try:
        with ScriptedServer() as server, real_queue(server):
            tasks.wake = wake
            with TestCase.captureOnCommitCallbacks(execute=True):
                EmailMessage("S", "B", "from@example.com", ["a@example.com"]).send()
            assert len(server.messages) == 1
    finally:
        monkey.task_always_eager = False
        default_pool.close()
    assert statuses() == ["sent"]


@pytest.mark.django_db
def test_drain_delivers_one_mailer(monkeypatch, hints):
    """The task delivers what is due for the mailer that it names."""
    Broker(monkeypatch)
    with ScriptedServer() as server, real_queue(server, mailers={"other": {}}):
        stored("a@example.com")
        stored("b@example.com", mailer="other")
        tasks.drain("default")
        assert [m.recipients for m in server.messages] == [("a@example.com",)]
    assert statuses() == ["sent", "queued"]


@pytest.mark.django_db
def test_a_soft_time_limit_is_a_stop_and_a_successor(monkeypatch, hints):
    """The site's own time limit ends a drain without harm, and another one goes on."""
    broker = Broker(monkeypatch)

    def limit(*args, **kwargs):
        raise SoftTimeLimitExceeded

    monkeypatch.setattr(delivery, "drain", limit)
    with real_queue(host="127.0.0.1", port=1):
        tasks.drain("default")
    assert broker.names == [("django_smtpx.drain", "default")]


@pytest.mark.django_db
def test_a_sweep_wakes_who_has_mail(monkeypatch, hints):
    """Mail whose hint was lost is found, its mailer woken, and the retention runs."""
    broker = Broker(monkeypatch)
    with real_queue(host="127.0.0.1", port=1, mailers={"idle": {"host": "127.0.0.1"}}):
        stored()
        stored(mailer="not configured any more")
        tasks.sweep()
        assert broker.names == [("django_smtpx.drain", "default"), ("django_smtpx.purge",)]
        tasks.sweep()
    assert len(broker.published) == 2


@pytest.mark.django_db
def test_purge_applies_the_retention(settings):
    """The task deletes what the settings say is old enough."""
    from datetime import timedelta

    settings.SMTPX_LOG_RETENTION = timedelta(0)
    settings.SMTPX_CONTENT_RETENTION = timedelta(0)
    message = stored()
    message.deliveries.update(status="sent")
    Message.objects.update(settled_at=message.created_at)
    tasks.purge()
    assert not Message.objects.exists()


def test_the_sweep_runs_in_every_worker(caplog, hints):
    """A worker's timer is given the sweep at its start, and loses it at its stop."""
    calls = []

    class Entry:
        def cancel(self):
            calls.append("cancel")

    class Timer:
        def call_after(self, seconds, function):
            calls.append(("after", seconds, function.__name__))

        def call_repeatedly(self, seconds, function):
            calls.append(("every", seconds, function.__name__))
            return Entry()

    class Worker:
        timer = Timer()

    with real_queue(host="127.0.0.1", port=1):
        step = tasks.SweepStep(Worker())
        step.start(Worker())
        step.stop(Worker())
    with real_queue(host="127.0.0.1", port=1, mailers={"broken": {"hots": "a"}}):
        step.start(Worker())
    assert "'broken'" in caplog.text
    del calls[3:]
    assert calls == [("after", 0, "send_sweep"), ("every", 10, "send_sweep"), "cancel"]


def test_the_step_is_added_to_the_worker():
    """Celery's worker gets the step before its blueprint is built."""
    from celery import Celery
    from celery.signals import celeryd_init

    class Worker:
        app = Celery(set_as_current=False)
        hostname = "worker"

    celeryd_init.send(sender="worker", instance=Worker(), conf=Worker.app.conf, options={})
    assert tasks.SweepStep in Worker.app.steps["worker"]


def test_a_hint_for_a_mailer_that_is_gone(caplog, hints):
    """A mailer that is not configured any more is an error in the log, and its mail waits."""
    with real_queue(host="127.0.0.1", port=1):
        tasks.drain("gone")
    assert "'gone'" in caplog.text
