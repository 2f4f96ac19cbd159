"""What a person does with deliveries."""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import Refusal, Selection, Step, steering
from django_smtpx.ledger.asking import Group
from django_smtpx.models import Attempt, Content, Delivery, Message
from django_smtpx.signals import delivery_failed, delivery_sent, delivery_unknown
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, result, statuses, stored

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
OUT, IDLE, READY, ALONE, AGAIN = Delivery.Lane
ALL = Selection(mailer="default")


@pytest.fixture(autouse=True)
def _mailers():
    with real_queue(host="127.0.0.1", port=1):
        yield


def put(**values):
    """Store one mail, write ``values`` to its delivery, and return that."""
    of = values.pop("of", None) or stored()
    Delivery.objects.filter(message=of).update(**values)
    return Delivery.objects.get(message=of)


def ended(status, attempted="mailbox_full", **values):
    """Store one mail that came to its end an hour ago after an attempt."""
    of = stored()
    at = timezone.now() - HOUR
    kept = {
        "category": attempted,
        "attempt_count": 1,
        "lane": IDLE,
        "next_attempt_at": None,
        "settled_at": at,
        "reply": "No",
        "code": 552,
    }
    row = put(of=of, status=status, **{**kept, **values})
    Attempt.objects.create(
        delivery=row,
        number=1,
        started_at=at,
        outcome="failed",
        category=attempted,
        action="fail",
    )
    Message.objects.filter(pk=of.pk).update(settled_at=row.settled_at)
    return row


def doubtful(status="unknown", **values):
    """Store one mail whose outcome is unknown."""
    return ended(status, "unknown_outcome", settled_at=None, **values)


def fresh(row):
    """Read the row again."""
    return Delivery.objects.select_related("message").get(pk=row.pk)


def state():
    """Return all that could have been written."""
    models = (Message, Delivery, Attempt, Content)
    return [list(model.objects.order_by("pk").values()) for model in models]


def waits_anew(row, at):
    """Say whether a row stands as a new one does, due at ``at``."""
    row = fresh(row)
    return (
        row.lane == (AGAIN if row.attempt_count else READY)
        and row.next_attempt_at == row.age_from == at
        and row.delay_notice_at == at + timedelta(minutes=15)
        and (row.step, row.unknowns, row.leases_lost) == (0, 0, 0)
        and row.parked_at is row.settled_at is row.message.settled_at is None
    )


@pytest.mark.parametrize("status", ["failed", "cancelled", "deferred"])
def test_retry_begins_anew(status):
    """What had ended, or waits, is due now as if it were new; its last reply stays on record."""
    row = ended(
        status,
        step=7,
        unknowns=2,
        leases_lost=2,
        parked_at=timezone.now(),
        age_from=timezone.now() - 100 * HOUR,
    )
    at = ledger.now()
    steered = ledger.retry(Selection(ids=(row.pk,)), at)
    assert waits_anew(row, at)
    assert steered == ledger.Steered(
        deliveries=(row.pk,),
        messages=(row.message_id,),
        mailers=("default",),
        groups={Group("default", "example.com", "mailbox_full", status): 1},
        before={status: 1},
        after={"deferred": 1},
    )
    row = fresh(row)
    assert (row.status, row.category, row.reply, row.attempt_count) == (
        "deferred",
        "mailbox_full",
        "No",
        1,
    )
    assert [one.pk for one in claimed()[1]] == [row.pk]


def test_retry_of_what_was_never_tried_is_queued():
    """Without an attempt there is no category to keep: an expired one is new again."""
    row = put(status="failed", category="expired", lane=IDLE, settled_at=timezone.now())
    ledger.retry(Selection(ids=(row.pk,)), ledger.now())
    assert (fresh(row).status, fresh(row).category) == ("queued", "")


def test_retry_after_expiry_has_the_category_of_its_last_attempt():
    """What grew too old says again what its last attempt said."""
    row = ended("failed", category="expired")
    ledger.retry(Selection(category="expired"), ledger.now())
    assert fresh(row).category == "mailbox_full"


def test_retry_of_parked_and_held():
    """What rests with its mailer, and what waits for a person, is due now."""
    parked = put(lane=IDLE, parked_at=timezone.now() - HOUR, next_attempt_at=None)
    held = ended("deferred", settled_at=None)
    at = ledger.now()
    assert ledger.retry(ALL, at).count == 2
    assert waits_anew(parked, at)
    assert waits_anew(held, at)
    assert [fresh(row).status for row in (parked, held)] == ["queued", "deferred"]


