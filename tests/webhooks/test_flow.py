"""From an outcome to a receiver that has taken it, over a real web server."""

from __future__ import annotations

import json
from datetime import timedelta
from unittest import mock

import pytest
from celery import current_app
from django.core.mail import send_mail
from django.db import connection, transaction
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx import delivery, ledger, tasks
from django_smtpx.models import Delivery, Suppression, WebhookEndpoint, WebhookEvent
from django_smtpx.testing import ScriptedServer, real_queue
from django_smtpx.webhooks import EVENTS
from tests.bounces.conftest import book
from tests.bounces.test_booking import bounced
from tests.docs.blocks import DOCS, blocks
from tests.factories import booking, claimed, stored
from tests.webhooks.receiver import SECRET

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
wake_webhook = tasks.wake_webhook


def told():
    """Return what is stored for webhooks: the event and the recipient of each, in order."""
    return [
        (event.event, json.loads(event.body)["data"]["recipient"])
        for event in WebhookEvent.objects.order_by("pk")
    ]


def test_what_was_sent_and_refused_is_told(receiver, hook):
    """A mail goes through a real queue, and each recipient's outcome is posted and signed."""
    with (
        ScriptedServer({"RCPT": {"no@*": "550 5.1.1 No such user"}}) as server,
        real_queue(server),
    ):
        message = stored("yes@example.com", "no@example.com", tags=["welcome"], metadata={"a": "é"})
        delivery.run_until_idle()
    by_recipient = {one.json["data"]["recipient"]: one.json for one in receiver.taken}
    assert by_recipient.keys() == {"yes@example.com", "no@example.com"}
    sent, failed = by_recipient["yes@example.com"], by_recipient["no@example.com"]
    assert (sent["type"], failed["type"]) == ("delivery.sent", "delivery.failed")
    assert sent["data"]["message"] == {
        "uuid": str(message.uuid),
        "message_id": message.message_id,
        "mailer": "default",
        "tags": ["welcome"],
        "metadata": {"a": "é"},
    }
    data = failed["data"]
    assert (data["code"], data["enhanced_code"]) == (550, "5.1.1")
    assert (data["category"], data["reply"]) == ("mailbox_unknown", "No such user")
    assert (data["attempt"], data["attempts"], data["next_attempt_at"]) == (1, 1, None)
    assert set(WebhookEvent.objects.values_list("state", flat=True)) == {"done"}


def documented(language, word):
    """Return the block of the page about webhooks with that word in it."""
    page = blocks(DOCS / "webhooks.md")
    (found,) = (one.text for one in page if one.language == language and word in one.text)
    return found


def test_the_receiver_of_the_documentation_takes_what_is_posted(receiver, hook, settings):
    """It believes what we sign, and nothing else: no other body, id, time or secret."""
    settings.CRM_WEBHOOK_SECRET = SECRET
    names = {}
    exec(documented("python", "def receive"), names)
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    delivery.post_events("crm")
    (request,) = receiver.taken

    def status(body=request.body, **changed):
        headers = {**request.headers, **changed}
        named = {f"HTTP_{name.upper().replace('-', '_')}": headers[name] for name in headers}
        made = RequestFactory().post("/", body, "application/json", **named)
        return names["receive"](made).status_code

    assert status() == 204
    assert status(request.body + b" ") == 403
    assert status(**{"webhook-id": "1"}) == 403
    assert status(**{"webhook-timestamp": "1"}) == 403
    assert status(**{"webhook-signature": "v1,AAAA"}) == 403
    assert status(**{"webhook-signature": "v1,AAAA " + request.headers["webhook-signature"]}) == 204
    settings.CRM_WEBHOOK_SECRET = "whsec_" + "A" * 32
    assert status() == 403


def test_an_event_looks_as_documented(receiver, hook):
    """The page's example has the fields of a real one, and no others."""

    def shape(value):
        return {k: shape(v) for k, v in value.items()} if isinstance(value, dict) else None

    example = json.loads(documented("json", "delivery.failed"))
    example["data"]["message"]["metadata"] = {}
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    event = WebhookEvent.objects.get()
    real = json.loads(event.body)
    assert shape(real) == shape(example)
    assert real["id"] == str(event.uuid)
    assert "from@example.com" not in event.body
    assert "Test " not in event.body


# -- each way in which a delivery gets somewhere -----------------------------------------------------


