"""THE file that names Celery; it decides nothing.

The broker carries hints, never mail: a mailer's name, no id, no content, no
credential. A hint that is lost costs at most one sweep interval, so each is
published once, without a retry, and dropped by the broker when it is older
than that.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from typing import TYPE_CHECKING, Any

from celery import bootsteps, current_app, shared_task, signals
from celery.exceptions import SoftTimeLimitExceeded

from django_smtpx import delivery
from django_smtpx.config import mailer_errors, mailers, sweep_interval
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from celery import Task
    from celery.worker import WorkController

PATIENCE = 1.5
"""Seconds that publishing a hint may take before the caller goes on without it."""

SILENCE = 10.0
"""Seconds without a hint after one could not be published: an outage costs one wait."""

COALESCE = 0.1
"""Seconds after a hint in which the same process sends no other for the same mailer.

A drain looks again after as long, so what is committed in between is found.
"""

logger = logging.getLogger("django_smtpx.tasks")


@shared_task(name="django_smtpx.drain", ignore_result=True, max_retries=0)
def drain(mailer: str) -> None:
    """Deliver what is due for one mailer."""
    known = mailers().get(mailer)
    if known is None:
        logger.error("No mailer %r is configured here, or it is invalid: its mail waits.", mailer)
        return
    try:
        delivery.drain(
            known,
            wake=lambda: hints.send_drain(mailer),
            linger=COALESCE,
            stops=(SoftTimeLimitExceeded,),
        )
    except SoftTimeLimitExceeded:
        # The site's own limit: what was known is settled, what was not begun is back.
        hints.send_drain(mailer)


@shared_task(name="django_smtpx.sweep", ignore_result=True, max_retries=0)
def sweep() -> None:
    """Wake what is due, and reclaim expired leases."""
    delivery.sweep(hints.send_drain, hints.send_purge, here=drain)


@shared_task(name="django_smtpx.purge", ignore_result=True, max_retries=0)
def purge() -> None:
    """Apply the retention."""
    delivery.purge()


def wake(mailer: str) -> None:
    """Hint that ``mailer`` has mail; at most once in :data:`COALESCE` seconds a process."""
    hints.coalesced_drain(mailer)


class Hints:
    """What this process has published lately, and whether the broker took it."""

    def __init__(self) -> None:
        self.forget()

    def forget(self) -> None:
        """Begin anew, as a forked child does."""
        self._lock = threading.Lock()
        self._sent: dict[str, float] = {}
        self._silent_until = 0.0

    def coalesced_drain(self, mailer: str) -> None:
        """Publish a hint for ``mailer`` unless one has just been sent."""
        now = time.monotonic()
        with self._lock:
            if now - self._sent.get(mailer, -COALESCE) < COALESCE:
                return
            self._sent[mailer] = now
        self.send_drain(mailer)

    def send_drain(self, mailer: str) -> None:
        """Publish a hint for ``mailer``."""
        self._publish(drain, mailer)

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
            _publish_quietly(task, args)
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


def _publish_quietly(task: Task[Any, Any], args: tuple[str, ...]) -> bool:
    try:
        task.apply_async(args, retry=False, expires=sweep_interval(), ignore_result=True)
    except Exception as error:  # noqa: BLE001 (whatever a transport raises, the mail is stored)
        logger.warning("A hint could not be published (%s); the sweep finds the mail.", error)
        return False
    return True


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
def _add_sweep(instance: WorkController | None = None, **kwargs: object) -> None:
    if instance is not None:
        instance.app.steps["worker"].add(SweepStep)


@signals.worker_process_shutdown.connect(weak=False)
@signals.worker_shutdown.connect(weak=False)
def _say_quit(**kwargs: object) -> None:
    default_pool.close()
