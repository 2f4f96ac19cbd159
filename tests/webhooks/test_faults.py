"""What breaks on the way to a receiver, and that nothing is lost or out of order for it."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from django.db import OperationalError
from django.utils import timezone

from django_smtpx import delivery, health, ledger
from django_smtpx.config import webhooks
from django_smtpx.delivery import posting
from django_smtpx.models import Delivery, WebhookEndpoint, WebhookEvent
from django_smtpx.webhooks import Poster
from tests.delivery.test_crash_points import Calls, Killed
from tests.factories import booking, claimed, stored

pytestmark = pytest.mark.django_db(transaction=True)

HOUR = timedelta(hours=1)
DAY = timedelta(days=1)


@pytest.fixture(autouse=True)
def _no_hints(monkeypatch):
    """Let tests say themselves when events are posted."""
    monkeypatch.setattr("django_smtpx.tasks.wake_webhook", lambda name: None)


def happen(count=1, kinds=("sent",)):
    """Let so many mails go through these outcomes, and return the deliveries' keys."""
    keys = [stored(f"{number}@example.com").deliveries.get().pk for number in range(count)]
    for kind in kinds:
        lease, rows = claimed()
        again = timezone.now() - HOUR if kind == "deferred" else None
        ledger.settle(lease, [booking(row, kind, next_attempt_at=again) for row in rows])
    return keys


def let_time_pass():
    """Make due at once what waits for later, and end every rest and every lease."""
    passed = timezone.now() - HOUR
    waiting = WebhookEvent.objects.filter(next_attempt_at__isnull=False)
    waiting.filter(next_attempt_at__gt=passed).update(next_attempt_at=passed)
    waiting.exclude(lease_token=None).update(lease_expires_at=passed)
    WebhookEndpoint.objects.update(rests_until=None)


def come_to_rest(name="crm", rounds=500):
    """Post until nothing waits."""
    for _ in range(rounds):
        delivery.post_events(name)
        if not WebhookEvent.objects.filter(state="waiting").exists():
            return
        let_time_pass()
    pytest.fail("It does not come to rest.")


def row(name="crm"):
    """Return how the endpoint does."""
    return WebhookEndpoint.objects.get(name=name)


# -- the worker -------------------------------------------------------------------------------------


@pytest.mark.parametrize("behind", [False, True], ids=["before", "behind"])
def test_killed_at_each_statement(receiver, hook, monkeypatch, behind):
    """Whatever the worker was at: each event is taken, in order, and again by the same id at most."""
    at, reached = 0, True
    while reached:
        at += 1
        for model in (WebhookEvent, WebhookEndpoint, Delivery):
            model.objects.all().delete()
        receiver.taken.clear()
        keys = happen(3, ("deferred", "sent"))
        calls = Calls(Killed(), at, behind=behind, for_ever=True, network=False)
        with monkeypatch.context() as patch, calls.watch(patch):
            try:
                delivery.post_events("crm")
            except (Killed, OperationalError) as error:
                error.__traceback__ = None
        reached = calls.reached
        let_time_pass()
        come_to_rest()
        expected = {key: ["delivery.deferred", "delivery.sent"] for key in keys}
        assert receiver.by_delivery() == expected, f"at statement {at}"
        assert len({request.event for request in receiver.taken}) == 6
    assert at > 8


def test_killed_between_a_post_and_its_booking(receiver, hook, monkeypatch):
    """It is posted again when the lease is over, by the same id, and not before."""
    happen()

    def die(*args):
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(ledger, "book_posts", die)
        with pytest.raises(Killed):
            delivery.post_events("crm")
    # The finally clause of a process that is gone gives nothing back.
    later = timezone.now() + HOUR
    WebhookEvent.objects.update(lease_token="0" * 32, lease_expires_at=later)
    assert delivery.post_events("crm") == 0
    let_time_pass()
    assert delivery.post_events("crm") == 1
    first, second = receiver.taken
    assert first.event == second.event
    assert first.body == second.body


def test_a_late_answer_is_booked_where_nobody_has_claimed_since(receiver, hook):
    """And where somebody has, the event is theirs."""
    happen(2)
    endpoint = webhooks()["crm"]
    lease, events = ledger.claim_events("crm", 20, 300.0)
    WebhookEvent.objects.update(lease_expires_at=timezone.now() + HOUR)
    WebhookEvent.objects.filter(pk=events[1].pk).update(lease_token="0" * 32)
    done = posting.Posting(endpoint)
    poster = Poster(endpoint)
    posted = [done._post(poster, lease, event) for event in events]
    poster.close()
    ledger.book_posts(endpoint, lease, posted, ledger.standing("crm"))
    states = dict(WebhookEvent.objects.values_list("pk", "state"))
    assert states == {events[0].pk: "done", events[1].pk: "waiting"}


