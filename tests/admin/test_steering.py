"""What a person does with deliveries on their list and on the page of each."""

from __future__ import annotations

import re

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse

from django_smtpx.admin.steering import SteerableAdmin
from django_smtpx.models import Attempt, Delivery, Message
from tests.admin import rows

pytestmark = [pytest.mark.django_db, pytest.mark.usefixtures("hints")]
LIST = "admin:django_smtpx_delivery_changelist"
STEER = "admin:django_smtpx_delivery_steer"
ACTIONS = {
    "retry": "retry_selected",
    "cancel": "cancel_selected",
    "arrived": "settle_arrived",
    "again": "settle_again",
}
PERMISSIONS = {
    "retry": "retry_delivery",
    "cancel": "cancel_delivery",
    "arrived": "settle_unknown",
    "again": "settle_unknown",
}


@pytest.fixture
def decider(staff):
    """Log in somebody who may do all there is."""
    return staff("view_delivery", "retry_delivery", "cancel_delivery", "settle_unknown")


def in_doubt(recipient="eve@example.net", **values):
    """Store a delivery whose outcome is unknown, with the attempt that it is of."""
    row = rows.delivery(
        None,
        recipient,
        status="unknown",
        category="unknown_outcome",
        lane=Delivery.Lane.IDLE,
        next_attempt_at=None,
        attempt_count=1,
        **values,
    )
    rows.attempt(row, outcome="unknown", category="unknown_outcome", action="retry")
    return row


def choose(client, deed, *chosen):
    """Choose an action in the list and return what comes."""
    data = {"action": ACTIONS[deed], "_selected_action": [row.pk for row in chosen]}
    return client.post(reverse(LIST), data)


def confirm(client, response):
    """Press the button of a confirmation, with all that the page holds."""
    page = response.content.decode()
    form = page[page.index(f'action="{reverse(STEER)}"') :]
    data = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.partition("</form>")[0]))
    return client.post(reverse(STEER), data)


