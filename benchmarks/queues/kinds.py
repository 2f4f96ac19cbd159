"""What differs from queue to queue: settings, and how its queued mail is sent in this process."""

from __future__ import annotations

import tempfile
from abc import ABC, abstractmethod
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SMTP = "django.core.mail.backends.smtp.EmailBackend"


class Kind(ABC):
    """One queue as a site has it; nothing of it is imported before Django is set up.

    ``site`` is what is in ``BENCHMARK_SITE``.
    """

    name: str
    apps: tuple[str, ...]
    backend: str

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """Return the settings that are this queue's own."""
        return {}

    @abstractmethod
    def drain(self) -> None:
        """Send what is queued, in this process, until there is no more."""

    def waiting(self) -> int:
        """Return how many messages are in the database and not known to be sent."""
        return 0


class Ours(Kind):
    """django_smtpx."""

    name = "django_smtpx"
    apps = ("django_smtpx",)
    backend = "django_smtpx.backend.EmailBackend"

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """One mailer, with the defaults."""
        import django

        options = {"host": site["host"], "port": site["port"]}
        if django.VERSION >= (6, 1):
            return {"MAILERS": {"default": {"BACKEND": self.backend, "OPTIONS": options}}}
        return {"EMAIL_BACKEND": self.backend, "SMTPX_MAILERS": {"default": options}}

    def drain(self) -> None:
        """Run ``smtpx_deliver``."""
        from django.core.management import call_command

        call_command("smtpx_deliver", verbosity=0)

    def waiting(self) -> int:
        """Count deliveries."""
        from django_smtpx.models import Delivery

        return Delivery.objects.exclude(status="sent").count()


class Floor(Ours):
    """The statements and the bytes of django_smtpx alone."""

    name = "floor"
    backend = "benchmarks.queues.floor.Backend"

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """Keep where the server is for the drain."""
        import django

        if django.VERSION >= (6, 1):
            mailers: dict[str, Any] = {"MAILERS": {"default": {"BACKEND": self.backend}}}
        else:
            mailers = {"EMAIL_BACKEND": self.backend}
        return {**mailers, "FLOOR_ADDRESS": (site["host"], site["port"])}

    def drain(self) -> None:
        """Send what is stored, and look at nothing."""
        from django.conf import settings

        from benchmarks.queues.floor import drain

        drain(settings.FLOOR_ADDRESS)


class Classic(Kind):
    """A queue that sends with Django's own SMTP backend."""

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """Say where the server is."""
        return {
            "EMAIL_BACKEND": self.backend,
            "EMAIL_HOST": site["host"],
            "EMAIL_PORT": site["port"],
        }


class PostOffice(Classic):
    """django-post-office."""

    name = "post_office"
    apps = ("post_office",)
    backend = "post_office.EmailBackend"

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """As many threads, and as large batches, as it is to be measured with."""
        own = {
            "BACKENDS": {"default": SMTP},
            "THREADS_PER_PROCESS": site["threads"],
            "BATCH_SIZE": site["batch"],
        }
        return {**super().settings(site), "POST_OFFICE": own}

    def drain(self) -> None:
        """Run ``send_queued_mail``."""
        from django.core.management import call_command

        with tempfile.TemporaryDirectory() as folder:
            call_command("send_queued_mail", processes=1, lockfile=str(Path(folder) / "lock"))

    def waiting(self) -> int:
        """Count emails."""
        from post_office.models import STATUS, Email

        return Email.objects.exclude(status=STATUS.sent).count()


class DjangoMailer(Classic):
    """django-mailer."""

    name = "django-mailer"
    apps = ("mailer",)
    backend = "mailer.backend.DbBackend"

    def settings(self, site: Mapping[str, Any]) -> dict[str, Any]:
        """No file to lock: there is one process, and the rows are locked all the same."""
        return {**super().settings(site), "MAILER_USE_FILE_LOCK": False}

    def drain(self) -> None:
        """Run ``send_mail``."""
        from django.core.management import call_command

        call_command("send_mail")

    def waiting(self) -> int:
        """Count messages; those that are sent have gone."""
        from mailer.models import Message

        return Message.objects.count()


class CeleryEmail(Classic):
    """django-celery-email, which keeps mail in the broker."""

    name = "celery-email"
    apps = ("djcelery_email",)
    backend = "djcelery_email.backends.CeleryEmailBackend"

    def drain(self) -> None:
        """Refuse: what is in the broker, only a Celery worker sends."""
        raise RuntimeError("django-celery-email has no command that sends what is queued.")


KINDS: dict[str, Kind] = {
    kind.name: kind for kind in (Ours(), Floor(), PostOffice(), DjangoMailer(), CeleryEmail())
}
