"""Celery's tasks and the hints to them."""

from __future__ import annotations

import signal
import threading
import time
from contextlib import contextmanager

import pytest
from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import current_app, signals
from celery.exceptions import SoftTimeLimitExceeded
from django.core.mail import EmailMessage
from django.db import transaction

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
    hints._sent["django_smtpx.drain", "a"] -= tasks.COALESCE
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


# -- in place: CELERY_TASK_ALWAYS_EAGER, or a task that is called ------------------------------


@pytest.fixture
def eager(hints):
    """Run tasks where they are published."""
    current_app.conf.task_always_eager = True
    yield hints
    current_app.conf.task_always_eager = False
    default_pool.close()


@contextmanager
def eager_queue(server, **options):
    """The real queue, with the real hints."""
    wake = tasks.wake
    with real_queue(server, **options), pytest.MonkeyPatch.context() as patch:
        patch.setattr(tasks, "wake", wake)
        yield


def mail(subject="S"):
    """Return a small mail."""
    return EmailMessage(subject, "B", "from@example.com", ["a@example.com"])


@pytest.mark.django_db(transaction=True)
def test_an_eager_drain_waits_for_the_end_of_the_transaction(eager):
    """No byte moves inside it; a drain that is asked for in it comes after it, or never."""
    with ScriptedServer() as server, eager_queue(server):
        with transaction.atomic():
            mail().send()
            tasks.drain.delay("default")
            tasks.drain("default")
            assert server.sessions == ()
        assert len(server.messages) == 1
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            mail().send()
            tasks.drain.delay("default")
            raise ZeroDivisionError
        assert len(server.messages) == 1
    assert statuses() == ["sent"]


@pytest.mark.django_db
def test_hooks_that_run_within_the_transaction_do_not_go_round_in_circles(eager):
    """A test that captures them inside atomic() finds the mail stored and not sent."""
    from django.test import TestCase

    with ScriptedServer() as server, eager_queue(server), transaction.atomic():
        with TestCase.captureOnCommitCallbacks(execute=True):
            mail().send()
        assert server.sessions == ()
    assert statuses() == ["queued"]


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_is_committed_by_hand_is_one_too(eager):
    """Nobody says when it ends: the mail is stored, and a drain within it moves nothing."""
    with ScriptedServer() as server, eager_queue(server):
        transaction.set_autocommit(False)
        try:
            mail().send()
            tasks.drain("default")
            assert server.sessions == ()
            transaction.commit()
        finally:
            transaction.set_autocommit(True)
        tasks.drain("default")
        assert len(server.messages) == 1


@pytest.mark.django_db(transaction=True)
def test_eager_drains_run_one_after_the_other(eager):
    """A receiver that sends mail, and a full claim that asks for help, begin none within another."""
    from django_smtpx.signals import delivery_sent

    depth = []
    deepest = []
    run = delivery.drain

    def watched(*args, **kwargs):
        depth.append(1)
        deepest.append(len(depth))
        try:
            return run(*args, **kwargs)
        finally:
            depth.pop()

    def one_more(delivery, **kwargs):
        if delivery.message.subject == "first":
            mail("second").send()

    delivery_sent.connect(one_more)
    try:
        with (
            ScriptedServer() as server,
            eager_queue(server, max_connections=1),
            pytest.MonkeyPatch.context() as patch,
        ):
            patch.setattr(delivery, "drain", watched)
            patch.setattr("django_smtpx.delivery.course.BATCH", 2)
            for _ in range(5):
                stored()
            mail("first").send()
            assert len(server.messages) == 7
    finally:
        delivery_sent.disconnect(one_more)
    assert set(statuses()) == {"sent"}
    assert set(deepest) == {1}
    assert len(deepest) > 1


@pytest.mark.django_db(transaction=True)
def test_each_eager_mail_is_delivered_however_fast_they_come(eager):
    """Nothing is coalesced: no sweep would find what such a hint was for."""
    with ScriptedServer() as server, eager_queue(server):
        for number in range(1, 4):
            mail().send()
            assert len(server.messages) == number