def test_retry_of_one_lets_the_others_of_its_message_be():
    """A message with one delivery due again is not settled, and its sent one stays sent."""
    message = stored("a@example.com", "b@example.com")
    at = timezone.now()
    Delivery.objects.update(status="sent", lane=IDLE, settled_at=at)
    Delivery.objects.filter(recipient="b@example.com").update(status="failed")
    Message.objects.update(settled_at=at)
    steered = ledger.retry(Selection(mailer="default"), ledger.now())
    assert statuses(message) == ["sent", "queued"]
    assert steered.refused == {Refusal.SENT: 1}
    assert Message.objects.get().settled_at is None


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"status": "sent"}, "sent"),
        ({"status": "sending"}, "sending"),
        ({"status": "suppressed"}, "suppressed"),
        ({"status": "unknown"}, "doubtful"),
        ({"status": "failed", "mailer": ""}, "nameless"),
        ({"status": "failed", "expires_at": datetime(2026, 1, 1, tzinfo=UTC)}, "expired"),
        ({"status": "queued"}, "due"),
    ],
)
def test_retry_refuses(values, reason):
    """Each delivery that is left as it is has a reason."""
    row = put(**values)
    before = state()
    steered = ledger.retry(Selection(ids=(row.pk,)), ledger.now())
    assert (steered.count, steered.refused) == (0, {Refusal(reason): 1})
    assert state() == before


def test_retry_refuses_what_has_no_content():
    """What was purged cannot be sent."""
    row = ended("failed")
    Content.objects.all().delete()
    steered = ledger.retry(Selection(ids=(row.pk,)), ledger.now())
    assert steered.refused == {Refusal.PURGED: 1}
    assert statuses() == ["failed"]


def test_retry_keeps_to_send_at():
    """A mail is not sent before its time, and one that was cancelled waits for it again."""
    at = ledger.now()
    stored(send_at=at + HOUR)
    cancelled = put(of=stored(send_at=at + HOUR), status="cancelled", settled_at=at)
    steered = ledger.retry(ALL, at)
    assert steered.refused == {Refusal.SCHEDULED: 1}
    assert (steered.count, steered.scheduled) == (1, 1)
    row = fresh(cancelled)
    assert (row.status, row.lane) == ("queued", IDLE)
    assert row.next_attempt_at == row.age_from == at + HOUR


def test_retry_of_unknown_when_asked_for():
    """By its status it is sent again; its category still says why it may arrive twice."""
    row = doubtful(unknowns=3)
    at = ledger.now()
    assert ledger.retry(Selection(status="unknown"), at).count == 1
    assert waits_anew(row, at)
    assert (fresh(row).status, fresh(row).category) == ("deferred", "unknown_outcome")


@pytest.mark.parametrize("how", [{"mailer": "default"}, {"category": "unknown_outcome"}])
def test_retry_of_unknown_when_not_asked_for(how):
    """No other filter sends again what the server may have taken."""
    row = doubtful()
    assert ledger.retry(Selection(**how), ledger.now()).refused == {Refusal.DOUBTFUL: 1}
    assert fresh(row).status == "unknown"


def test_retry_of_a_now_mail():
    """A failed mail of a named mailer goes through the queue from then on."""
    row = ended("failed")
    Message.objects.update(mode="now")
    at = ledger.now()
    assert ledger.retry(Selection(ids=(row.pk,)), at).count == 1
    assert waits_anew(row, at)
    assert Message.objects.get().mode == "queue"
    lease, (claim,) = claimed()
    assert claim.mode == "queue"
    assert ledger.settle(lease, [booking(claim)]) == 1


@pytest.mark.parametrize("status", ["unknown", "deferred"])
def test_arrived(status):
    """A person's word settles it as sent, without an attempt that was not made."""
    row = doubtful(status, lane=READY, next_attempt_at=timezone.now())
    at = ledger.now()
    steered = ledger.arrived(Selection(ids=(row.pk,)), at)
    assert steered.count == 1
    row = fresh(row)
    assert (row.status, row.category, row.lane) == ("sent", "ok", OUT)
    assert row.settled_at == row.message.settled_at == at
    assert row.next_attempt_at is row.delay_notice_at is row.code is None
    assert row.reply.startswith("A person said at ")
    assert Attempt.objects.count() == row.attempt_count == 1


@pytest.mark.parametrize("category", ["mailbox_full", ""])
@pytest.mark.parametrize("status", [one for one in Delivery.Status.values if one != "unknown"])
def test_arrived_settles_nothing_else(status, category):
    """What is not in doubt is not settled by a word."""
    row = put(status=status, category=category)
    before = state()
    steered = ledger.arrived(Selection(ids=(row.pk,)), ledger.now())
    expected = {"sent": "sent", "sending": "sending"}.get(status, "sure")
    assert steered.refused == {Refusal(expected): 1}
    assert state() == before


