"""A copy of a message is sent by a form: a new message, to whom the user says."""

from __future__ import annotations

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.core.mail import EmailMessage
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_smtpx.admin import copying
from django_smtpx.compose import COPY_OF
from django_smtpx.models import Content, ContentPart, Delivery, Message
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.admin import rows
from tests.admin.pressing import confirm, said, text_of

pytestmark = pytest.mark.django_db
VIEWS = ("view_message", "view_delivery")
OTHERS = {
    "bulk": {"host": "127.0.0.1"},
    "now": {"host": "127.0.0.1", "mode": "now"},
    "strict": {"host": "127.0.0.1", "suppression": True},
    "staging": {"host": "127.0.0.1", "redirect_to": ["team@site.example"]},
}


@pytest.fixture(autouse=True)
def site(default_mailer):
    """Configure the mailers."""
    with real_queue(host="127.0.0.1", port=1, mailers=OTHERS):
        yield


@pytest.fixture
def copier(staff):
    """Log in somebody who may copy messages, and not see their contents."""
    return staff(*VIEWS, "copy_message")


@pytest.fixture
def reader(staff):
    """Log in somebody who may copy messages and see their contents."""
    return staff(*VIEWS, "copy_message", "view_content")


def url_of(message):
    """Return the address of a message's form."""
    return reverse("admin:django_smtpx_message_copy", args=[message.pk])


def sent_mail(*recipients, **values):
    """Store a mail as the backend does, and settle it as sent."""
    email = EmailMessage("Invoice 17", "the secret body", "shop@site.example", list(recipients))
    for name, value in values.items():
        setattr(email, name, value)
    email.send()
    Delivery.objects.update(status="sent", lane=Delivery.Lane.OUT)
    return email.smtpx


def test_a_copy_of_what_was_sent(copier, hints, django_capture_on_commit_callbacks):
    """Confirmed it is a new message; the first one stays as it is, and both say what was done."""
    first = sent_mail("ann@example.com", "bob@example.com", idempotency_key="once")
    hints.clear()
    before = list(Delivery.objects.values())
    form = copier.get(url_of(first))
    assert form.context["form"].initial["recipients"] == ["ann@example.com", "bob@example.com"]
    asked = copier.post(
        url_of(first), {"recipients": ["bob@example.com"], "mailer": "default", "others": "c@x.y"}
    )
    assert "A copy of “Invoice 17” goes through the mailer default to: bob@example.com" in text_of(
        asked
    )
    assert Message.objects.count() == 1
    assert not LogEntry.objects.exists()
    with django_capture_on_commit_callbacks(execute=True):
        done = confirm(copier, asked)
    copy = Message.objects.exclude(pk=first.pk).get()
    assert copy.metadata == {COPY_OF: str(first.uuid)}
    assert copy.idempotency_key.startswith("by-hand-")
    assert (copy.mailer, copy.subject) == ("default", "Invoice 17")
    assert copy.message_id != first.message_id
    assert [row.recipient for row in copy.deliveries.all()] == ["bob@example.com"]
    assert list(Delivery.objects.filter(message=first).values()) == before
    assert hints == ["default"]
    page = reverse("admin:django_smtpx_message_change", args=[copy.pk])
    assert said(done) == [f'<a href="{page}">The copy is in the queue.</a>']
    assert done.url == reverse("admin:django_smtpx_message_change", args=[first.pk])
    entries = LogEntry.objects.order_by("pk")
    assert [(one.object_id, one.action_flag, one.get_change_message()) for one in entries] == [
        (str(first.pk), CHANGE, f"Copied, as {copy.uuid}"),
        (str(copy.pk), ADDITION, f"Copy of {first.uuid}"),
    ]


def test_a_copy_arrives_with_the_same_content(copier):
    """What reaches the server is the first mail, but for its Message-ID and its date."""
    with ScriptedServer() as server, real_queue(server):
        email = EmailMessage("Subject", "Body", "from@example.com", ["ann@example.com"])
        email.send()
        deliver()
        asked = copier.post(
            url_of(email.smtpx), {"recipients": "ann@example.com", "mailer": "default"}
        )
        confirm(copier, asked)
        deliver()
        first, second = (message.content.split(b"\r\n") for message in server.messages)
    changed = {a.partition(b":")[0] for a, b in zip(first, second, strict=True) if a != b}
    assert changed <= {b"Message-ID", b"Date"}
    assert b"Message-ID" in changed


