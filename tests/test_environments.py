"""Where a site sends mail from: requests, async views, nested transactions, tests."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from asgiref.sync import sync_to_async
from django.core.exceptions import SynchronousOnlyOperation
from django.core.mail import send_mail
from django.db import connections, transaction
from django.http import HttpResponse
from django.test import AsyncClient, Client, TestCase
from django.urls import path
from django.utils import timezone

from django_smtpx import ledger, tasks
from django_smtpx.delivery import purge
from django_smtpx.models import Delivery, Message
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.factories import statuses


def mail(subject="S"):
    """Send a small mail."""
    send_mail(subject, "B", "from@example.com", ["to@example.com"])


def subjects():
    """Return the subjects of what is stored, in order."""
    return sorted(Message.objects.values_list("subject", flat=True))


# -- a small site --------------------------------------------------------------------------------


def sends(request):
    """Send a mail."""
    mail("sync")
    return HttpResponse()


def fails(request):
    """Send a mail, and fail."""
    mail("failed")
    raise ZeroDivisionError


async def asends(request):
    """Send as many mails as asked for, all at once."""
    count = int(request.GET["count"])
    await asyncio.gather(*[sync_to_async(mail)(f"async {n}") for n in range(count)])
    return HttpResponse()


async def asends_wrongly(request):
    """Send a mail without leaving the event loop."""
    mail("wrong")
    return HttpResponse()


urlpatterns = [
    path("sends/", sends),
    path("fails/", fails),
    path("asends/", asends),
    path("wrong/", asends_wrongly),
]


async def asked(path):
    """Return the response to a request, and leave no connection open in the thread of its calls."""
    try:
        return await AsyncClient().get(path)
    finally:
        await sync_to_async(connections.close_all)()


@pytest.fixture
def woken(monkeypatch, settings):
    """Serve the small site, and return the mailers that were hinted, as the hints are published."""
    settings.ROOT_URLCONF = __name__
    found = []
    with real_queue(host="127.0.0.1", port=1), monkeypatch.context() as patch:
        patch.setattr(tasks, "wake", found.append)
        yield found


@pytest.fixture
def atomic_requests(monkeypatch):
    """Wrap each view in a transaction."""
    monkeypatch.setitem(connections.settings["default"], "ATOMIC_REQUESTS", True)


# -- WSGI ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_request_that_fails_has_sent_nothing(woken, atomic_requests):
    """With ATOMIC_REQUESTS mail shares the fate of its request."""
    client = Client(raise_request_exception=False)
    assert client.get("/fails/").status_code == 500
    assert (subjects(), woken) == ([], [])
    assert client.get("/sends/").status_code == 200
    assert (subjects(), woken) == (["sync"], ["default"])


@pytest.mark.django_db(transaction=True)
def test_without_atomic_requests_what_was_sent_is_sent(woken):
    """Each send() is a transaction of its own then."""
    client = Client(raise_request_exception=False)
    assert client.get("/fails/").status_code == 500
    assert (subjects(), woken) == (["failed"], ["default"])


# -- ASGI ----------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_async_view_sends_many_at_once(woken):
    """Each by sync_to_async, and each is stored once."""
    response = asyncio.run(asked("/asends/?count=25"))
    assert response.status_code == 200
    assert subjects() == sorted(f"async {n}" for n in range(25))
    assert set(woken) == {"default"}


@pytest.mark.django_db(transaction=True)
def test_many_threads_send_at_once(woken):
    """Mail from as many threads as there are calls, each with a connection of its own."""

    def one(number):
        try:
            mail(f"thread {number}")
        finally:
            connections.close_all()

    async def all_of_them():
        apart = sync_to_async(one, thread_sensitive=False)
        await asyncio.gather(*[apart(number) for number in range(25)])

    asyncio.run(all_of_them())
    assert subjects() == sorted(f"thread {n}" for n in range(25))


@pytest.mark.django_db(transaction=True)
def test_the_event_loop_is_never_blocked(woken):
    """A send() in the loop itself is refused, as Django refuses every query there."""
    with pytest.raises(SynchronousOnlyOperation):
        asyncio.run(asked("/wrong/"))
    assert subjects() == []


# -- transactions --------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_an_inner_rollback_takes_its_mail_alone(woken):
    """What was sent in a savepoint that was rolled back was never sent, and wakes nobody."""
    with transaction.atomic():
        with pytest.raises(ZeroDivisionError), transaction.atomic():
            mail("inner")
            raise ZeroDivisionError
        assert woken == []
        mail("outer")
        with transaction.atomic():
            mail("nested")
        assert woken == []
    assert subjects() == ["nested", "outer"]
    assert set(woken) == {"default"}


@pytest.mark.django_db(transaction=True)
def test_only_an_inner_rollback_wakes_nobody(woken):
    """There is nothing to hint."""
    with transaction.atomic(), pytest.raises(ZeroDivisionError), transaction.atomic():
        mail("inner")
        raise ZeroDivisionError
    assert (subjects(), woken) == ([], [])


# -- database routers ----------------------------------------------------------------------------


class Replica:
    """A router whose other database for reading is behind: whoever reads there has lost."""

    def db_for_read(self, model, **hints):
        """Refuse to be asked for a model of the outbox."""
        assert model._meta.app_label != "django_smtpx", f"{model.__name__} is read elsewhere."


@pytest.mark.django_db(transaction=True)
def test_nothing_on_a_mails_way_reads_from_a_replica(settings):
    """Storing, delivering, putting off, sweeping, sending again and purging read where they write."""
    settings.DATABASE_ROUTERS = [Replica()]
    settings.SMTPX_CONTENT_RETENTION = settings.SMTPX_LOG_RETENTION = timedelta(0)
    script = {"RCPT": {"later@*": ["450 4.2.1 Busy"], "no@*": "550 5.1.1 Unknown"}}
    with ScriptedServer(script) as server, real_queue(server, suppression=True, rate="100/s"):
        for name in ("yes", "later", "no"):
            send_mail("S", "B", "from@example.com", [f"{name}@example.com"])
        deliver()
        rows = Delivery.objects.using("default")
        rows.update(next_attempt_at=timezone.now() - timedelta(seconds=1))
        tasks.sweep()
        tasks.drain("default")
        assert server.message_count == 2
        again = ledger.retry(ledger.Selection(recipient="no@example.com"), ledger.now())
        assert again.count == 1
        deliver()
        purge()
    assert not rows.exists()


# -- Django's TestCase ---------------------------------------------------------------------------


class InATestCase(TestCase):
    """What a site's own tests see."""

    def test_callbacks_are_captured(self):
        """There is one for the mail of a send(), and executing it publishes the hint."""
        found = []
        with real_queue(host="127.0.0.1", port=1), pytest.MonkeyPatch.context() as patch:
            patch.setattr(tasks, "wake", found.append)
            with self.captureOnCommitCallbacks() as callbacks:
                mail()
            assert (len(callbacks), found) == (1, [])
            with self.captureOnCommitCallbacks(execute=True):
                mail()
            assert found == ["default"]

    def test_the_queue_is_delivered_within_the_tests_own_transaction(self):
        """Which is open around it, and no transaction of the site's."""
        with ScriptedServer() as server, real_queue(server):
            mail()
            deliver()
            assert server.message_count == 1
        assert statuses() == ["sent"]
