"""What newcomers and operators get wrong, made real: ``smtpx_check`` names the cause of each.

Real servers say what they say; only what the large providers alone answer is scripted. Each case is
looked at by the command itself, within 15 seconds, without sending and without showing a secret.
"""

from __future__ import annotations

import base64
import json
import logging
import socket
import time
from contextlib import ExitStack
from io import StringIO
from typing import TYPE_CHECKING, Any

import pytest
from django.core.management import CommandError, call_command

from django_smtpx.delivery import routing
from django_smtpx.diagnosis import DOMAIN_STEPS
from django_smtpx.smtp import probe
from django_smtpx.smtp.diagnosis import siblings
from django_smtpx.testing import real_queue
from tests.integration.conftest import skipping
from tests.integration.misconfigurations import CASES, SECRET, Case
from tests.integration.misconfigured import World, world

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.django_db, pytest.mark.timeout(60)]

LIMIT = 15.0
"""Seconds that a diagnosis may take."""


@pytest.fixture(scope="module")
def servers() -> Iterator[World]:
    """All servers, started once."""
    with ExitStack() as stack:
        with skipping():
            running = stack.enter_context(world())
        yield running


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name.replace(" ", "-"))
def test_the_cause_is_named(servers: World, case: Case, checking: Checking) -> None:
    """One step fails, or is noted, with what comes of it and what to do, in good time."""
    checking.ports(*(servers.ports[name] for name in case.ports))
    if case.knock:
        socket.create_connection(("127.0.0.1", servers.ports[case.knock])).close()
    found = checking.look(case, case.options(servers))
    assert found["ok"] is case.ok
    assert case.cause in found["cause"]
    assert case.mend in found["mend"]
    for name in case.ports:
        assert f"port {servers.ports[name]} " in found["mend"]


class Checking:
    """The command, and what is known of its output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, settings: Any, caplog: Any) -> None:
        self._monkeypatch = monkeypatch
        self._settings = settings
        self._caplog = caplog

    def ports(self, *numbers: int) -> None:
        """Let these be the ports of a host that are looked at besides its own."""
        self._monkeypatch.setattr(siblings, "PORTS", numbers)

    def look(self, case: Case, options: dict[str, Any]) -> dict[str, Any]:
        """Run the command, and return what it says of the step, the only one that may fail."""
        self._settings.DEFAULT_FROM_EMAIL = case.sender
        arguments = ("default", *case.arguments, "--format", "json")
        out, err, failed = StringIO(), StringIO(), ""
        begun = time.monotonic()
        with real_queue(**options):
            try:
                call_command("smtpx_check", *arguments, stdout=out, stderr=err)
            except CommandError as error:
                failed = str(error)
        assert time.monotonic() - begun < LIMIT
        said = out.getvalue() + err.getvalue() + failed + self._caplog.text
        password = options.get("password", SECRET)
        for secret in (password, f"\0outbox\0{password}"):
            assert secret not in said
            assert base64.b64encode(secret.encode()).decode().rstrip("=") not in said
        (diagnosis,) = json.loads(out.getvalue())["diagnoses"]
        found = {one["name"]: one for one in diagnosis["steps"]}
        failing = {name for name, one in found.items() if one["ok"] is False}
        assert failing <= {case.step, *DOMAIN_STEPS}
        return found[case.step]


@pytest.fixture
def checking(monkeypatch, settings, caplog) -> Iterator[Checking]:
    """The command, in a process that knows nothing yet, with all that is logged."""
    caplog.set_level(logging.DEBUG)
    probe.findings.forget()
    routing.forget()
    made = Checking(monkeypatch, settings, caplog)
    made.ports()
    yield made
    probe.findings.forget()
    routing.forget()
