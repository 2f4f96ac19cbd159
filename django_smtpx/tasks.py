"""THE file that names Celery; it decides nothing.

The broker carries hints, never mail: a mailer's name, no id, no content, no
credential. A hint that is lost costs at most one sweep interval, so each is
published once, without a retry, and dropped by the broker when it is older
than that.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.pool import SIG_SOFT_TIMEOUT, soft_timeout_sighandler
from celery import bootsteps, current_app, shared_task, signals
from celery.exceptions import SoftTimeLimitExceeded

from django_smtpx import delivery
from django_smtpx.config import mailer_errors, mailers, sweep_interval
from django_smtpx.signals import events_stored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from celery import Task
    from celery.worker import WorkController

DRAIN, WEBHOOKS = "django_smtpx.drain", "django_smtpx.webhooks"
"""Tasks that many calls of one process may ask for within a moment."""

PATIENCE = 1.5
"""Seconds that publishing a hint may take before the caller goes on without it."""

SILENCE = 10.0
"""Seconds without a hint after one could not be published: an outage costs one wait."""

COALESCE = 0.1
"""Seconds after a hint in which the same process sends no other for the same mailer.

A drain looks again after as long, so what is committed in between is found.
"""

SOFT_LIMIT = 3600
"""Seconds after which a task of ours ends, whatever the site's limit is for its own tasks.

A drain begins nothing after 20 s, and then waits for replies: ten minutes for one (RFC 5321
section 4.5.3.2.6). A limit that is shorter would end it in the middle, and a task that says
nothing has the site's.
"""

HARD_LIMIT = 3900
"""Seconds after which Celery kills the process of a task of ours."""

logger = logging.getLogger("django_smtpx.tasks")
stop_sign = delivery.StopSign()


@shared_task(
    name=DRAIN,
    ignore_result=True,
    max_retries=0,
    soft_time_limit=SOFT_LIMIT,
    time_limit=HARD_LIMIT,
)
def drain(mailer: str) -> None:
    """Deliver what is due for one mailer."""
    if _in_a_worker(drain):
        _drain_in_a_worker(mailer)
    elif not delivery.postponed(lambda: hints.send_drain(mailer)):
        in_place.drain(mailer)


@shared_task(
    name="django_smtpx.sweep",
    ignore_result=True,
    max_retries=0,
    soft_time_limit=SOFT_LIMIT,
    time_limit=HARD_LIMIT,
)
def sweep() -> None:
    """Wake what is due, and reclaim expired leases."""
    here = _drain_in_a_worker if _in_a_worker(sweep) else in_place.drain
    delivery.sweep(hints.send_drain, hints.send_purge, here=here, tell=hints.send_webhooks)


@shared_task(
    name="django_smtpx.purge",
    ignore_result=True,
    max_retries=0,
    soft_time_limit=SOFT_LIMIT,
    time_limit=HARD_LIMIT,
)
def purge() -> None:
    """Apply the retention, for some seconds: the next sweep goes on with what is left."""
    delivery.purge_a_while(stop_sign.is_raised if _in_a_worker(purge) else delivery.never)


@shared_task(
    name=WEBHOOKS,
    ignore_result=True,
    max_retries=0,
    soft_time_limit=SOFT_LIMIT,
    time_limit=HARD_LIMIT,
)
def webhooks(endpoint: str) -> None:
    """Post what is due to one webhook."""
    if _in_a_worker(webhooks):
        _post(endpoint, stop_sign.is_raised)
    elif not delivery.postponed(lambda: hints.send_webhooks(endpoint)):
        in_place.post(endpoint)


def _post(endpoint: str, stopping: Callable[[], bool], linger: float = COALESCE) -> None:
    try:
        with _soft_limit_as_stop() as limit_reached:
            delivery.post_events(
                endpoint,
                wake=lambda: hints.send_webhooks(endpoint),
                linger=linger,
                stopping=lambda: limit_reached() or stopping(),
            )
    except SoftTimeLimitExceeded:
        hints.send_webhooks(endpoint)


def _drain_in_a_worker(mailer: str) -> None:
    _drain(mailer, stop_sign.is_raised)


def _drain(mailer: str, stopping: Callable[[], bool], linger: float = COALESCE) -> None:
    known = mailers().get(mailer)
    if known is None:
        logger.error("No mailer %r is configured here, or it is invalid: its mail waits.", mailer)
        return
    try:
        with _soft_limit_as_stop() as limit_reached:
            delivery.drain(
                known,
                wake=lambda: hints.send_drain(mailer),
                linger=linger,
                stops=(SoftTimeLimitExceeded,),
                stopping=lambda: limit_reached() or stopping(),
            )
    except SoftTimeLimitExceeded:
        # The site's own limit: what was known is settled, what was not begun is back.
        hints.send_drain(mailer)


def _in_a_worker(task: Task[Any, Any]) -> bool:
    """Say whether ``task`` runs in a worker, and not in the process and thread that called it."""
    return not (task.request.called_directly or task.request.is_eager)


@contextmanager
def _soft_limit_as_stop() -> Iterator[Callable[[], bool]]:
    """Let a soft time limit end a drain when it is at a safe point; yield whether it is reached.

    A child of the prefork pool raises it wherever it is: between a content and its reply, too.
    """
    reached: list[int] = []
    in_main = threading.current_thread() is threading.main_thread()
    if not in_main or signal.getsignal(SIG_SOFT_TIMEOUT) is not soft_timeout_sighandler:
        yield delivery.never
        return
    signal.signal(SIG_SOFT_TIMEOUT, lambda number, frame: reached.append(number))
    try:
        yield lambda: bool(reached)
    finally:
        signal.signal(SIG_SOFT_TIMEOUT, soft_timeout_sighandler)


class InPlace(threading.local):
    """Work in the thread that asks for it, as CELERY_TASK_ALWAYS_EAGER has it."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[str], None], str]] | None = None

    def drain(self, mailer: str) -> None:
        """Drain ``mailer``, and then whom that has woken."""
        self._run(_drain_in_place, mailer)

    def post(self, endpoint: str) -> None:
        """Tell a webhook what is due, behind the drain that made it so."""
        self._run(_post_in_place, endpoint)

    def _run(self, work: Callable[[str], None], name: str) -> None:
        """Do one behind the other, never within."""
        if self._waiting is not None:
            if (work, name) not in self._waiting:
                self._waiting.append((work, name))
            return
        self._waiting = [(work, name)]
        try:
            while self._waiting:
                next_work, its = self._waiting.pop(0)
                next_work(its)
        finally:
            self._waiting = None