def test_a_delivery_alone(copier):
    """From a delivery's page the copy is for its recipient, unless more are chosen."""
    first = sent_mail("ann@example.com", "bob@example.com")
    bob = first.deliveries.get(recipient="bob@example.com")
    page = copier.get(reverse("admin:django_smtpx_delivery_change", args=[bob.pk]))
    way = f"{url_of(first)}?delivery={bob.pk}"
    assert f'<a class="button" href="{way}">Send a copy</a>' in page.content.decode()
    form = copier.get(way).context["form"]
    assert form.initial["recipients"] == ["bob@example.com"]
    assert {value for value, _ in form.fields["recipients"].choices} == {
        "ann@example.com",
        "bob@example.com",
    }
    for other in ("x", str(rows.delivery().pk), "9" * 30, "²"):
        initial = copier.get(url_of(first), {"delivery": other}).context["form"].initial
        assert initial["recipients"] == ["ann@example.com", "bob@example.com"]


def test_who_may_not_see_the_content_sends_it_to_nobody_else(copier):
    """A copy to one's own address would be a look at it."""
    first = sent_mail("ann@example.com")
    page = copier.get(url_of(first)).content.decode()
    assert 'name="others"' not in page
    assert "the secret body" not in page
    for data in ({"others": "me@example.com"}, {"recipients": ["me@example.com"]}):
        done = copier.post(url_of(first), {**data, "mailer": "default", "confirmed": "1"})
        assert done.status_code == 200
        assert done.context["form"].errors
    assert Message.objects.count() == 1


def test_who_may_see_the_content_chooses_anybody(reader):
    """Other addresses are taken, one on each line, and each recipient once."""
    first = sent_mail("ann@example.com")
    data = {"recipients": ["ann@example.com"], "others": "Bob <b@x.example>\n\nann@EXAMPLE.com\n"}
    confirm(reader, reader.post(url_of(first), {**data, "mailer": "bulk"}))
    copy = Message.objects.exclude(pk=first.pk).get()
    assert copy.mailer == "bulk"
    recipients = [row.recipient for row in copy.deliveries.order_by("pk")]
    assert recipients == ["ann@example.com", "b@x.example"]


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ({"others": ""}, "Choose a recipient at least."),
        ({"others": "ann@\nb@x.example\nc c"}, "Invalid address 'ann@'"),
        ({"others": "a@x.y\r\nBcc: <b@x.y>"}, "Invalid address 'Bcc: <b@x.y>'"),
        ({"others": "\n".join(f"{n}@x.y" for n in range(101))}, "can have 100 recipients, and"),
        ({"mailer": "gone", "others": "b@x.example"}, "Select a valid choice. gone is not one"),
        ({"mailer": "now", "others": "b@x.example"}, "Select a valid choice. now is not one"),
    ],
)
def test_what_is_wrong_is_said(reader, data, error):
    """The field, the value and the mend; nothing is stored."""
    first = sent_mail("ann@example.com")
    response = reader.post(url_of(first), {"mailer": "default", "confirmed": "1", **data})
    assert error in text_of(response)
    assert Message.objects.count() == 1


def test_a_purged_content_is_not_copied(copier):
    """The page says why, and there is no form."""
    first = sent_mail("ann@example.com")
    Content.objects.all().delete()
    data = {"recipients": ["ann@example.com"], "mailer": "default", "confirmed": "1"}
    for response in (copier.get(url_of(first)), copier.post(url_of(first), data)):
        assert "has been deleted by the retention" in text_of(response)
        assert 'type="submit" name="confirmed"' not in response.content.decode()
    assert Message.objects.count() == 1


def test_a_content_that_cannot_be_read_is_not_copied(copier, settings):
    """What keeps it away is said; it may be there again later."""
    settings.SMTPX_CONTENT_INLINE_MAX = 10
    first = sent_mail("ann@example.com")
    part = ContentPart.objects.get()
    part.data = part.data[:5]
    part.save()
    data = {"recipients": ["ann@example.com"], "mailer": "default"}
    assert "cannot be read just now: 5 bytes of it are there" in text_of(
        copier.post(url_of(first), data)
    )


@pytest.mark.parametrize(
    ("mailer", "reason"),
    [
        ("gone", "Mailer 'gone' is not configured."),
        ("now", "Mailer 'now' delivers in the calling process (mode='now'), and queues nothing."),
        ("", ""),
    ],
)
def test_the_mailer_of_the_first_one_cannot_queue(copier, mailer, reason):
    """Why is said, and another one can be chosen."""
    first = sent_mail("ann@example.com")
    Message.objects.update(mailer=mailer)
    form = copier.get(url_of(first))
    assert reason in text_of(form)
    names = [name for name, _ in form.context["form"].fields["mailer"].choices]
    assert names == ["bulk", "default", "staging", "strict"]
    data = {"recipients": ["ann@example.com"], "mailer": "bulk"}
    confirm(copier, copier.post(url_of(first), data))
    assert Message.objects.filter(mailer="bulk").exists()


