"""Receivers, and the setting that names them."""

from __future__ import annotations

import pytest

from tests.webhooks.receiver import SECRET, receiving


@pytest.fixture
def receiver():
    """Return a web server that takes events."""
    with receiving() as receiver:
        yield receiver


@pytest.fixture
def hook(receiver, settings):
    """Return a function that configures the receiver as the webhook "crm", with these options."""

    def configure(name="crm", url=None, **options):
        others = getattr(settings, "SMTPX_WEBHOOKS", None) or {}
        entry = {"url": url or receiver.url, "secret": SECRET, **options}
        settings.SMTPX_WEBHOOKS = {**others, name: entry}

    configure()
    return configure
