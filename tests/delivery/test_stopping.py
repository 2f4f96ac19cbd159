"""Drains that are told to end."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from django_smtpx import delivery, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import chunk as chunk_module
from django_smtpx.delivery import contact
from django_smtpx.mailer import Way
from django_smtpx.models import Attempt, Delivery, Slot
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import Delay, ScriptedServer, Silence, real_queue
from tests.factories import statuses, stored

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch):
    monkeypatch.setattr(chunk_module, "MAX_SECONDS", 0.05)
    monkeypatch.setattr(contact, "LOOK_EVERY", 0.05)


def drain(stopping):
    """Drain the default mailer; return how often it asked for a successor."""
    woken = []
    delivery.drain(get_mailer("default"), wake=lambda: woken.append(1), stopping=stopping)
    return len(woken)


def nothing_is_held():
    """Say whether no delivery is claimed and no slot is taken."""
    claimed = Delivery.objects.exclude(lease_token=None).exists()
    return not claimed and not Slot.objects.exclude(token=None).exists()


def test_a_drain_ends_between_two_messages():
    """What has been begun is delivered, the rest is as if never claimed, and the session says QUIT."""
    with ScriptedServer() as server, real_queue(server):
        for number in range(15):
            stored(f"{number}@example.com")
        assert drain(lambda: server.message_count >= 3) == 1
        assert 3 <= server.message_count < 10
        assert server.sessions[0].verbs[-1] == "QUIT"
        done = server.message_count
    assert statuses() == ["sent"] * done + ["queued"] * (15 - done)
    assert not Delivery.objects.filter(marked=True).exists()
    assert nothing_is_held()


def test_a_drain_that_begins_in_a_worker_that_stops_leaves_it_to_another():
    """It takes nothing, and says that there is something to do."""
    with ScriptedServer() as server, real_queue(server):
        stored()
        assert drain(lambda: True) == 1
        assert server.sessions == ()
    assert statuses() == ["queued"]
    assert nothing_is_held()


@pytest.mark.parametrize("verb", ["CONNECT", "EHLO", "MAIL", "RCPT", "DATA"])
def test_a_silent_server_does_not_keep_a_drain_before_a_content_has_left(verb):
    """No attempt is made of it: neither the mail nor the server has failed."""
    with ScriptedServer({verb: Silence()}) as server, real_queue(server):
        stored("a@example.com")
        stored("b@example.com")
        assert drain(lambda: bool(server.sessions)) == 0
    assert statuses() == ["queued", "queued"]
    assert not Attempt.objects.exists()
    assert nothing_is_held()


def test_the_reply_to_a_content_is_awaited(caplog):
    """Its answer is the only one that there will ever be; what stands behind it does not wait."""
    stop = threading.Event()
    script = {"EOD": [Delay(0.5)]}
    with ScriptedServer(script) as server, real_queue(server):
        for number in range(5):
            stored(f"{number}@example.com")
        timer = threading.Timer(0.2, stop.set)
        timer.start()
        assert drain(stop.is_set) == 1
        timer.join()
        assert server.message_count == 1
    assert statuses() == ["sent", *["queued"] * 4]
    assert "has answered the content" in caplog.text
    assert nothing_is_held()


def test_a_drain_that_waits_for_its_turn_by_the_rate_ends(monkeypatch):
    """A second's patience with the rate is too long for a worker that stops."""
    naps = []
    stop = threading.Event()

    def nap(seconds):
        naps.append(seconds)
        stop.set()

    monkeypatch.setitem(pacing.Meter.__init__.__kwdefaults__, "sleep", nap)
    with ScriptedServer() as server, real_queue(server, rate="1/s"):
        for number in range(3):
            stored(f"{number}@example.com")
        drain(stop.is_set)
        assert server.message_count == 1
    assert len(naps) == 1
    assert statuses() == ["sent", "queued", "queued"]
    assert nothing_is_held()


def test_a_drain_that_waits_for_another_login_ends():
    """It gives up its place, and has not tried the password."""
    asked = []

    def stopping():
        asked.append(1)
        return len(asked) > 5

    with (
        ScriptedServer() as server,
        real_queue(server, username="u", password="p", allow_plaintext_auth=True),
    ):
        stored()
        way = Way(get_mailer("default"))
        assert pacing.take_login(way, delivery.draining.ledger.now()) is not None
        assert drain(stopping) == 0
        assert server.sessions == ()
    assert statuses() == ["queued"]
    assert nothing_is_held()


def test_an_ending_process_says_quit_and_gives_its_slots_back():
    """What an idle session holds goes with it, and not when its lease has run out."""
    with ScriptedServer() as server, real_queue(server):
        stored()
        drain(lambda: False)
        assert not nothing_is_held()
        delivery.close()
        assert server.sessions[0].verbs[-1] == "QUIT"
    assert nothing_is_held()


def test_children_share_the_sign_whenever_they_were_forked():
    """One byte, made before the fork: the parent raises it, and each child sees it."""
    code = """
import os, time, django
django.setup()
from django_smtpx.delivery.stopping import StopSign
sign = StopSign()
assert not sign.is_raised()
sign.raise_it()
assert not sign.is_raised()
sign.lower()
def child():
    pid = os.fork()
    if not pid:
        while not sign.is_raised():
            time.sleep(0.001)
        os._exit(7)
    return pid
early = child()
sign.raise_it()
late = child()
codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in (early, late)]
sign.lower()
assert codes == [7, 7] and not sign.is_raised()
"""
    settings = {**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60, env=settings)