def test_two_workers_post_nothing_twice(receiver, hook):
    """What one has claimed the other does not; nor what is behind it of the same delivery."""
    happen(3, ("deferred", "sent"))
    _, first = ledger.claim_events("crm", 2, 300.0)
    _, second = ledger.claim_events("crm", 20, 300.0)
    assert len(first) == 2
    assert len(second) == 1
    assert {event.event for event in (*first, *second)} == {"deferred"}
    assert ledger.claim_events("crm", 20, 300.0)[1] == []


# -- the receiver -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(8))
def test_order_whatever_the_receiver_answers(receiver, hook, seed):
    """Of each delivery the events are taken in their order, and none is missing."""
    rand = random.Random(seed)
    answers = [200, 200, 200, 500, 503, 400, 302, 404, None, (429, {"Retry-After": "9"}, b"")]
    receiver.answer = lambda request: rand.choice(answers)
    keys = happen(6, ("deferred",))
    for kind in ("deferred", "sent"):
        delivery.post_events("crm")
        lease, rows = claimed()
        again = timezone.now() - HOUR if kind == "deferred" else None
        ledger.settle(lease, [booking(one, kind, next_attempt_at=again) for one in rows])
    come_to_rest()
    kinds = ["delivery.deferred", "delivery.deferred", "delivery.sent"]
    assert receiver.by_delivery() == dict.fromkeys(keys, kinds)


def test_one_event_that_is_disliked_holds_up_its_delivery_alone(receiver, hook):
    """The others go; what is behind it waits as long as it does, and goes when it is given up."""
    (first, *others) = happen(5, ("deferred", "sent"))
    receiver.answer = lambda one: (
        400
        if (one.json["data"]["delivery"], one.json["type"]) == (first, "delivery.deferred")
        else 200
    )
    assert delivery.post_events("crm") == 8
    assert receiver.by_delivery().keys() == set(others)
    disliked, behind = WebhookEvent.objects.filter(state="waiting").order_by("pk")
    assert (disliked.attempts, disliked.error) == (1, "HTTP 400 Bad Request")
    assert behind.next_attempt_at == disliked.next_attempt_at
    assert delivery.post_events("crm") == 0
    WebhookEvent.objects.filter(pk=disliked.pk).update(first_tried_at=timezone.now() - 4 * DAY)
    let_time_pass()
    assert delivery.post_events("crm") == 1
    disliked.refresh_from_db()
    assert (disliked.state, disliked.next_attempt_at) == ("given_up", None)
    assert receiver.by_delivery()[first] == ["delivery.sent"]
    assert ledger.replay_events("crm", timezone.now(), since=None, given_up=True) == 1
    receiver.answer = lambda request: 204
    assert delivery.post_events("crm") == 1


def test_down_and_up_again(receiver, hook, caplog):
    """It rests, one event asks whether it is back, and then all go, whatever was tried before."""
    happen(5)
    receiver.answer = lambda request: 503
    for failures in range(1, 4):
        assert delivery.post_events("crm") == 0
        assert row().failures == failures
        assert len(receiver.requests) == failures
        # It rests: nobody knocks.
        assert delivery.post_events("crm") == 0
        assert len(receiver.requests) == failures
        WebhookEndpoint.objects.update(rests_until=None)
    assert [one.message for one in caplog.records if one.levelname == "WARNING"] == [
        f"Webhook 'crm' (http://127.0.0.1:{receiver.port}) fails: HTTP 503 Service Unavailable"
    ]
    receiver.answer = lambda request: 200
    assert delivery.post_events("crm") == 5
    standing = row()
    assert (standing.failures, standing.failing_since, standing.error) == (0, None, "")
    assert "secret" not in caplog.text


def test_dead(receiver, hook, caplog):
    """It is disabled with an alarm, what happens is stored all the same, and enabling sends it."""
    happen(2)
    receiver.answer = lambda request: 404
    delivery.post_events("crm")
    assert [one.trouble for one in health.findings(ledger.now())] == []
    WebhookEndpoint.objects.update(failing_since=timezone.now() - 2 * DAY, rests_until=None)
    let_time_pass()
    delivery.post_events("crm")
    (alarm,) = [one.getMessage() for one in caplog.records if one.levelname == "ERROR"]
    assert "Webhook 'crm'" in alarm
    assert "smtpx_webhooks enable crm" in alarm
    assert "secret" not in alarm
    let_time_pass()
    happen(1)
    count = len(receiver.requests)
    assert (delivery.due_webhooks(), delivery.post_events("crm")) == ([], 0)
    assert len(receiver.requests) == count
    (finding,) = health.findings(ledger.now())
    assert (finding.trouble, finding.webhook, finding.count) == (health.Trouble.WEBHOOK, "crm", 3)
    assert (finding.failing, finding.reason) == (False, "HTTP 404 Not Found")
    receiver.answer = lambda request: 200
    assert ledger.enable_webhook("crm", timezone.now()) == 3
    assert delivery.post_events("crm") == 3
    assert health.findings(ledger.now()) == []