def said(response):
    """Return the messages that the next page would show."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def state():
    """Return all that could have been changed."""
    models = (Message, Delivery, Attempt, LogEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_send_again_from_the_list(decider, hints, django_capture_on_commit_callbacks):
    """The page counts first; once confirmed what failed is due, and the worker is told."""
    failed, sent = rows.refused(), rows.delivery(None, "bob@example.org", status="sent")
    before = state()
    asked = choose(decider, "retry", failed, sent)
    page = asked.content.decode()
    assert "1 delivery will be touched" in page
    assert "<li>1 failed</li>" in page
    assert "<li>1 sent already</li>" in page
    assert state() == before
    with django_capture_on_commit_callbacks(execute=True):
        done = confirm(decider, asked)
    assert (done.status_code, done.url) == (302, reverse(LIST))
    failed.refresh_from_db()
    assert (failed.status, failed.lane, failed.settled_at) == (
        "deferred",
        Delivery.Lane.AGAIN,
        None,
    )
    assert said(done) == [
        "1 delivery will be sent again.",
        "Left as they are: 1 (sent already).",
    ]
    assert hints == ["default"]
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(failed.pk), "Send again now")


def test_cancel_from_the_list(decider, hints):
    """What waits is withdrawn, and nobody is woken for it."""
    first, second = rows.delivery(), rows.delivery(None, "bob@example.org")
    asked = choose(decider, "cancel", first, second)
    assert "2 deliveries will be touched" in asked.content.decode()
    done = confirm(decider, asked)
    assert said(done) == ["2 deliveries cancelled."]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"cancelled"}
    assert hints == []


def test_it_arrived(decider):
    """One in doubt is settled as sent; one that failed is none of those."""
    doubt, failed = in_doubt(), rows.refused()
    asked = choose(decider, "arrived", doubt, failed)
    assert "<li>1 not in doubt</li>" in asked.content.decode()
    done = confirm(decider, asked)
    assert said(done)[0] == "1 delivery settled as sent."
    doubt.refresh_from_db()
    failed.refresh_from_db()
    assert (doubt.status, failed.status) == ("sent", "failed")
    assert doubt.reply.startswith("A person said")


def test_it_did_not_arrive(decider):
    """One in doubt is sent again; one that failed is not meant by that."""
    doubt, failed = in_doubt(), rows.refused()
    asked = choose(decider, "again", doubt, failed)
    assert "arrives twice" in asked.content.decode()
    assert "<li>1 in another status, or there no more</li>" in asked.content.decode()
    done = confirm(decider, asked)
    assert said(done)[0] == "1 delivery will be sent again."
    doubt.refresh_from_db()
    failed.refresh_from_db()
    assert (doubt.status, failed.status) == ("deferred", "failed")


def test_send_again_leaves_what_is_in_doubt(decider):
    """Sending again doubles nothing: what is in doubt has an action of its own."""
    asked = choose(decider, "retry", in_doubt())
    page = asked.content.decode()
    assert "There is nothing to do" in page
    assert 'name="confirmed"' not in page


def test_what_changed_since_it_was_counted_is_left_alone(decider):
    """Between the page and the button a worker may have sent it."""
    first, second = rows.delivery(), rows.delivery(None, "bob@example.org")
    asked = choose(decider, "cancel", first, second)
    Delivery.objects.filter(pk=first.pk).update(status="sending")
    done = confirm(decider, asked)
    assert said(done) == [
        "1 delivery cancelled.",
        "Left as they are: 1 (being sent at this moment).",
    ]
    first.refresh_from_db()
    assert first.status == "sending"


def test_what_came_since_it_was_counted_is_not_meant(decider):
    """All that is selected is what was counted, not what came to match since."""
    in_doubt()
    in_doubt("bob@example.org")
    data = {"action": "settle_arrived", "select_across": "1", "_selected_action": ["1"]}
    asked = decider.post(reverse(LIST) + "?status__exact=unknown", data)
    assert "2 deliveries will be touched" in asked.content.decode()
    in_doubt("late@example.com")
    done = confirm(decider, asked)
    assert done.url == reverse(LIST) + "?status__exact=unknown"
    assert said(done) == ["2 deliveries settled as sent."]
    assert Delivery.objects.get(recipient="late@example.com").status == "unknown"


def test_too_many_for_a_page(decider, monkeypatch):
    """Beyond what a page can carry, the command is named."""
    monkeypatch.setattr(SteerableAdmin, "most", 1)
    response = choose(decider, "cancel", rows.delivery(), rows.delivery())
    assert response.status_code == 302
    assert "smtpx_cancel" in said(response)[0]
    assert set(Delivery.objects.values_list("status", flat=True)) == {"queued"}


@pytest.mark.parametrize("deed", list(ACTIONS))
def test_each_needs_its_permission(staff, deed):
    """Who has every other permission neither sees the action nor can do it."""
    others = set(PERMISSIONS.values()) - {PERMISSIONS[deed]}
    client = staff("view_delivery", *others)
    row = rows.delivery() if deed == "cancel" else rows.refused() if deed == "retry" else in_doubt()
    before = state()
    assert f'value="{ACTIONS[deed]}"' not in client.get(reverse(LIST)).content.decode()
    page = client.get(reverse("admin:django_smtpx_delivery_change", args=[row.pk]))
    assert f'value="{deed}"' not in page.content.decode()
    choose(client, deed, row)
    for data in ({}, {"confirmed": "1"}):
        response = client.post(reverse(STEER), {"deed": deed, "keys": row.pk, **data})
        assert response.status_code == 403
    assert state() == before


def test_permission_to_view_is_needed_too(staff):
    """Nobody steers what they may not see."""
    client = staff("cancel_delivery")
    data = {"deed": "cancel", "keys": rows.delivery().pk, "confirmed": "1"}
    assert client.post(reverse(STEER), data).status_code == 403
    assert Delivery.objects.get().status == "queued"


def test_nobody_is_sent_to_log_in():
    """Who is not logged in changes nothing."""
    data = {"deed": "cancel", "keys": rows.delivery().pk, "confirmed": "1"}
    assert Client().post(reverse(STEER), data).status_code == 302
    assert Delivery.objects.get().status == "queued"


def test_only_by_post_and_with_a_token(decider):
    """No link and no foreign page does anything."""
    row = rows.delivery()
    data = {"deed": "cancel", "keys": row.pk, "confirmed": "1"}
    assert decider.get(reverse(STEER), data).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = decider.cookies
    assert strict.post(reverse(STEER), data).status_code == 403
    row.refresh_from_db()
    assert row.status == "queued"


@pytest.mark.parametrize(
    "data",
    [
        {},
        {"deed": "delete", "keys": "1"},
        {"deed": "cancel"},
        {"deed": "cancel", "keys": "1,x"},
        {"deed": "cancel", "keys": "-1"},
        {"deed": "cancel", "keys": str(2**63)},
    ],
)
def test_nonsense_is_a_bad_request(decider, data):
    """What no page of ours says is refused."""
    assert decider.post(reverse(STEER), {**data, "confirmed": "1"}).status_code == 400


@pytest.mark.parametrize(
    ("make", "offered"),
    [
        (rows.delivery, ["cancel"]),
        (rows.refused, ["retry"]),
        (in_doubt, ["arrived", "again"]),
        (lambda: rows.delivery(status="sent"), []),
        (lambda: rows.delivery(status="sending"), []),
        (lambda: rows.delivery(status="deferred"), ["retry", "cancel"]),
        (
            lambda: rows.delivery(status="deferred", category="unknown_outcome"),
            ["retry", "cancel", "arrived"],
        ),
    ],
)
def test_page_offers_what_the_state_allows(decider, make, offered):
    """A button that would do nothing is not there."""
    url = reverse("admin:django_smtpx_delivery_change", args=[make().pk])
    page = decider.get(url).content.decode()
    assert re.findall(r'name="deed" value="(\w+)"', page) == offered


def test_from_the_page_and_back(decider):
    """The page's button asks too, and leads back to the page."""
    row = in_doubt()
    url = reverse("admin:django_smtpx_delivery_change", args=[row.pk])
    page = decider.get(url).content.decode()
    assert f'formaction="{reverse(STEER)}"' in page
    asked = decider.post(reverse(STEER), {"deed": "arrived", "keys": row.pk, "page": "1"})
    assert f'href="{url}"' in asked.content.decode()
    assert Delivery.objects.get().status == "unknown"
    done = confirm(decider, asked)
    assert done.url == url
    page = decider.get(url).content.decode()
    assert "1 delivery settled as sent." in page
    assert 'name="deed"' not in page
    history = decider.get(reverse("admin:django_smtpx_delivery_history", args=[row.pk]))
    assert "It arrived" in history.content.decode()