def _drain_in_place(mailer: str) -> None:
    _drain(mailer, delivery.never, linger=0.0)


def _post_in_place(endpoint: str) -> None:
    _post(endpoint, delivery.never, linger=0.0)


in_place = InPlace()


def wake(mailer: str) -> None:
    """Hint that ``mailer`` has mail; at most once in :data:`COALESCE` seconds a process."""
    if current_app.conf.task_always_eager:
        hints.send_drain(mailer)
    else:
        hints.coalesced_drain(mailer)


def wake_webhooks(endpoints: Iterable[str], **kwargs: object) -> None:
    """Hint that webhooks have something to be told."""
    for endpoint in endpoints:
        wake_webhook(endpoint)


def wake_webhook(endpoint: str) -> None:
    """Hint that a webhook has something to be told, as :func:`wake` does for mail."""
    if current_app.conf.task_always_eager:
        hints.send_webhooks(endpoint)
    else:
        hints.coalesced_webhooks(endpoint)


events_stored.connect(wake_webhooks, weak=False, dispatch_uid="django_smtpx.tasks")


class Hints:
    """What this process has published lately, and whether the broker took it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.Lock()
        self._sent: dict[tuple[str, str], float] = {}
        self._silent_until = 0.0

    def coalesced_drain(self, mailer: str) -> None:
        """Publish a hint for ``mailer`` unless one has just been sent."""
        if self._is_new(DRAIN, mailer):
            self.send_drain(mailer)

    def coalesced_webhooks(self, endpoint: str) -> None:
        """Publish a hint for a webhook unless one has just been sent."""
        if self._is_new(WEBHOOKS, endpoint):
            self.send_webhooks(endpoint)

    def _is_new(self, task: str, name: str) -> bool:
        now = time.monotonic()
        key = (task, name)
        with self._lock:
            if now - self._sent.get(key, -COALESCE) < COALESCE:
                return False
            self._sent[key] = now
        return True

    def send_drain(self, mailer: str) -> None:
        """Publish a hint for ``mailer``."""
        self._publish(drain, mailer)

    def send_webhooks(self, endpoint: str) -> None:
        """Publish a hint for a webhook."""
        self._publish(webhooks, endpoint)

    def send_sweep(self) -> None:
        """Publish the sweep."""
        self._publish(sweep)

    def send_purge(self) -> None:
        """Publish the retention's run."""
        self._publish(purge)

    def _publish(self, task: Task[Any, Any], *args: str) -> None:
        """Publish once, and wait no longer than :data:`PATIENCE`; no failure reaches the caller."""
        if time.monotonic() < self._silent_until or not _site_has_celery():
            return
        if current_app.conf.task_always_eager:
            _run_quietly(task, args)
            return
        done: list[bool] = []
        # In a thread of its own: transports differ in which of their waits
        # can be bounded, and a send() is never delayed by more than this.
        thread = threading.Thread(
            target=lambda: done.append(_publish_quietly(task, args)), daemon=True
        )
        thread.start()
        thread.join(PATIENCE)
        if not done or not done[0]:
            self._silent_until = time.monotonic() + SILENCE
            if not done:
                logger.warning(
                    "The broker took no hint within %s s; the sweep finds the mail.", PATIENCE
                )


