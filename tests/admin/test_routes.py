"""The list of routes."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone

from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_route_changelist"


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