def test_says_why_it_may_not_go_yet(decider):
    """Mail behind a mailer that rests, or that is not there, is due but does not go."""
    rows.route()
    gone = rows.delivery(rows.message(mailer="gone"), status="deferred", lane=0)
    done = confirm(decider, choose(decider, "retry", rows.refused(), gone))
    assert said(done) == [
        "2 deliveries will be sent again.",
        "Mailer gone is not configured: its mail waits.",
        "Mailer default rests, and its mail with it: auth 535 5.7.8 Bad credentials",
    ]


def test_addresses_are_escaped(decider):
    """Nothing of a request is on the page as it came."""
    row = rows.delivery()
    asked = decider.post(
        reverse(STEER), {"deed": "cancel", "keys": row.pk, "query": '"><script>alert(1)</script>'}
    )
    assert "<script>alert" not in asked.content.decode()


def test_what_somebody_else_decided_meanwhile_stays(decider):
    """Who saw that mail waits has not seen that it was cancelled, nor that it was refused since."""
    cancelled, refused = rows.delivery(), rows.delivery(None, "bob@example.org")
    waiting = rows.delivery(None, "eve@example.net", status="deferred", lane=Delivery.Lane.IDLE)
    refused_before = rows.refused(None, "joe@example.net")
    asked = choose(decider, "retry", waiting)
    assert 'name="seen" value="deferred,queued"' in asked.content.decode()
    asked = choose(decider, "retry", waiting, refused_before)
    assert 'name="seen" value="deferred,failed,queued"' in asked.content.decode()
    Delivery.objects.filter(pk__in=[cancelled.pk, refused.pk]).update(status="deferred", lane=0)
    asked = choose(decider, "retry", cancelled, refused, waiting)
    for row, status in ((cancelled, "cancelled"), (refused, "failed")):
        Delivery.objects.filter(pk=row.pk).update(status=status, lane=Delivery.Lane.IDLE)
    assert said(confirm(decider, asked)) == [
        "1 delivery will be sent again.",
        "Left as they are: 2 (changed by somebody else in the meantime).",
    ]
    cancelled.refresh_from_db()
    assert cancelled.status == "cancelled"
