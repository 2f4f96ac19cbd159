"""Nothing can be changed on any page, whoever tries."""

from __future__ import annotations

from uuid import UUID

import pytest
from django.apps import apps
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
    WebhookEndpoint,
    WebhookEvent,
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
    log = {Message, Delivery, Route, RefusedCredential, StoredPolicy, Suppression}
    assert ours == {*log, WebhookEndpoint, WebhookEvent}


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


MORE = {
    "route": lambda number: rows.route(host=f"{number}.example", state="paused"),
    "refusedcredential": lambda number: rows.refused_credential(mac=str(number)),
    "suppression": lambda number: rows.suppression(f"{number}@example.com"),
    "webhookendpoint": lambda number: rows.webhook(f"hook{number}"),
    "webhookevent": lambda number: rows.event(delivery_key=number),
    "storedpolicy": lambda number: StoredPolicy.objects.create(
        domain=f"{number}.example",
        mode="enforce",
        mx="mx.example.com",
        expires_at=rows.NOW,
        tried_at=rows.NOW,
        next_try_at=rows.NOW,
    ),
}


@pytest.mark.parametrize("name", MORE)
def test_a_list_and_a_page_cost_as_many_statements_with_many_rows(admin_client, keys, name):
    """Those of messages and deliveries have tests of their own, with more that may grow."""
    MORE[name](0)
    urls = (address(name, "changelist"), address(name, "change", keys_of(name)[0]))
    counts = []
    for url in urls:
        # What Django itself keeps in memory from then on.
        admin_client.get(url)
    for added in (1, 20):
        for number in range(added):
            MORE[name](100 * added + number)
        for url in urls:
            with CaptureQueriesContext(connection) as queries:
                assert admin_client.get(url).status_code == 200
            counts.append(len(queries))
    assert counts[:2] == counts[2:]
    assert max(counts) <= 12


def keys_of(name):
    """Return the keys of the rows of a kind."""
    return list(apps.get_model("django_smtpx", name).objects.values_list("pk", flat=True))


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


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("route", "working_mac__startswith=f1"),
        ("route", "working_mac=f1n9e7p71n7"),
        ("refusedcredential", "mac__regex=^f"),
        ("delivery", "lease_token__isnull=1"),
        ("delivery", "attempts__transcript__contains=RCPT"),
        ("delivery", "message__body__data__contains=secret"),
        ("message", "idempotency_digest__startswith=a"),
        ("message", "body__data__contains=secret"),
        ("message", "deliveries__recipient__startswith=ann"),
        ("message", "deliveries__id__exact=1"),
    ],
)
def test_no_query_asks_for_what_no_page_shows(viewer, keys, name, query):
    """Who could ask whether a fingerprint or a body begins like that would soon have all of it."""
    response = viewer.get(f"{address(name, 'changelist')}?{query}")
    assert response.status_code == 400


def test_what_servers_said_is_no_filter_for_who_may_see_messages_alone(staff, keys):
    """The category of a delivery is on none of their pages."""
    client = staff("view_message")
    url = address("message", "changelist")
    assert "By category" not in client.get(url).content.decode()
    assert client.get(f"{url}?status=failed").context["cl"].result_count == 1
    for query in ("category=mailbox_unknown", "status=failed&category=mailbox_unknown"):
        assert client.get(f"{url}?{query}").status_code == 302


@pytest.mark.parametrize(
    ("name", "query"),
    [
        ("message", "mailer=%00"),
        ("message", "status=%00"),
        ("delivery", "domain=%00"),
        ("delivery", "status__exact=a%00b"),
        ("delivery", "reply__regex=("),
        ("route", "pause_reason__iregex=(a%2B)%2Bb"),
    ],
)
def test_no_query_makes_the_database_fail_or_toil(viewer, keys, name, query):
    """PostgreSQL has no NUL, and raises on a broken pattern; SQLite would try one for hours."""
    response = viewer.get(f"{address(name, 'changelist')}?{query}")
    assert response.status_code == 400