def test_gone(receiver, hook):
    """410 disables it at once."""
    happen(2)
    receiver.answer = lambda request: 410
    delivery.post_events("crm")
    assert row().disabled_at is not None
    assert len(receiver.requests) == 1


def test_what_has_just_been_stored_is_due(receiver, hook):
    """A drain's clock may be behind that of whoever has stored it."""
    happen()
    WebhookEvent.objects.update(next_attempt_at=ledger.now() + timedelta(seconds=0.5))
    assert delivery.post_events("crm") == 1


def test_a_person_has_the_last_word(receiver, hook):
    """What is disabled while a worker posts stays disabled, whatever comes of the post."""
    happen(1)

    def disable(request):
        # In the server's thread: another connection.
        return 200

    receiver.answer = disable
    before = ledger.standing("crm")
    ledger.disable_webhook("crm", timezone.now(), "moving house")
    endpoint = webhooks()["crm"]
    lease, (event,) = ledger.claim_events("crm", 1, 300.0)
    poster = Poster(endpoint)
    posted = posting.Posting(endpoint)._post(poster, lease, event)
    poster.close()
    ledger.book_posts(endpoint, lease, [posted], before)
    assert row().disabled_at is not None


# -- others -----------------------------------------------------------------------------------------


def test_one_endpoint_is_nothing_to_another(receiver, hook):
    """What one does not take the other gets, and mail goes all the same."""
    hook("down", url="http://127.0.0.1:1/")
    keys = happen(3)
    assert delivery.post_events("down") == 0
    assert delivery.post_events("crm") == 3
    assert receiver.by_delivery().keys() == set(keys)
    assert ledger.waiting_events("down") == 3


def test_as_many_connections_as_it_may_have(receiver, hook):
    """Who comes beyond that has nothing to do; while it fails one asks."""
    happen(4)
    ledger.claim_events("crm", 1, 300.0)
    assert delivery.post_events("crm") == 0
    hook(max_connections=2)
    assert delivery.post_events("crm") == 3
    happen(1)
    WebhookEndpoint.objects.update(failures=1)
    assert delivery.post_events("crm") == 0


def test_a_slow_endpoint_leaves_the_worker_to_others(receiver, hook):
    """After ten seconds a successor is woken, and what was claimed is free for it."""
    happen(30)
    now = [0.0]

    def answer(request):
        now[0] += 4.0
        return 200

    receiver.answer = answer
    woken = []
    run = posting.Posting(webhooks()["crm"], lambda: woken.append(1), clock=lambda: now[0])
    assert run.run() == 3
    assert woken == [1]
    assert not WebhookEvent.objects.exclude(lease_token=None).exists()
    assert posting.Posting(webhooks()["crm"]).run() == 27


def test_a_full_batch_wakes_another_worker(receiver, hook):
    """Where the endpoint may have more than one connection."""
    hook(max_connections=2)
    happen(25)
    woken = []
    assert delivery.post_events("crm", wake=lambda: woken.append(1)) == 25
    assert woken == [1]


def test_a_worker_that_stops(receiver, hook):
    """It begins nothing, and hands on what it has claimed."""
    happen(3)
    asked = iter([False, False, False, True, True, True])
    woken = []
    count = delivery.post_events(
        "crm", wake=lambda: woken.append(1), stopping=lambda: next(asked, True)
    )
    assert count == 1
    assert woken == [1]
    assert delivery.post_events("crm") == 2
    assert delivery.post_events("crm", wake=lambda: woken.append(2), stopping=lambda: True) == 0


# -- retention --------------------------------------------------------------------------------------


def test_retention(receiver, hook, caplog):
    """What was told goes with the contents, what nobody took with the log, and that is said."""
    happen(3)
    delivery.post_events("crm")
    happen(2)
    at = timezone.now()
    assert ledger.replay_events("crm", at, since=at + HOUR, given_up=False) == 0
    for days, left in ((1, 5), (8, 2), (91, 0)):
        ledger.purge(at + days * DAY, 7 * DAY, 90 * DAY)
        assert WebhookEvent.objects.count() == left
    assert "that no webhook was told of: 2" in caplog.text


def test_what_is_told_once_more(receiver, hook):
    """By the same ids; and somebody has to say which."""
    happen(3)
    delivery.post_events("crm")
    before = {request.event for request in receiver.taken}
    assert (
        ledger.replay_events("crm", timezone.now(), since=timezone.now() - HOUR, given_up=False)
        == 3
    )
    receiver.taken.clear()
    assert delivery.post_events("crm") == 3
    assert {request.event for request in receiver.taken} == before
    with pytest.raises(ValueError):
        ledger.replay_events("crm", timezone.now(), since=None, given_up=False)
