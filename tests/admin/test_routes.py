"""The list of routes, and what a person can do there."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.messages import get_messages
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_smtpx.admin.routes import RouteAdmin
from django_smtpx.models import Delivery, RefusedCredential, Route
from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_route_changelist"
CREDENTIALS = "admin:django_smtpx_refusedcredential_changelist"
RESUME = "admin:django_smtpx_route_resume"

OTHERS_LEFT = (
    "Left as they are: 1 (open already, closed for something else meanwhile, or there no more)."
)


def test_list_says_what_rests_and_why(viewer):
    """A held mailer shows its state, the server's words and the next probe."""
    rows.route(paused_until=timezone.now() + rows.SOON)
    page = viewer.get(reverse(LIST)).content.decode()
    for text in ("held", "authentication failed", "535 5.7.8 Bad credentials", "minutes ("):
        assert text in page


def test_filter_by_state(viewer):
    """What rests is told from what is open."""
    rows.route()
    rows.route(mailer="other", state="open", paused_until=None)
    response = viewer.get(reverse(LIST), {"state__exact": "held"})
    assert [route.mailer for route in response.context["cl"].result_list] == ["default"]


def test_reason_is_escaped(viewer):
    """A server's words are text in the list and on the page."""
    evil = "<script>alert(1)</script>"
    route = rows.route(pause_reason=evil)
    for url in (reverse(LIST), reverse("admin:django_smtpx_route_change", args=[route.pk])):
        page = viewer.get(url).content.decode()
        assert evil not in page
        assert "&lt;script&gt;" in page


def test_page_says_when_it_is_probed(viewer):
    """A route that waits for a person says so."""
    route = rows.route(paused_until=None)
    url = reverse("admin:django_smtpx_route_change", args=[route.pk])
    assert "when it is resumed" in viewer.get(url).content.decode()


def test_a_sender_that_is_held_is_named(viewer):
    """Whose mail it is that waits can be read and searched for."""
    rows.route(sender="MAIL FROM <shop@site.example>", category="sender_rejected")
    rows.route(mailer="other")
    response = viewer.get(reverse(LIST), {"q": "shop@site"})
    assert [route.mailer for route in response.context["cl"].result_list] == ["default"]
    assert "MAIL FROM &lt;shop@site.example&gt;" in response.content.decode()


def test_a_route_that_is_slowed_down_says_how_far(viewer, monkeypatch):
    """How slowly a destination goes now, since when, and how many connections it is worth."""
    monkeypatch.setattr(timezone, "now", lambda: rows.NOW)
    slow = rows.route(
        domain="example.com",
        state="open",
        slow_limit=0.5,
        slow_step=0.1,
        slow_since=rows.NOW,
        concurrency=3.14159,
    )
    rows.route(domain="example.net")
    response = viewer.get(reverse(LIST), {"pace": "slow"})
    assert [route.domain for route in response.context["cl"].result_list] == ["example.com"]
    assert "30.0 messages a minute" in response.content.decode()
    response = viewer.get(reverse(LIST), {"pace": "full"})
    assert [route.domain for route in response.context["cl"].result_list] == ["example.net"]
    url = reverse("admin:django_smtpx_route_change", args=[slow.pk])
    page = viewer.get(url).content.decode()
    for text in ("30.0 messages a minute", "March 4, 2026, noon", "3.1"):
        assert text in page
    monkeypatch.setattr(timezone, "now", lambda: rows.NOW + timedelta(minutes=2))
    assert "42.0 messages a minute" in viewer.get(url).content.decode()
    monkeypatch.setattr(timezone, "now", lambda: rows.NOW + timedelta(hours=1))
    assert "messages a minute" not in viewer.get(url).content.decode()


def test_refused_credentials_say_when_they_are_tried_again(viewer):
    """How often and since when, and never which password it was."""
    rows.refused_credential(next_probe_at=timezone.now() + rows.SOON)
    rows.refused_credential(mailer="gone", mac="a" * 64, next_probe_at=rows.NOW)
    page = viewer.get(reverse(CREDENTIALS)).content.decode()
    for text in ("March 4, 2026, noon", "minutes (", "due now", "gone (not configured)"):
        assert text in page
    assert "aaaaaaaa" not in page
    response = viewer.get(reverse(CREDENTIALS), {"mailer": "default"})
    assert [row.mailer for row in response.context["cl"].result_list] == ["default"]


@pytest.fixture
def resumer(staff):
    """Log in somebody who may see and resume routes."""
    return staff("view_route", "resume_route")


def page_of(route):
    """Return the address of a route's page."""
    return reverse("admin:django_smtpx_route_change", args=[route.pk])


def choose(client, *chosen):
    """Choose the action in the list and return what comes."""
    data = {"action": "resume_selected", "_selected_action": [row.pk for row in chosen]}
    return client.post(reverse(LIST), data)


def confirm(client, response):
    """Press the button of a confirmation, with all that the page holds."""
    page = response.content.decode()
    form = page[page.index(f'action="{reverse(RESUME)}"') :]
    data = dict(re.findall(r'name="(\w+)" value="([^"]*)"', form.partition("</form>")[0]))
    return client.post(reverse(RESUME), data)


