"""Drains that wait for what strangers say of a domain: what they hold meanwhile, and their end."""

from __future__ import annotations

import time
import uuid

import pytest

from django_smtpx import delivery, pacing
from django_smtpx.config import get_mailer
from django_smtpx.models import Attempt, Delivery, Slot
from django_smtpx.mx import waiting
from django_smtpx.mx.policy_host import Unavailable
from django_smtpx.smtp.pool import default_pool
from tests.delivery.mxsite import MXSite, send
from tests.factories import statuses

pytestmark = pytest.mark.django_db

LONG = 30.0
"""Seconds after which nobody has done what the test waits for."""


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture
def site(tmp_path):
    """A site with one domain, whose policy is not known yet."""
    with MXSite(tmp_path, dane=False) as site:
        site.server("mx.one.example", "127.0.0.101")
        site.domain("one.example", "mx.one.example")
        site.dns.gives("_mta-sts.one.example", "TXT", '"v=STSv1; id=1;"')
        yield site


@pytest.fixture
def fetching(monkeypatch):
    """Return a function that sets what is done in place of fetching a policy, which then fails."""

    def let(do):
        def fetch(domain):
            do()
            raise Unavailable(f"{domain} has no policy")

        monkeypatch.setattr("django_smtpx.mx.policy_host.PolicyHosts", lambda *_, **__: fetch)

    return let


def drain(stopping=lambda: False):
    """Drain the default mailer."""
    return delivery.drain(get_mailer("default"), stopping=stopping)


def wait_until(came):
    """Wait as a fetch does."""
    end = time.monotonic() + LONG
    while not came() and time.monotonic() < end:
        waiting.look()
        time.sleep(0.01)


def test_a_worker_that_stops_does_not_wait_for_a_policy(site, fetching):
    """A web server that is silent for a minute does not keep it; the mail has not been tried."""
    stopped = []

    def silent():
        stopped.append(True)
        wait_until(lambda: False)

    fetching(silent)
    send("a@one.example", "b@one.example")
    begun = time.monotonic()
    drain(stopping=lambda: bool(stopped))
    assert time.monotonic() - begun < LONG / 2
    assert statuses() == ["queued", "queued"]
    assert not Attempt.objects.exists()
    assert not Delivery.objects.exclude(lease_token=None).exists()
    assert not Slot.objects.exclude(token=None).exists()
    assert not site.servers["mx.one.example"].sessions


def test_what_is_held_is_kept_while_a_policy_is_fetched(site, fetching, settings, monkeypatch):
    """The claim and the slot last for as long as it takes, and the mail goes then."""
    settings.SMTPX_LEASE = 3
    held = []

    def look():
        return (Delivery.objects.get().lease_expires_at, Slot.objects.get(number=0).expires_at)

    def slow():
        before = look()
        # What was taken for 30 seconds is due to be renewed.
        monkeypatch.setattr(pacing, "SLOT_LEASE", 60.0)
        wait_until(lambda: all(new > old for new, old in zip(look(), before, strict=True)))
        held.extend(zip(look(), before, strict=True))

    fetching(slow)
    send("a@one.example")
    drain()
    assert len(held) == 2
    assert all(new > old for new, old in held)
    assert statuses() == ["sent"]


def test_a_slot_that_was_lost_while_a_policy_was_fetched(site, fetching):
    """Somebody else has the connection now, so that there is none here; the mail is free again."""

    def frozen():
        Slot.objects.filter(number=0).update(token=uuid.uuid4())

    fetching(frozen)
    send("a@one.example")
    drain()
    assert not site.servers["mx.one.example"].sessions
    assert statuses() == ["queued"]
    assert not Delivery.objects.exclude(lease_token=None).exists()
    assert not Attempt.objects.exists()
