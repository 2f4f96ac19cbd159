"""The list of routes."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_route_changelist"
CREDENTIALS = "admin:django_smtpx_refusedcredential_changelist"


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


def test_a_route_that_is_slowed_down_says_how_far(viewer):
    """How slowly a destination goes, since when, and how many connections it is worth."""
    slow = rows.route(
        domain="example.com",
        state="open",
        slow_limit=0.5,
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
