"""What rows have in this package's words is told in the reader's language, wherever it is shown."""

from __future__ import annotations

import socket
from contextlib import closing

import pytest
from django.core.mail import EmailMessage
from django.urls import reverse

from django_smtpx.config import get_mailer
from django_smtpx.delivery import drain
from django_smtpx.models import Attempt, Delivery, Route, StoredPolicy, WebhookEndpoint
from django_smtpx.testing import real_queue
from tests.admin import rows
from tests.admin.pressing import text_of

pytestmark = pytest.mark.django_db

ENGLISH = "connect The server closed the connection (after EHLO)"
GERMAN = "connect Der Server hat die Verbindung geschlossen (nach EHLO)"
SERVERS = "auth 535 5.7.8 The server refuses the login"


@pytest.fixture
def reader(admin_client, settings):
    """A reader of German who may see everything."""
    settings.LANGUAGE_CODE = "de"
    return admin_client


def page(reader, name, *args, **asked):
    """Return the words of a page."""
    return text_of(reader.get(reverse(f"admin:{name}", args=args), asked))


def refusing_port():
    """Return a port that nobody listens on."""
    with closing(socket.create_server(("127.0.0.1", 0))) as listener:
        return listener.getsockname()[1]


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_found_nobody(reader):
    """From the socket's error to the pages: the row is English, and what is read is not."""
    with real_queue(host="127.0.0.1", port=refusing_port(), security="none"):
        EmailMessage("Hi", "text", to=["you@example.net"]).send()
        drain(get_mailer("default"))
        delivery, route = Delivery.objects.get(), Route.objects.get(domain="", host="")
        stories = page(reader, "django_smtpx_message_change", delivery.message_id)
        list_of_routes = page(reader, "django_smtpx_route_changelist")
        shown = page(reader, "django_smtpx_route_change", route.pk)
        overview = page(reader, "app_list", "django_smtpx")
    attempt = Attempt.objects.get()
    assert attempt.reply.startswith("No connection to 127.0.0.1 port ")
    assert route.pause_reason.startswith("connect No connection to 127.0.0.1 port ")
    for text in (stories, list_of_routes, shown, overview):
        assert "Keine Verbindung zu 127.0.0.1 Port " in text
        # The transcript is a record, line by line.
        assert "No connection" not in text.replace("- No connection", "")


@pytest.mark.parametrize(
    ("reply", "code", "shown"),
    [
        ("The server did not answer in time (after DATA)", None,
         "Der Server antwortete nicht rechtzeitig (nach DATA)"),
        ("The content of this message has been purged.", None, "Der Inhalt dieser Nachricht wurde gelöscht."),
        ("The server did not answer in time", 451, "The server did not answer in time"),
    ],
)  # fmt: skip
def test_what_was_said_in_place_of_a_reply(reader, reply, code, shown):
    """A server's own words have a code, and stay as they are."""
    delivery = rows.delivery(status="failed", code=code, reply=reply, attempt_count=1)
    rows.attempt(delivery, code=code, enhanced_code="", reply=reply)
    assert shown in page(reader, "django_smtpx_delivery_change", delivery.pk)
    assert shown in page(reader, "django_smtpx_message_change", delivery.message_id)


def test_what_closed_a_route(reader):
    """In the list, on its page, above every page, and before it is opened or closed anew."""
    route = rows.route(pause_reason=ENGLISH)
    rows.route(pause_reason=SERVERS, domain="example.com")
    listed = page(reader, "django_smtpx_route_changelist")
    asked = reader.post(reverse("admin:django_smtpx_route_resume"), {"keys": route.pk, "page": "1"})
    pausing = {"mailer": "default", "reason": "moving", "length": "1h"}
    paused = reader.post(reverse("admin:django_smtpx_route_pause"), pausing)
    assert SERVERS in listed
    for text in (
        listed,
        page(reader, "django_smtpx_route_change", route.pk),
        page(reader, "app_list", "django_smtpx"),
        text_of(asked),
        text_of(paused),
    ):
        assert GERMAN in text
        assert ENGLISH not in text


def test_what_mail_rests_behind(reader):
    """Beside what waits for it."""
    rows.route(pause_reason=ENGLISH, domain="example.com")
    delivery = rows.delivery(
        status="deferred", lane=Delivery.Lane.IDLE, parked_at=rows.NOW, recipient="a@example.com"
    )
    rows.attempt(delivery, outcome="deferred")
    assert GERMAN in page(reader, "django_smtpx_message_change", delivery.message_id)


def test_a_policy_that_could_not_be_had(reader):
    """What went wrong with it, put together from two sentences."""
    policy = StoredPolicy.objects.create(
        domain="x.example",
        mode="enforce",
        policy_id="7",
        failure="sts-policy-invalid",
        failure_text="x.example: its policy names no mx",
        fetched_at=rows.NOW,
        expires_at=rows.NOW,
        tried_at=rows.NOW,
        next_try_at=rows.NOW,
    )
    text = page(reader, "django_smtpx_storedpolicy_change", policy.pk)
    assert "x.example: ihre Richtlinie nennt kein mx" in text


def test_a_webhook_that_does_not_answer(reader):
    """What its receiver said in a status line stays as it is."""
    WebhookEndpoint.objects.create(name="crm", failures=3, error="no answer within 10 s")
    WebhookEndpoint.objects.create(name="erp", failures=3, error="HTTP 502 Bad Gateway")
    listed = page(reader, "django_smtpx_webhookendpoint_changelist")
    assert "keine Antwort binnen 10 s" in listed
    assert "HTTP 502 Bad Gateway" in listed
