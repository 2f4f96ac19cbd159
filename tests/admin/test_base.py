"""Nothing can be changed on any page, whoever tries."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_smtpx.admin.base import as_uuid
from django_smtpx.models import (
    Attempt,
    Content,
    Delivery,
    Message,
    RefusedCredential,
    Route,
    StoredPolicy,
    Suppression,
)
from tests.admin import rows

pytestmark = pytest.mark.django_db
NAMES = ("message", "delivery", "route", "refusedcredential")


def address(name, page, *args):
    """Return the address of a page."""
    return reverse(f"admin:django_smtpx_{name}_{page}", args=args)


@pytest.fixture
def keys():
    """Store one row of each kind and return their keys."""
    failed = rows.refused()
    return {
        "message": failed.message_id,
        "delivery": failed.pk,
        "route": rows.route().pk,
        "refusedcredential": rows.refused_credential().pk,
    }


def every_page(keys):
    """Yield every address that can be looked at."""
    for name in NAMES:
        yield address(name, "changelist")
        yield address(name, "change", keys[name])
        yield address(name, "history", keys[name])


def state():
    """Return all that could have been changed."""
    models = (Message, Content, Delivery, Attempt, Route, RefusedCredential, LogEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


def test_registered():
    """What people ask about has pages; contents and what only the queue needs have none."""
    ours = {model for model in admin.site._registry if model._meta.app_label == "django_smtpx"}
    assert ours == {Message, Delivery, Route, RefusedCredential, StoredPolicy, Suppression}


def test_checks():
    """Django's own checks of the admin find nothing."""
    call_command("check", "admin", fail_level="DEBUG")


def test_get_changes_nothing(viewer, keys):
    """No page that can be looked at writes a row, and all of them answer."""
    before = state()
    for url in every_page(keys):
        with CaptureQueriesContext(
            connection,
        ) as queries:
            assert viewer.get(url).status_code == 200, url
        assert all(query["sql"].startswith("SELECT") for query in queries), url
    assert state() == before


@pytest.mark.parametrize("name", NAMES)
def test_superuser_cannot_change(admin_client, keys, name):
    """Not even a superuser adds, changes or deletes."""
    before = state()
    for page, args in (("add", ()), ("change", (keys[name],)), ("delete", (keys[name],))):
        url = address(name, page, *args)
        assert admin_client.post(url, {"subject": "x", "post": "yes"}).status_code == 403, url
    assert admin_client.get(address(name, "add")).status_code == 403
    assert admin_client.get(address(name, "delete", keys[name])).status_code == 403
    admin_client.post(
        address(name, "changelist"), {"action": "delete_selected", "_selected_action": [keys[name]]}
    )
    assert state() == before


@pytest.mark.parametrize("name", NAMES)
def test_page_offers_nothing_to_save(admin_client, keys, name):
    """A page has no field to fill in, and no button but the way back."""
    page = admin_client.get(address(name, "change", keys[name])).content.decode()
    for sign in ('name="_save"', "deletelink", "<textarea", '<input type="text"'):
        assert sign not in page


def test_permissions(staff, keys):
    """Each page needs its own permission to view."""
    client = staff("view_delivery")
    allowed = {address("delivery", "changelist"), address("delivery", "change", keys["delivery"])}
    allowed.add(address("delivery", "history", keys["delivery"]))
    for url in every_page(keys):
        assert client.get(url).status_code == (200 if url in allowed else 403), url


def test_anonymous(keys):
    """Who is not logged in is sent to do so."""
    for url in every_page(keys):
        assert Client().get(url).status_code == 302, url


def test_no_page_shows_a_secret(admin_client, keys):
    """Neither a content nor the fingerprint of a credential is on any page."""
    for url in every_page(keys):
        page = admin_client.get(url).content.decode()
        assert "the secret body" not in page
        assert "f1n9e7p71n7" not in page


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "term",
    ["nothing", "12345678-1234-1234-1234-123456789abc", "1234", "'", '"a', "%", "🐌", "\x00"],
)
def test_any_search_is_answered(viewer, keys, name, term):
    """No search term is an error, least of all one that is not quite a UUID."""
    response = viewer.get(address(name, "changelist"), {"q": term})
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (" 12345678-1234-1234-1234-123456789ABC ", UUID("12345678-1234-1234-1234-123456789abc")),
        ("12345678123412341234123456789abc", UUID("12345678-1234-1234-1234-123456789abc")),
        ("12345678", None),
        ("", None),
    ],
)
def test_as_uuid(text, found):
    """Only a whole UUID is taken for one."""
    assert as_uuid(text) == found


def test_style_follows_the_theme(viewer, keys):
    """The pages' own style is a file, so that a strict Content-Security-Policy allows it."""
    page = viewer.get(address("message", "change", keys["message"])).content.decode()
    assert "django_smtpx/admin.css" in page
    assert "style=" not in page
    assert "<script>" not in page