hints = Hints()
os.register_at_fork(after_in_child=hints.forget)


def _site_has_celery() -> bool:
    """Say whether there is an app to hint to: Celery's own stand-in for one has no broker.

    It would speak to whatever RabbitMQ runs on this machine.
    """
    stand_in = current_app.main == "default" and not current_app.conf.broker_url
    return not stand_in or bool(os.environ.get("CELERY_BROKER_URL"))


def _keep_limits_in_order(task: Task[Any, Any]) -> None:
    """Let the soft limit come before the hard one, which a site's annotation may have set alone.

    Celery would not publish the task; and a drain that is told in time is at a safe point by then.
    """
    soft, hard = task.soft_time_limit, task.time_limit
    if soft and hard and soft > hard:
        task.soft_time_limit = max(1, int(hard * 0.8))


def _publish_quietly(task: Task[Any, Any], args: tuple[str, ...]) -> bool:
    try:
        _keep_limits_in_order(task)
        task.apply_async(args, retry=False, expires=sweep_interval(), ignore_result=True)
    except Exception as error:  # noqa: BLE001 (whatever a transport raises, the mail is stored)
        logger.warning("A hint could not be published (%s); the sweep finds the mail.", error)
        return False
    return True


def _run_quietly(task: Task[Any, Any], args: tuple[str, ...]) -> None:
    try:
        _keep_limits_in_order(task)
        task.apply_async(args)
    except Exception:
        logger.exception("%s failed; the mail is stored, and waits.", task.name)


class StopStep(bootsteps.StartStopStep):
    """Tells the drains of every process of a worker that it stops."""

    def __init__(self, parent: WorkController, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        # Before the pool is started: its children share the sign.
        stop_sign.lower()

    def start(self, parent: WorkController) -> None:
        """See to it that a soft shutdown is known at its beginning, and not when it is over."""
        wait = parent.wait_for_soft_shutdown

        def told_first() -> None:
            stop_sign.raise_it()
            wait()

        parent.wait_for_soft_shutdown = told_first  # type: ignore[method-assign, assignment]

    def close(self, parent: WorkController) -> None:
        """Say so, however the worker was told: by a signal, by remote control, by a test."""
        stop_sign.raise_it()

    def stop(self, parent: WorkController) -> None:
        """Leave the pool to Celery: it waits for the drains."""


class SweepStep(bootsteps.StartStopStep):
    """Runs the sweep inside every worker, so that none needs beat."""

    requires = ("celery.worker.components:Timer",)

    def __init__(self, parent: WorkController, **kwargs: Any) -> None:
        super().__init__(parent, **kwargs)
        self._entry: Any = None

    def start(self, parent: WorkController) -> None:
        """Sweep at once, and then every interval; say which mailers cannot be used."""
        for name, error in mailer_errors().items():
            logger.error("Mailer %r cannot be used, and its mail waits: %s", name, error)
        timer: Any = parent.timer
        if mailers():
            timer.call_after(0, hints.send_sweep)
            self._entry = timer.call_repeatedly(sweep_interval(), hints.send_sweep)

    def stop(self, parent: WorkController) -> None:
        """Sweep no more."""
        if self._entry is not None:
            self._entry.cancel()


@signals.celeryd_init.connect(weak=False)
def _add_steps(instance: WorkController | None = None, **kwargs: object) -> None:
    if instance is not None:
        instance.app.steps["worker"].update((StopStep, SweepStep))


@signals.worker_shutting_down.connect(weak=False)
def _tell_drains(**kwargs: object) -> None:
    # In the signal's handler: under the solo pool a drain has this thread.
    stop_sign.raise_it()


@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def _say_quit(**kwargs: object) -> None:
    delivery.close()