def test_a_mail_that_is_put_off_and_expires(hook):
    """``deferred`` with its next attempt, and ``failed`` without an attempt."""
    stored(expires_at=timezone.now() + HOUR)
    lease, rows = claimed()
    again = timezone.now() + HOUR / 2
    ledger.settle(lease, [booking(rows[0], "deferred", next_attempt_at=again)])
    ledger.expire(timezone.now() + 2 * HOUR)
    assert [kind for kind, _ in told()] == ["deferred", "failed"]
    first, last = (json.loads(event.body)["data"] for event in WebhookEvent.objects.order_by("pk"))
    assert first["next_attempt_at"].startswith(f"{again:%Y-%m-%dT%H:%M:%S}")
    assert (last["category"], last["attempt"], last["attempts"]) == ("expired", None, 1)


def test_a_worker_that_died(hook):
    """What it may have sent is ``unknown``."""
    stored()
    claimed(seconds=0.001)
    Delivery.objects.update(marked=True)
    ledger.reclaim(timezone.now() + HOUR)
    assert told() == [("unknown", "to@example.com")]


def test_a_mail_that_waits_for_long(hook):
    """Twice, as the signal."""
    stored()
    for later in (HOUR / 2, HOUR / 2, 4 * HOUR):
        ledger.notice_delays(timezone.now() + later)
    assert [kind for kind, _ in told()] == ["delayed", "delayed"]


def test_what_people_do(hook):
    """Withdrawn by one, said to have arrived by another."""
    first, second = stored("a@example.com"), stored("b@example.com")
    Delivery.objects.filter(message=second).update(status="unknown", lane=Delivery.Lane.OUT)
    at = timezone.now()
    keys = dict(Delivery.objects.values_list("message", "pk"))
    ledger.cancel(ledger.Selection(ids=(keys[first.pk],)), at)
    ledger.arrived(ledger.Selection(ids=(keys[second.pk],)), at)
    assert told() == [("cancelled", "a@example.com"), ("sent", "b@example.com")]
    assert all(
        json.loads(one.body)["data"]["attempt"] is None for one in WebhookEvent.objects.all()
    )


def test_who_is_on_the_suppression_list(hook):
    """Those that were still ours to set aside."""
    for address in ("a@example.com", "b@example.com"):
        Suppression.objects.create(address=address, created_at=timezone.now(), reason="x")
    stored("a@example.com", "b@example.com", "c@example.com")
    lease, rows = claimed()
    Delivery.objects.filter(recipient="b@example.com").update(lease_token=None)
    left = ledger.set_aside_suppressed(lease, rows)
    assert [row.recipient for row in left] == ["c@example.com"]
    assert told() == [("suppressed", "a@example.com")]