def test_what_stands_in_its_way_is_said(copier):
    """A mailer that rests, an address on the list, and a redirection, before it is confirmed."""
    first = sent_mail("ann@example.com", expires_at=timezone.now() + rows.SOON)
    Message.objects.update(expires_at=rows.NOW)
    rows.route(mailer="strict")
    rows.suppression("ann@example.com")
    data = {"recipients": ["ann@example.com"]}
    strict = text_of(copier.post(url_of(first), {**data, "mailer": "strict"}))
    assert "ann@example.com (on the suppression list: it is held back)" in strict
    assert "Mailer strict rests, and its mail with it: auth 535" in strict
    assert "set for it to expire is over" in strict
    staging = copier.post(url_of(first), {**data, "mailer": "staging"})
    assert "to: team@site.example The mailer redirects all mail" in text_of(staging)
    confirm(copier, staging)
    copy = Message.objects.get(mailer="staging")
    assert [row.recipient for row in copy.deliveries.all()] == ["team@site.example"]
    assert copy.metadata["smtpx_intended_to"] == ["ann@example.com"]
    assert b"\r\nTo: team@site.example\r\n" in copy.content
    assert b"\r\nTo: ann@example.com" not in copy.content


def test_of_many_recipients_some_are_shown(copier, monkeypatch):
    """The form stays small; nobody is chosen beforehand."""
    monkeypatch.setattr(copying, "MOST", 2)
    first = sent_mail(*(f"{number}@example.com" for number in range(4)))
    form = copier.get(url_of(first))
    assert "Of 4 recipients the first 2 are shown." in text_of(form)
    assert form.context["form"].initial["recipients"] == []
    last = first.deliveries.get(recipient="3@example.com")
    form = copier.get(url_of(first), {"delivery": last.pk}).context["form"]
    assert next(value for value, _ in form.fields["recipients"].choices) == "3@example.com"


def test_what_was_sent_is_not_sent_again_and_says_so(staff):
    """Its page has no such button, says why, and offers the copy."""
    client = staff(*VIEWS, "retry_delivery", "copy_message")
    delivery = sent_mail("ann@example.com").deliveries.get()
    page = client.get(reverse("admin:django_smtpx_delivery_change", args=[delivery.pk]))
    assert "It was sent, and is not sent again. A copy is a new message." in text_of(page)
    assert 'name="deed"' not in page.content.decode()
    assert url_of(delivery.message) in page.content.decode()


@pytest.mark.parametrize(
    "codenames", [(*VIEWS,), ("view_message", "copy_message"), ("view_delivery", "copy_message")]
)
def test_who_may_not_copy(staff, codenames):
    """It takes the permission to see messages, their deliveries, and its own."""
    client, first = staff(*codenames), sent_mail("ann@example.com")
    data = {"recipients": ["ann@example.com"], "mailer": "default", "confirmed": "1"}
    assert client.get(url_of(first)).status_code == 403
    assert client.post(url_of(first), data).status_code == 403
    for row, name in ((first, "message"), (first.deliveries.get(), "delivery")):
        if f"view_{name}" in codenames:
            page = client.get(reverse(f"admin:django_smtpx_{name}_change", args=[row.pk]))
            assert url_of(first) not in page.content.decode()


def test_a_get_copies_nothing(copier):
    """No link does it, no other verb, and no other site's form; what is not there is not found."""
    first = sent_mail("ann@example.com")
    data = {"recipients": ["ann@example.com"], "mailer": "default", "confirmed": "1"}
    copier.get(url_of(first), data)
    assert copier.put(url_of(first)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = copier.cookies
    assert strict.post(url_of(first), data).status_code == 403
    assert Message.objects.count() == 1
    for key in ("0", "x", "9" * 30):
        assert copier.get(reverse("admin:django_smtpx_message_copy", args=[key])).status_code == 404


def test_a_confirmation_that_is_sent_twice_sends_one_copy(copier):
    """A double click, or the way back and the button again: the first copy is shown once more."""
    first = sent_mail("ann@example.com")
    asked = copier.post(url_of(first), {"recipients": ["ann@example.com"], "mailer": "default"})
    done, again = confirm(copier, asked), confirm(copier, asked)
    assert Message.objects.count() == 2
    assert said(again)[0] == said(done)[0]
    assert LogEntry.objects.count() == 2
    asked = copier.post(url_of(first), {"recipients": ["ann@example.com"], "mailer": "default"})
    confirm(copier, asked)
    assert Message.objects.count() == 3