def said(response):
    """Return the messages that the next page would show."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def states():
    """Return the state of each route, in order."""
    return list(Route.objects.order_by("pk").values_list("state", flat=True))


def test_resume_from_the_list(resumer, hints, django_capture_on_commit_callbacks):
    """The page says what will be opened first; once confirmed it is, and its mail is ready."""
    held = rows.route(paused_until=None)
    opened = rows.route(domain="example.org", state="open", paused_until=None)
    rows.refused_credential()
    waits = rows.delivery(lane=Delivery.Lane.IDLE, next_attempt_at=None, parked_at=rows.NOW)
    asked = choose(resumer, held, opened)
    page = asked.content.decode()
    assert "1 route will be opened" in page
    assert "<bdi>default</bdi>: held (auth 535 5.7.8 Bad credentials)" in page
    assert "1 is left as it is" in page
    assert states() == ["held", "open"]
    with django_capture_on_commit_callbacks(execute=True):
        done = confirm(resumer, asked)
    assert (done.status_code, done.url) == (302, reverse(LIST))
    assert states() == ["open", "open"]
    assert said(done) == [
        "1 route is open again.",
        OTHERS_LEFT,
    ]
    assert hints == ["default"]
    assert not RefusedCredential.objects.exists()
    waits.refresh_from_db()
    assert waits.lane == Delivery.Lane.READY
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.get_change_message()) == (str(held.pk), "Resume")


def test_resume_from_the_page(resumer, hints):
    """The page of what rests has a button, and one comes back to it."""
    route = rows.route(sender="MAIL FROM <a@example.com>", paused_until=None)
    page = resumer.get(page_of(route)).content.decode()
    button = re.search(r'<button type="submit" class="button" formaction="([^"]*)">Resume', page)
    assert button.group(1) == reverse(RESUME)
    asked = resumer.post(reverse(RESUME), {"keys": route.pk, "page": "1", "query": "q=a"})
    assert "default MAIL FROM &lt;a@example.com&gt;" in asked.content.decode()
    done = confirm(resumer, asked)
    assert done.url == page_of(route) + "?q=a"
    assert states() == ["open"]
    assert reverse(RESUME) not in resumer.get(page_of(route)).content.decode()


def test_each_kind_of_route_is_resumed(resumer, hints):
    """A host, a domain and a sender, and of two mailers at once."""
    chosen = [
        rows.route(host="mx.example.com"),
        rows.route(domain="example.com", category=""),
        rows.route(sender="From a@example.com"),
        rows.route(mailer="gone", state="paused"),
    ]
    done = confirm(resumer, choose(resumer, *chosen))
    assert states() == ["open"] * 4
    assert said(done) == [
        "4 routes are open again.",
        "Mailer gone is not configured: its mail waits.",
    ]


def test_what_was_resumed_in_between_is_left(resumer, hints):
    """Somebody else was faster: nothing is done twice."""
    route = rows.route()
    asked = choose(resumer, route)
    Route.objects.update(state="open", paused_until=None)
    done = confirm(resumer, asked)
    assert said(done)[0] == "0 routes are open again."
    assert not LogEntry.objects.exists()
    asked = choose(resumer, route)
    assert "There is nothing to do" in asked.content.decode()
    assert 'name="confirmed"' not in asked.content.decode()


def test_what_was_closed_for_something_else_in_between_is_left(resumer, hints):
    """Who has read of a refused login has not said that a used up quota is to be tried."""
    route = rows.route()
    asked = choose(resumer, route)
    Route.objects.update(category="quota_exhausted", pause_reason="452 daily limit")
    assert said(confirm(resumer, asked)) == ["0 routes are open again.", OTHERS_LEFT]
    assert Route.objects.get().state == "held"


def test_what_a_probe_has_found_again_in_between_is_resumed(resumer, hints):
    """It is closed for what it was closed for, in other words of the server."""
    asked = choose(resumer, rows.route())
    Route.objects.update(pause_reason="auth 535 in other words", consecutive_failures=9)
    confirm(resumer, asked)
    assert Route.objects.get().state == "open"


@pytest.mark.parametrize("codenames", [("view_route",), ("resume_route",)])
def test_who_may_not_resume(staff, codenames):
    """It takes the permission to see routes, and its own."""
    client, route = staff(*codenames), rows.route()
    assert client.post(reverse(RESUME), {"keys": route.pk, "confirmed": "1"}).status_code == 403
    choose(client, route)
    assert states() == ["held"]
    if "view_route" in codenames:
        assert reverse(RESUME) not in client.get(page_of(route)).content.decode()
        assert "resume_selected" not in client.get(reverse(LIST)).content.decode()


def test_resuming_takes_a_post_and_a_token(resumer):
    """No link and no other site's form opens anything."""
    route = rows.route()
    assert resumer.get(reverse(RESUME), {"keys": route.pk}).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = resumer.cookies
    posted = strict.post(reverse(RESUME), {"keys": route.pk, "confirmed": "1"})
    assert posted.status_code == 403
    assert states() == ["held"]
    anonymous = Client().post(reverse(RESUME), {"keys": route.pk, "confirmed": "1"})
    assert anonymous.status_code == 302
    assert states() == ["held"]


@pytest.mark.parametrize("keys", ["", "x", "-1", "9" * 30, ",".join(map(str, range(1001)))])
def test_keys_that_are_none(resumer, keys):
    """Whoever makes up a request is told that it is a bad one."""
    assert resumer.post(reverse(RESUME), {"keys": keys}).status_code == 400


def test_too_many_at_once(resumer, monkeypatch):
    """A page can carry so many and no more."""
    monkeypatch.setattr(RouteAdmin, "most", 1)
    done = choose(resumer, rows.route(), rows.route(domain="example.com"))
    assert said(done) == ["More than 1 routes are too many to resume at once."]
    assert states() == ["held", "held"]