@pytest.mark.django_db(transaction=True)
def test_a_drain_that_fails_in_place_fails_no_send(eager, monkeypatch, caplog):
    """The mail is stored, and the log has what happened."""

    def fail(*args, **kwargs):
        raise ZeroDivisionError

    with ScriptedServer() as server, eager_queue(server):
        monkeypatch.setattr(delivery, "drain", fail)
        current_app.conf.task_eager_propagates = True
        try:
            assert mail().send() == 1
        finally:
            current_app.conf.task_eager_propagates = False
    assert "ZeroDivisionError" in caplog.text
    assert statuses() == ["queued"]


# -- the end of a worker -------------------------------------------------------------------------


def test_each_way_to_stop_a_worker_tells_its_drains(monkeypatch):
    """A signal, remote control, or the beginning of a soft shutdown."""
    order = []

    class Worker:
        def wait_for_soft_shutdown(self):
            order.append(sign.is_raised())

    sign = delivery.StopSign()
    monkeypatch.setattr(tasks, "stop_sign", sign)
    worker = Worker()
    step = tasks.StopStep(worker)
    step.start(worker)
    worker.wait_for_soft_shutdown()
    assert order == [True]
    tasks.StopStep(worker)
    assert not sign.is_raised()
    step.close(worker)
    assert sign.is_raised()
    tasks.StopStep(worker)
    signals.worker_shutting_down.send(sender="worker", sig="TERM", how="Warm", exitcode=0)
    assert sign.is_raised()
    step.stop(worker)


def test_a_drain_that_is_called_heeds_no_worker(monkeypatch, hints):
    """A worker that ran in a test's thread, and was stopped, says nothing about the next test."""
    asked = []
    monkeypatch.setattr(tasks, "_drain", lambda mailer, stopping, **_: asked.append(stopping()))
    tasks.stop_sign.lower()
    tasks.stop_sign.raise_it()
    try:
        tasks.drain("default")
        tasks.drain.apply(("default",))
    finally:
        tasks.stop_sign.lower()
    assert asked == [False, False]


@pytest.mark.django_db
def test_a_soft_limit_of_a_child_is_heard_at_the_next_safe_point(monkeypatch, hints):
    """Its exception would fall between a content and its reply: the drain is told instead."""
    heard = []

    def limit_and_look(*args, stopping, **kwargs):
        heard.append(stopping())
        signal.raise_signal(SIG_SOFT_TIMEOUT)
        heard.append(stopping())

    before = signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    monkeypatch.setattr(delivery, "drain", limit_and_look)
    try:
        with real_queue(host="127.0.0.1", port=1):
            tasks.drain("default")
        assert signal.getsignal(SIG_SOFT_TIMEOUT) is soft_timeout_sighandler
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, before)
    assert heard == [False, True]


@pytest.mark.django_db
def test_a_thread_of_a_child_has_no_signals(monkeypatch, hints):
    """A drain that is called in one runs as it does anywhere."""
    ended = []
    monkeypatch.setattr(delivery, "drain", lambda *args, stopping, **_: ended.append(stopping()))
    monkeypatch.setattr(delivery, "postponed", lambda again: False)
    before = signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)
    try:
        with real_queue(host="127.0.0.1", port=1):
            thread = threading.Thread(target=tasks.drain, args=("default",))
            thread.start()
            thread.join()
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, before)
    assert ended == [False]


def test_a_hard_limit_of_the_site_alone_does_not_keep_hints_back(monkeypatch, hints):
    """Celery publishes no task whose soft limit is longer: ours comes before it, and is a stop."""
    monkeypatch.setattr(tasks.drain, "time_limit", 300)
    monkeypatch.setattr(tasks.drain, "soft_time_limit", tasks.SOFT_LIMIT)
    with pytest.raises(ValueError, match="soft_time_limit"):
        tasks.drain.apply_async(("default",))
    Broker(monkeypatch)
    tasks.wake("default")
    assert tasks.drain.soft_time_limit == 240


def test_no_limit_of_the_site_is_shorter_than_a_reply_may_take():
    """A task that says nothing has the site's limit: ours say what they need."""
    for task in (tasks.drain, tasks.sweep, tasks.purge):
        assert 20 + 600 < task.soft_time_limit < task.time_limit