@pytest.mark.parametrize("status", ["queued", "deferred"])
def test_cancel(status):
    """What waits is withdrawn, and its message is over."""
    row = put(status=status, parked_at=timezone.now())
    at = ledger.now()
    assert ledger.cancel(Selection(ids=(row.pk,)), at).count == 1
    row = fresh(row)
    assert (row.status, row.lane, row.next_attempt_at) == ("cancelled", OUT, None)
    assert row.parked_at is row.delay_notice_at is None
    assert row.settled_at == row.message.settled_at == at
    assert claimed()[1] == []


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        ("sending", "sending"),
        ("sent", "sent"),
        ("failed", "ended"),
        ("cancelled", "ended"),
        ("suppressed", "suppressed"),
        ("unknown", "doubtful"),
    ],
)
def test_cancel_refuses(status, reason):
    """What is under way or over is not withdrawn."""
    row = put(status=status)
    before = state()
    steered = ledger.cancel(Selection(ids=(row.pk,)), ledger.now())
    assert steered.refused == {Refusal(reason): 1}
    assert state() == before


def test_a_message_is_over_with_its_last_delivery():
    """While one delivery waits its message is not settled."""
    message = stored("a@example.com", "b@example.org")
    at = ledger.now()
    ledger.cancel(Selection(domain="example.com"), at)
    assert Message.objects.get().settled_at is None
    ledger.cancel(Selection(domain="example.org"), at)
    assert Message.objects.get(pk=message.pk).settled_at == at


@pytest.mark.parametrize(
    ("selection", "found"),
    [
        (Selection(mailer="other"), ["b@example.org"]),
        (Selection(mailer=""), ["Cy@Example.net"]),
        (Selection(domain="EXAMPLE.org"), ["b@example.org"]),
        (Selection(recipient="cy@example.NET"), ["Cy@Example.net"]),
        (Selection(category="spam"), ["b@example.org"]),
        (Selection(status="queued"), ["a@example.com", "Cy@Example.net"]),
        (Selection(status="queued", domain="example.com"), ["a@example.com"]),
        (Selection(status="queued", ids=()), []),
        (Selection(recipient="%"), []),
    ],
)
def test_selection(selection, found):
    """All that a selection says must hold; what it does not say does not matter."""
    stored("a@example.com")
    stored("b@example.org", mailer="other")
    stored("Cy@Example.net", mailer="")
    Delivery.objects.filter(mailer="other").update(status="deferred", category="spam")
    steered = ledger.cancel(selection, ledger.now())
    rows = Delivery.objects.filter(status="cancelled").order_by("pk")
    assert list(rows.values_list("recipient", flat=True)) == found
    assert steered.deliveries == tuple(rows.values_list("pk", flat=True))


@pytest.mark.parametrize("step", [ledger.retry, ledger.arrived, ledger.cancel])
def test_everything_is_refused(step):
    """Nobody means all mail there is by saying nothing."""
    stored()
    with pytest.raises(ValueError, match="which deliveries"):
        step(Selection(), ledger.now())
    assert statuses() == ["queued"]


@pytest.mark.parametrize("by_ids", [True, False])
def test_works_in_batches(monkeypatch, by_ids, django_assert_max_num_queries):
    """More than a batch is steered too, and none twice."""
    monkeypatch.setattr(steering, "_BATCH", 2)
    stored(*[f"{n}@example.com" for n in range(5)])
    keys = tuple(Delivery.objects.values_list("pk", flat=True))
    selection = Selection(ids=keys * 2) if by_ids else ALL
    with django_assert_max_num_queries(25):
        assert ledger.cancel(selection, ledger.now()).count == 5
    assert ledger.retry(selection, ledger.now()).count == 5
    assert statuses() == ["queued"] * 5
    assert Message.objects.get().settled_at is None


def test_what_is_stored_meanwhile_is_not_meant(monkeypatch):
    """A step that takes long does not run after mail that came later."""
    monkeypatch.setattr(steering, "_BATCH", 1)
    stored()
    stored()
    judge = steering.refusal

    def store_another(*args, **kwargs):
        stored()
        return judge(*args, **kwargs)

    monkeypatch.setattr(steering, "refusal", store_another)
    assert ledger.cancel(ALL, ledger.now()).count == 2
    assert statuses() == ["cancelled", "cancelled", "queued", "queued"]


@pytest.mark.parametrize("step", [ledger.retry, ledger.cancel])
@pytest.mark.parametrize("becomes", ["sending", "sent", "unknown"])
def test_what_a_worker_takes_meanwhile_stays_its(monkeypatch, step, becomes):
    """Between the look and the write a worker may claim a row, or settle it: it is left alone."""
    rows = [ended("deferred", settled_at=None) for _ in range(3)]
    taken = rows[1]
    write = steering._swap

    def claim_first(*args, **kwargs):
        Delivery.objects.filter(pk=taken.pk).update(status=becomes)
        return write(*args, **kwargs)

    monkeypatch.setattr(steering, "_swap", claim_first)
    before = Delivery.objects.filter(pk=taken.pk).values().get()
    steered = step(Selection(ids=tuple(row.pk for row in rows)), ledger.now())
    assert steered.deliveries == (rows[0].pk, rows[2].pk)
    assert steered.refused == {Refusal.OVERTAKEN: 1}
    assert Delivery.objects.filter(pk=taken.pk).values().get() == {**before, "status": becomes}