def test_now_mode_inside_a_transaction_of_the_caller(receiver, hook):
    """The event is the caller's, too: rolled back with it, and there with it."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        with transaction.atomic():
            send_mail("Hi", "Hello", "from@example.com", ["a@example.com"])
            transaction.set_rollback(True)
        assert told() == []
        with transaction.atomic():
            send_mail("Hi", "Hello", "from@example.com", ["b@example.com"])
        assert told() == [("sent", "b@example.com")]


def test_an_outcome_that_is_rolled_back_is_not_told(hook):
    """Neither the event nor a hint of it is there."""
    stored()
    lease, rows = claimed()
    with transaction.atomic():
        ledger.settle(lease, [booking(rows[0])])
        transaction.set_rollback(True)
    assert told() == []
    assert Delivery.objects.get().status == "sending"


def test_mail_that_comes_back(hook):
    """A report of it is ``failed``, and says that it was reported."""
    message = stored("ann@example.com")
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert book(bounced(message)) == ["booked"]
    assert told() == [("sent", "ann@example.com"), ("failed", "ann@example.com")]
    last = json.loads(WebhookEvent.objects.order_by("pk").last().body)["data"]
    assert (last["reported"], last["attempt"], last["code"]) == (True, 2, 550)


# -- who is told ------------------------------------------------------------------------------------


def test_who_wants_what(hook, settings):
    """By event and by mailer; the same event has one id for all who are told."""
    settings.SMTPX_WEBHOOKS = None
    hook("all")
    hook("failures", events=["failed"])
    hook("others", mailers=["other"])
    hook("sent", events=["sent"], mailers=["default"])
    stored()
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert sorted(WebhookEvent.objects.values_list("endpoint", flat=True)) == ["all", "sent"]
    assert WebhookEvent.objects.values("uuid").distinct().count() == 1


def outcome(count=1):
    """Store so many mails, and settle them as sent; return the statements of that."""
    for number in range(count):
        stored(f"{number}@example.com")
    lease, rows = claimed()
    with CaptureQueriesContext(
        connection,
    ) as queries:
        ledger.settle(lease, [booking(row) for row in rows])
    return [query["sql"] for query in queries if "webhook" in query["sql"]], len(queries)


def test_without_webhooks_nothing_is_asked_or_written(settings):
    """Nor where nobody wants that event."""
    settings.SMTPX_WEBHOOKS = None
    none, few = outcome()
    settings.SMTPX_WEBHOOKS = {
        "crm": {"url": "http://localhost/", "secret": SECRET, "events": ["failed"]}
    }
    unwanted, as_few = outcome()
    assert none == unwanted == []
    assert few == as_few


def test_a_batch_costs_two_statements_more(settings, hook):
    """However many there are in it; on PostgreSQL, where one was enough, those that it was made of."""
    written, _ = outcome(1)
    more, _ = outcome(40)
    assert len(written) == len(more) == 1
    settings.SMTPX_WEBHOOKS = None
    _, without = outcome(40)
    hook()
    _, with_them = outcome(40)
    if connection.vendor != "postgresql":
        assert with_them == without + 2


def test_posting_costs_as_many_statements_for_many(receiver, hook):
    """One batch of twenty as one of one."""

    def cost(count):
        outcome(count)
        with CaptureQueriesContext(connection) as queries:
            assert delivery.post_events("crm") == count
        return len(queries)

    cost(1)
    assert cost(1) == cost(20)


# -- hints ------------------------------------------------------------------------------------------


def test_a_hint_names_the_webhook_and_nothing_else(hook, monkeypatch):
    """After the commit, once for a batch."""
    hinted = []
    monkeypatch.setattr(tasks, "wake_webhook", hinted.append)
    for number in range(3):
        stored(f"{number}@example.com")
    lease, rows = claimed()
    with transaction.atomic():
        ledger.settle(lease, [booking(row) for row in rows])
        assert hinted == []
    assert hinted == ["crm"]


def test_the_sweep_finds_what_no_hint_told_of(receiver, hook):
    """Of endpoints that are open and have something to be told."""
    hook("idle")
    hook("disabled")
    outcome()
    WebhookEvent.objects.filter(endpoint="idle").delete()
    ledger.disable_webhook("disabled", timezone.now(), "enough")
    swept = []
    assert delivery.sweep(lambda name: None, tell=swept.append)
    assert swept == ["crm"]
    WebhookEndpoint.objects.filter(name="crm").update(rests_until=timezone.now() + HOUR)
    assert delivery.due_webhooks() == []
    WebhookEndpoint.objects.filter(name="crm").update(rests_until=timezone.now() - HOUR)
    assert delivery.due_webhooks() == ["crm"]


def test_in_place_the_drain_ends_before_webhooks_are_told(receiver, hook, monkeypatch):
    """With CELERY_TASK_ALWAYS_EAGER no session waits for a web server."""
    order = []
    real = tasks._drain_in_place
    monkeypatch.setattr(tasks, "_post_in_place", lambda name: order.append(("post", name)))

    def drain(name):
        tasks.in_place.post("crm")
        real(name)
        order.append(("drain", name))

    monkeypatch.setattr(tasks, "_drain_in_place", drain)
    tasks.in_place.drain("default")
    assert order == [("drain", "default"), ("post", "crm")]


def test_with_celery_in_place(receiver, hook, monkeypatch):
    """As CELERY_TASK_ALWAYS_EAGER has it: the mail goes, and then the webhook is told of it."""
    monkeypatch.setattr(tasks, "_site_has_celery", lambda: True)
    current_app.conf.task_always_eager = True
    try:
        with ScriptedServer() as server, real_queue(server):
            stored()
            with mock.patch.object(tasks, "wake_webhook", wake_webhook):
                tasks.drain.apply(("default",))
    finally:
        current_app.conf.task_always_eager = False
    assert [one.json["type"] for one in receiver.taken] == ["delivery.sent"]


def test_the_task_posts(receiver, hook):
    """In the process that calls it, and behind its transaction."""
    outcome()
    tasks.webhooks("crm")
    assert len(receiver.taken) == 1
    tasks.webhooks("unheard of")


def test_rows_and_settings_know_the_same_events():
    """What can be asked for can be stored, and has a word for people."""
    assert tuple(kind for kind, _ in WebhookEvent._meta.get_field("event").choices) == EVENTS
