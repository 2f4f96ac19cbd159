"""A test mail is sent by a form, the way of any mail."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import ADDITION, LogEntry
from django.test import Client
from django.urls import reverse

from django_smtpx.models import Delivery, Message
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.admin import rows
from tests.admin.pressing import confirm, said, text_of

pytestmark = pytest.mark.django_db
TEST = "admin:django_smtpx_route_test"
LIST = "admin:django_smtpx_route_changelist"
ASKED = {"mailer": "default", "to": "Me <me@example.com>"}
OTHERS = {
    "now": {"host": "127.0.0.1", "mode": "now"},
    "staging": {"host": "127.0.0.1", "redirect_to": ["team@site.example"]},
    "wrong": {"host": "127.0.0.1", "port": "x"},
}


@pytest.fixture(autouse=True)
def site(default_mailer, settings):
    """Configure the mailers."""
    settings.DEFAULT_FROM_EMAIL = "Shop <shop@site.example>"
    with real_queue(host="127.0.0.1", port=1, mailers=OTHERS):
        yield


@pytest.fixture
def tester(staff):
    """Log in somebody who may see routes and messages and send test mail."""
    return staff("view_route", "view_message", "test_mailer")


def test_a_test_mail_is_queued(tester, hints, django_capture_on_commit_callbacks):
    """Once confirmed it is a message like any, a worker is told, and the way to it is shown."""
    asked = tester.post(reverse(TEST), ASKED)
    assert (
        "A test mail goes through the mailer default to: me@example.com From: Shop <shop@site.ex"
        in text_of(asked)
    )
    assert not Message.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        done = confirm(tester, asked)
    message = Message.objects.get()
    assert (message.mailer, message.subject) == ("default", "A test of the mailer default")
    delivery = Delivery.objects.get()
    assert (delivery.recipient, delivery.status) == ("me@example.com", "queued")
    assert hints == ["default"]
    page = reverse("admin:django_smtpx_message_change", args=[message.pk])
    assert said(done) == [f'<a href="{page}">The test mail is in the queue.</a>']
    assert done.url == reverse(LIST)
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.action_flag) == (str(message.pk), ADDITION)
    assert entry.get_change_message() == "Test mail"


def test_a_test_mail_arrives(tester):
    """A worker sends it as any mail."""
    with ScriptedServer() as server, real_queue(server):
        confirm(tester, tester.post(reverse(TEST), ASKED))
        deliver()
        (received,) = server.messages
    assert received.recipients == ("me@example.com",)
    assert b"whether the mailer default works" in received.content


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"to": ""}, "This field is required."),
        ({"to": "me@"}, "Invalid address 'me@'"),
        ({"to": "a@x.y, b@x.y"}, "it must be a single address"),
        ({"to": "a@x.y\r\nBcc: b@x.y"}, "holds a control character"),
        ({"mailer": "gone"}, "Select a valid choice. gone is not one of the available choices."),
        ({"mailer": "now"}, "Mailer 'now' delivers in the calling process (mode='now')"),
        ({"mailer": "wrong"}, "Mailer 'wrong' is wrongly configured: manage.py check says how."),
    ],
)
def test_what_cannot_be_sent_is_refused(tester, values, error):
    """With a reason, and nothing is stored."""
    response = tester.post(reverse(TEST), {**ASKED, **values, "confirmed": "1"})
    assert error in text_of(response)
    assert not Message.objects.exists()


def test_a_sender_that_is_no_address_is_said(tester, settings):
    """What is wrong with the settings is an error of the form, not of the page."""
    settings.DEFAULT_FROM_EMAIL = "nobody at all"
    assert "Invalid address 'nobody at all'" in text_of(tester.post(reverse(TEST), ASKED))


def test_what_stands_in_its_way_is_said(tester):
    """That the mailer rests, before and after it is confirmed, and that it redirects."""
    rows.route(mailer="staging")
    asked = tester.post(reverse(TEST), {**ASKED, "mailer": "staging"})
    rests = "Mailer staging rests, and its mail with it: auth 535 5.7.8 Bad credentials"
    assert "to: team@site.example" in text_of(asked)
    assert "redirects all mail" in text_of(asked)
    assert rests in text_of(asked)
    assert said(confirm(tester, asked))[1:] == [rests]


def test_who_may_not_see_messages_gets_no_link(staff):
    """The mail is queued all the same."""
    client = staff("view_route", "test_mailer")
    done = confirm(client, client.post(reverse(TEST), ASKED))
    assert said(done) == ["The test mail is in the queue."]
    assert Message.objects.count() == 1


@pytest.mark.parametrize("codenames", [("view_route",), ("test_mailer",)])
def test_who_may_not_send(staff, codenames):
    """It takes the permission to see routes, and its own."""
    client = staff(*codenames)
    assert client.get(reverse(TEST)).status_code == 403
    assert client.post(reverse(TEST), {**ASKED, "confirmed": "1"}).status_code == 403
    assert not Message.objects.exists()


def test_a_get_sends_nothing(tester):
    """No link does it, whatever it carries, and no other site's form; the form is filled in."""
    page = tester.get(reverse(TEST), {**ASKED, "confirmed": "1"}).content.decode()
    assert '<option value="default" selected>' in page
    assert "wrong (configuration error)" in page
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = tester.cookies
    assert strict.post(reverse(TEST), {**ASKED, "confirmed": "1"}).status_code == 403
    assert not Message.objects.exists()


def test_the_way_to_the_form(tester):
    """From the list, and from a route's page for its mailer."""
    url = reverse(TEST)
    assert f'<a href="{url}">Send a test mail</a>' in tester.get(reverse(LIST)).content.decode()
    page = reverse("admin:django_smtpx_route_change", args=[rows.route(host="mx.a.example").pk])
    assert f'href="{url}?mailer=default">Send a test mail</a>' in tester.get(page).content.decode()


def test_a_confirmation_that_is_sent_twice_sends_one_mail(tester):
    """Who asks anew sends another one."""
    asked = tester.post(reverse(TEST), ASKED)
    confirm(tester, asked)
    confirm(tester, asked)
    assert (Message.objects.count(), LogEntry.objects.count()) == (1, 1)
    confirm(tester, tester.post(reverse(TEST), ASKED))
    assert Message.objects.count() == 2
