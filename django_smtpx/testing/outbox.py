"""The real queue in a site's own tests, where Django puts ``locmem`` in place of every mailer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from unittest import mock

from django.test.utils import TestContextDecorator, override_settings

from django_smtpx import delivery, tasks
from django_smtpx.config import BACKEND, DEFAULT
from django_smtpx.config.settings import has_mailers, raw
from django_smtpx.smtp.pool import default_pool

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django_smtpx.testing.server import ScriptedServer


_NOBODY = {
    "username": "",
    "password": "",
    "ssl_keyfile": None,
    "ssl_certfile": None,
    "timeout": None,
    "security": "auto",
}


class real_queue(override_settings):  # noqa: N801 (a context manager and decorator, as its base)
    """Let mail go through the outbox, as it does in production, within a test.

    ``options`` are the OPTIONS of the default mailer; ``mailers`` has those of
    any other, by name. With ``server`` they point to that
    :class:`ScriptedServer`, as far as they do not say otherwise. A context
    manager, and a decorator for test functions, test methods and classes of
    tests, exactly as Django's ``override_settings``::

        def test_receipt(db):
            with ScriptedServer() as server, real_queue(server):
                send_receipt(order)
                deliver()
                assert server.messages[0].recipients == ("buyer@example.com",)

    Within it no hint is sent to a broker: mail is stored, and goes when
    :func:`deliver` is called. On Django 6.1 it sets MAILERS (where the site has
    that), else EMAIL_BACKEND and SMTPX_MAILERS. The site's other mailers stay
    what they are in tests.
    """

    def __init__(
        self,
        server: ScriptedServer | None = None,
        *,
        mailers: Mapping[str, Mapping[str, Any]] | None = None,
        **options: Any,
    ) -> None:
        super().__init__()
        self.server = server
        self.mailers = {DEFAULT: options, **(mailers or {})}
        self._no_hints = mock.patch.multiple(tasks, wake=_no_hint, wake_webhook=_no_hint)

    def decorate_class(self, cls: type) -> type:
        """Set the settings around each test of ``cls``, and not once for the class.

        ``override_settings`` would read its options now, before there is a server to read them of.
        """
        return TestContextDecorator.decorate_class(self, cls)

    def enable(self) -> None:
        """Set the settings; ``override_settings`` calls this."""
        base = {} if self.server is None else _options_for(self.server)
        mailers = {name: {**base, **options} for name, options in self.mailers.items()}
        self.options = _settings_for(mailers)
        super().enable()
        self._no_hints.start()

    def disable(self) -> None:
        """Set them back; ``override_settings`` calls this."""
        self._no_hints.stop()
        super().disable()
        default_pool.close()


def deliver(*mailers: str) -> int:
    """Deliver in this process what is due, and return how many outcomes there were.

    For the mailers named, or for all; until nothing is due. What is put off
    for later than now stays queued, as it would in production.
    """
    return delivery.run_until_idle(mailers or None)


def _no_hint(name: str) -> None:
    """Stand in for the hint to a worker: here ``deliver`` is the worker."""


def _options_for(server: ScriptedServer) -> dict[str, Any]:
    security = "implicit" if server.implicit_tls else "starttls" if server.starttls else "none"
    return {"host": server.host, "port": server.port, "security": security}


def _settings_for(mailers: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    if has_mailers():
        ours = {
            name: {"BACKEND": BACKEND, "OPTIONS": dict(options)}
            for name, options in mailers.items()
        }
        return {"MAILERS": {**raw("MAILERS"), **ours}}
    # The default mailer would log in with the site's own EMAIL_HOST_USER.
    own = {name: {**_NOBODY, **options} for name, options in mailers.items()}
    return {"EMAIL_BACKEND": BACKEND, "SMTPX_MAILERS": own}
