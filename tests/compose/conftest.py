"""What the tests of composition begin with."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from django_smtpx.compose import compose
from django_smtpx.mailer import Mailer
from django_smtpx.smtp.options import Options, Security

NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)
HOSTS = (Options(host="a.example", port=25, security=Security.NONE),)
MAILER = Mailer(name="default", hosts=HOSTS)


@pytest.fixture
def composed():
    """Return a function that composes a message for a mailer with some fields of its own."""

    def run(message, **fields):
        mailer = Mailer(name="default", hosts=HOSTS, **fields) if fields else MAILER
        return compose(message, mailer, NOW)

    return run
