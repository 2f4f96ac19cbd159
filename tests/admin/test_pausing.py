"""A mailer or a destination is paused by a form."""

from __future__ import annotations

import logging
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from django_smtpx import ledger, pacing
from django_smtpx.admin import pausing
from django_smtpx.models import Delivery, Route
from tests.admin import rows
from tests.admin.pressing import confirm, said, text_of

pytestmark = pytest.mark.django_db
PAUSE = "admin:django_smtpx_route_pause"
LIST = "admin:django_smtpx_route_changelist"
ASKED = {"mailer": "default", "length": "1h", "reason": "their server is being moved"}


@pytest.fixture
def pauser(staff):
    """Log in somebody who may see and pause routes."""
    return staff("view_route", "pause_route")


@pytest.fixture
def now(monkeypatch):
    """Let the database's clock stand."""
    monkeypatch.setattr(ledger, "now", lambda: rows.NOW)
    return rows.NOW


def test_a_mailer_rests_for_a_time(pauser, now, caplog):
    """Nothing is written before it is confirmed; then it rests, and it is noted by whom."""
    rows.delivery()
    rows.delivery(status="sending", lane=Delivery.Lane.OUT)
    asked = pauser.post(reverse(PAUSE), ASKED)
    page = text_of(asked)
    assert "Mailer 'default' rests until March 4, 2026, 1 p.m." in page
    assert "Reason: their server is being moved" in page
    assert "Deliveries that wait: 1 " in page
    assert "still sent: up to 1 " in page
    assert not Route.objects.exists()
    assert not LogEntry.objects.exists()
    with caplog.at_level(logging.WARNING, "django_smtpx.pacing"):
        done = confirm(pauser, asked)
    route = Route.objects.get()
    assert (route.mailer, route.domain, route.state) == ("default", "", "paused")
    assert route.paused_until == now + timedelta(hours=1)
    assert (route.pause_reason, route.category) == (ASKED["reason"], "")
    assert said(done) == ["Mailer 'default' rests until March 4, 2026, 1 p.m."]
    assert done.url == reverse("admin:django_smtpx_route_change", args=[route.pk])
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(route.pk), "Pause")
    assert f"user {entry.user_id} in the admin" in caplog.text


@pytest.mark.parametrize(
    ("length", "other", "rests"),
    [
        ("15m", "", timedelta(minutes=15)),
        ("1d", "", timedelta(days=1)),
        ("1h", "1h30m", timedelta(minutes=90)),
        ("", "90s", timedelta(seconds=90)),
        ("", "", None),
    ],
)
def test_for_how_long(pauser, now, length, other, rests):
    """A length from the list, or one as the commands take it, or until somebody resumes it."""
    asked = pauser.post(reverse(PAUSE), {**ASKED, "length": length, "other_length": other})
    confirm(pauser, asked)
    route = Route.objects.get()
    assert route.state == ("held" if rests is None else "paused")
    assert route.paused_until == (None if rests is None else now + rests)


def test_a_destination_without_a_row(pauser, now):
    """One domain rests, written as deliveries have it, and the mailer's other mail goes on."""
    waits = rows.delivery(None, "ann@xn--bcher-kva.example")
    rows.delivery()
    asked = pauser.post(reverse(PAUSE), {**ASKED, "domain": "Bücher.example", "length": ""})
    assert "Mail of 'default' to xn--bcher-kva.example is held until somebody" in text_of(asked)
    assert "Deliveries that wait: 1 " in text_of(asked)
    confirm(pauser, asked)
    assert Route.objects.get().domain == waits.domain


@pytest.mark.parametrize(
    ("field", "value", "error"),
    [
        ("mailer", "gone", "Select a valid choice. gone is not one of the available choices."),
        ("domain", "ann@example.com", "'ann@example.com' is no domain. Give what stands behind"),
        ("domain", "a" * 64 + "é.example", "Invalid domain"),
        ("length", "2y", "Select a valid choice"),
        ("other_length", "2 hours", "'2 hours' is no duration. Write 90s, 15m, 2h, 1d or 1h30m."),
        ("other_length", "4000d", "'4000d' is longer than ten years. Without a time it is held"),
        ("reason", "", "This field is required."),
        ("reason", "a\x00b", "Null characters are not allowed."),
    ],
)
def test_what_is_wrong_is_said_at_its_field(pauser, field, value, error):
    """The field, the value and the mend; what was written stays, and nothing is done."""
    response = pauser.post(reverse(PAUSE), {**ASKED, field: value, "confirmed": "1"})
    assert response.status_code == 200
    (said_there,) = response.context["form"].errors[field]
    assert error in said_there
    assert response.context["form"].errors.keys() == {field}
    if field != "reason":
        assert ASKED["reason"] in response.content.decode()
    assert not Route.objects.exists()


