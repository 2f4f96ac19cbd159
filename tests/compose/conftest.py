"""What the tests of composition begin with."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime

import pytest

from django_smtpx.compose import compose, writer
from django_smtpx.compose.tree import Doubt
from django_smtpx.mailer import Mailer
from django_smtpx.smtp.options import Options, Security

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTS = (Options(host="a.example", port=25, security=Security.NONE),)
MAILER = Mailer(name="default", hosts=HOSTS)

WAYS = {
    "written": (),
    "the header by Django": ("write",),
    "all by Django": ("write", "parts"),
}
"""How a mail may be composed, and what of the writer has to be in doubt for that."""


@contextmanager
def way(name):
    """Compose in one of the ways; what is really in doubt goes on to the next."""
    with pytest.MonkeyPatch.context() as patch:
        for part in WAYS[name]:
            patch.setattr(writer, part, in_doubt)
        yield


def in_doubt(_):
    """Stand for a part of the writer that has met what it does not know."""
    raise Doubt


@pytest.fixture
def composed():
    """Return a function that composes a message for a mailer with some fields of its own."""

    def run(message, **fields):
        mailer = Mailer(name="default", hosts=HOSTS, **fields) if fields else MAILER
        return compose(message, mailer, NOW)

    return run