def test_a_purge_meanwhile_is_seen(monkeypatch):
    """What loses its content between the look and the write is not made due."""
    row = ended("failed")
    write = steering._swap

    def purge_first(*args, **kwargs):
        Content.objects.all()._raw_delete("default")
        return write(*args, **kwargs)

    monkeypatch.setattr(steering, "_swap", purge_first)
    assert ledger.retry(ALL, ledger.now()).refused == {Refusal.OVERTAKEN: 1}
    assert fresh(row).status == "failed"


def test_a_late_reply_still_settles_what_was_made_due():
    """A 250 that comes after the lease ran out is the truth, unless somebody has claimed since."""
    stored()
    lease, (row,) = claimed(seconds=1)
    ledger.mark(lease, [row])
    Delivery.objects.update(status="unknown", lease_expires_at=None, attempt_count=1)
    ledger.retry(Selection(status="unknown"), ledger.now())
    assert ledger.settle(lease, [booking(row)]) == 1
    assert statuses() == ["sent"]
    assert Message.objects.get().settled_at is not None
    assert claimed()[1] == []


def test_preview_writes_nothing():
    """It counts what would be done, by the same judgement."""
    ended("failed")
    doubtful()
    stored()
    before = state()
    at = ledger.now()
    for step, do in (
        (Step.RETRY, ledger.retry),
        (Step.ARRIVED, ledger.arrived),
        (Step.CANCEL, ledger.cancel),
    ):
        seen = ledger.preview(step, ALL, at)
        assert seen.selected == 3
        assert seen.count == 1
        assert state() == before
        assert sum(seen.groups.values()) == 1
        if step is Step.RETRY:
            continue
        assert do(ALL, at) == seen
        before = state()


def test_steps_for():
    """What can be done with one delivery; sending again what is in doubt is a choice."""
    at = ledger.now()
    assert ledger.steps_for(stored().deliveries.get().pk, at) == (Step.CANCEL,)
    assert ledger.steps_for(ended("failed").pk, at) == (Step.RETRY,)
    assert ledger.steps_for(doubtful().pk, at) == (Step.RETRY, Step.ARRIVED)
    assert ledger.steps_for(doubtful("deferred").pk, at) == tuple(Step)
    assert ledger.steps_for(ended("sent").pk, at) == ()
    assert ledger.steps_for(0, at) == ()


def test_nobody_is_told(django_capture_on_commit_callbacks):
    """Signals follow attempts, and a person's word is none."""
    told = []

    def hear(**kwargs):
        told.append(kwargs)

    for signal in (delivery_sent, delivery_failed, delivery_unknown):
        signal.connect(hear)
    try:
        doubtful()
        stored()
        with django_capture_on_commit_callbacks(execute=True):
            ledger.arrived(ALL, ledger.now())
            ledger.cancel(ALL, ledger.now())
    finally:
        for signal in (delivery_sent, delivery_failed, delivery_unknown):
            signal.disconnect(hear)
    assert sorted(statuses()) == ["cancelled", "sent"]
    assert told == []


def test_the_log_says_who_did_what_and_names_nobody(caplog):
    """Counts and mailers, and no address."""
    caplog.set_level(logging.INFO, "django_smtpx.ledger")
    stored("a@example.com")
    ended("sent")
    ledger.cancel(Selection(domain="example.com"), ledger.now(), by="smtpx_cancel")
    ledger.retry(Selection(recipient="nobody@example.com"), ledger.now())
    first = (
        "A person's cancel (smtpx_cancel): deliveries written: 1 (mailers: 'default'), "
        "left as they are: 1, sent: 1"
    )
    second = "A person's retry: deliveries written: 0 (mailers: none), left as they are: 0"
    assert caplog.messages == [first, second]


def test_an_unknown_outcome_that_waits_can_be_settled_before_it_goes(monkeypatch):
    """What waits to be sent again for an unknown outcome is not sent once somebody knows better."""
    stored()
    lease, (row,) = claimed()
    lost = result(outcome="unknown", category="unknown_outcome", code=None, reply="")
    at = ledger.now()
    ledger.settle(
        lease, [booking(row, "deferred", result=lost, next_attempt_at=at + HOUR, unknowns=1)]
    )
    assert ledger.arrived(Selection(category="unknown_outcome"), at).count == 1
    assert ledger.promote(at + 2 * HOUR) == 0
    assert claimed()[1] == []
    assert statuses() == ["sent"]