def test_what_rests_already_is_shown(pauser, now):
    """A person's pause takes the place of what failures closed, and says of what."""
    rows.route()
    asked = pauser.post(reverse(PAUSE), ASKED)
    assert "takes the place of what closes it now: held ( auth 535 5.7.8" in text_of(asked)
    confirm(pauser, asked)
    route = Route.objects.get()
    assert (route.state, route.pause_reason) == ("paused", ASKED["reason"])


def test_what_was_closed_in_between_is_shown_first(pauser, now):
    """A pause does not take the place of what its page has not named."""
    asked = pauser.post(reverse(PAUSE), ASKED)
    rows.route()
    again = confirm(pauser, asked)
    page = text_of(again)
    assert "It has changed meanwhile: look again." in page
    assert "takes the place of what closes it now: held ( auth 535 5.7.8" in page
    assert Route.objects.get().state == "held"
    confirm(pauser, again)
    assert Route.objects.get().state == "paused"


def test_many_deliveries_are_not_counted_to_the_end(pauser, now, monkeypatch):
    """The page costs the same however long the queue is."""
    monkeypatch.setattr(pausing, "COUNTED", 1)
    for name in "abc":
        rows.delivery(None, f"{name}@example.com")
    assert "Deliveries that wait: more than 1 " in text_of(pauser.post(reverse(PAUSE), ASKED))


def test_the_ways_to_the_form(pauser):
    """From the list for any mailer, from a destination's page for that one."""
    url = reverse(PAUSE)
    assert f'<a href="{url}">Pause</a>' in pauser.get(reverse(LIST)).content.decode()
    pages = {
        rows.route(): f"{url}?mailer=default&amp;domain=",
        rows.route(domain="example.com"): f"{url}?mailer=default&amp;domain=example.com",
        rows.route(host="mx.example.com"): None,
        rows.route(sender="From a@example.com"): None,
    }
    for route, way in pages.items():
        page = reverse("admin:django_smtpx_route_change", args=[route.pk])
        text = pauser.get(page).content.decode()
        assert (way is None) == (url not in text)
        assert way is None or f'<a class="button" href="{way}">Pause</a>' in text


def test_the_form_is_filled_in_from_its_address(pauser):
    """What a link names is chosen, also a mailer that is configured no more."""
    rows.route(mailer="gone", state="open", paused_until=None)
    page = pauser.get(reverse(PAUSE), {"mailer": "gone", "domain": '"><script>x'}).content.decode()
    assert '<option value="gone" selected>gone (not configured)</option>' in page
    assert 'value="&quot;&gt;&lt;script&gt;x"' in page
    assert "1 hour</option>" in page


def test_a_get_pauses_nothing(pauser):
    """No link does it, whatever it carries; another verb is refused, and so is a missing token."""
    pauser.get(reverse(PAUSE), {**ASKED, "confirmed": "1"})
    assert pauser.put(reverse(PAUSE)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = pauser.cookies
    assert strict.post(reverse(PAUSE), {**ASKED, "confirmed": "1"}).status_code == 403
    assert not Route.objects.exists()


def test_a_pause_of_a_person_is_resumed_in_the_admin(staff, now):
    """One way in and one way out."""
    client = staff("view_route", "pause_route", "resume_route")
    done = confirm(client, client.post(reverse(PAUSE), ASKED))
    page = client.get(done.url).content.decode()
    assert f'formaction="{reverse("admin:django_smtpx_route_resume")}"' in page
    key = Route.objects.get().pk
    asked = client.post(reverse("admin:django_smtpx_route_resume"), {"keys": key, "page": "1"})
    assert ASKED["reason"] in text_of(asked)
    assert said(confirm(client, asked))[-1] == "1 route is open again."
    assert not pacing.resume("default", rows.NOW)
