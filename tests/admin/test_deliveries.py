"""The list of deliveries, and a delivery's page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_smtpx.models import Delivery
from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_delivery_changelist"
SESSION_AND_USER = 2


def listed(client, **params):
    """Return the recipients that the list shows."""
    response = client.get(reverse(LIST), params)
    assert response.status_code == 200
    return [row.recipient for row in response.context["cl"].result_list]


def page_of(client, delivery):
    """Return a delivery's page."""
    url = reverse("admin:django_smtpx_delivery_change", args=[delivery.pk])
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_list_says_it_in_words(viewer):
    """A row says where the delivery stands without a look into the code."""
    rows.refused()
    page = viewer.get(reverse(LIST)).content.decode()
    for text in ("ann@example.com", "failed", "mailbox unknown", "Invoice 17", "default"):
        assert text in page
    for text in ("mx.example.com", "550 5.1.1", "March 4, 2026"):
        assert text in page
    assert "mailbox_unknown</td>" not in page


def test_list_says_when_it_goes_on(viewer):
    """A row that waits says what it waits for."""
    lane = Delivery.Lane.IDLE
    later = timezone.now() + rows.SOON
    rows.delivery(status="deferred", lane=lane, next_attempt_at=later, parked_at=rows.NOW)
    rows.delivery(status="unknown", lane=lane, next_attempt_at=None)
    page = viewer.get(reverse(LIST)).content.decode()
    assert "rests with its mailer, domain or sender until" in page
    assert "waits for a person" in page


def test_newest_first(viewer):
    """The latest mail comes first."""
    for recipient in ("a@example.com", "b@example.com", "c@example.com"):
        rows.delivery(None, recipient)
    assert listed(viewer) == ["c@example.com", "b@example.com", "a@example.com"]


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"status__exact": "failed"}, ["ann@example.com"]),
        ({"status__exact": "queued"}, ["eve@example.net", "bob@example.org"]),
        ({"category__exact": "mailbox_unknown"}, ["ann@example.com"]),
        ({"mailer": "other"}, ["bob@example.org"]),
        ({"mailer": ""}, ["eve@example.net"]),
        ({"status__exact": "queued", "mailer": "other"}, ["bob@example.org"]),
    ],
)
def test_filters(viewer, params, found):
    """Deliveries are found by status, category and mailer, a nameless one too."""
    rows.refused()
    rows.delivery(rows.message(mailer="other"), "bob@example.org")
    rows.delivery(rows.message(mailer=""), "eve@example.net")
    assert listed(viewer, **params) == found


def test_mailer_filter_offers_the_configured_and_the_used(viewer):
    """A mailer that is gone can be chosen as long as its mail is there."""
    rows.delivery(rows.message(mailer="gone"))
    page = viewer.get(reverse(LIST)).content.decode()
    assert "gone (not configured)" in page
    assert "?mailer=default" in page


@pytest.mark.parametrize(
    "term", ["BOB@", "example.org", "Grüße", "<two@site.example>", "4XyZ9", "Grüße bob@example.org"]
)
def test_search(viewer, term):
    """Deliveries are found by recipient, domain, subject, Message-ID, and the server's queue id."""
    rows.refused()
    message = rows.message("Viele Grüße", message_id="<two@site.example>")
    rows.delivery(message, "bob@example.org", reply="Ok: queued as 4XyZ9Q")
    assert listed(viewer, q=term) == ["bob@example.org"]


def test_search_by_uuid(viewer):
    """A message's UUID finds its deliveries, and a stranger's finds none."""
    message = rows.message()
    rows.delivery(message, "bob@example.org")
    rows.delivery(rows.message(), "ann@example.com")
    assert listed(viewer, q=str(message.uuid)) == ["bob@example.org"]
    assert listed(viewer, q=message.uuid.hex.upper()) == ["bob@example.org"]
    assert listed(viewer, q="12345678-1234-1234-1234-123456789abc") == []


def test_uuid_that_is_part_of_a_message_id(viewer):
    """A UUID that is no message's is still looked for in the texts."""
    uuid = "12345678-1234-1234-1234-123456789abc"
    rows.delivery(rows.message(message_id=f"<{uuid}@site.example>"), "bob@example.org")
    assert listed(viewer, q=uuid) == ["bob@example.org"]


def test_what_waits_for_a_rate_is_no_choice(viewer):
    """Of a rate the rows know nothing: nobody is offered a list of them, and a link to it shows all."""
    row = rows.delivery()
    assert listed(viewer, wait="rate") == [row.recipient]
    page = viewer.get(reverse(LIST)).content.decode()
    assert "?wait=ready" in page
    assert "?wait=rate" not in page


def test_query_count_of_the_list(viewer, django_assert_num_queries):
    """A page of the list takes as many statements for a hundred rows as for one.

    Session, user, permissions (2), the mailers (one a mailer and one more), count, rows, what
    is held.
    """
    rows.refused()
    with CaptureQueriesContext(connection) as one:
        viewer.get(reverse(LIST))
    for number in range(40):
        rows.refused(None, f"{number}@example.com")
    with CaptureQueriesContext(connection) as many:
        viewer.get(reverse(LIST))
    assert len(many) == len(one) == SESSION_AND_USER + 7


def test_page(viewer):
    """A delivery's page tells its attempts, in order, and leads to its message."""
    failed = rows.refused()
    rows.attempt(failed, 2, reply="Still no such user", ip="2001:db8::1", port=25, transcript="")
    page = page_of(viewer, failed)
    assert reverse("admin:django_smtpx_message_change", args=[failed.message_id]) in page
    assert page.index('<samp dir="auto">No such user here') < page.index("Still no such user")
    for text in ("<code>RCPT</code>", "192.0.2.1:2525", "[2001:db8::1]:25", "RCPT TO", "0.25"):
        assert text in page
    assert "March 4, 2026, noon" in page
    assert "+00:00</div>" not in page
    assert "TLSv1.3 TLS_AES_256_GCM_SHA384, verified by PKIX" in page
    assert page.count("<details><summary>Transcript") == 1
    assert "S: 550 5.1.1 No such user here" in page


def test_page_of_one_that_was_not_tried(viewer):
    """A delivery that waits for its first attempt says so."""
    assert "Not tried yet." in page_of(viewer, rows.delivery())


def test_query_count_of_the_page(viewer):
    """A delivery's page takes as many statements for ten attempts as for one.

    Session, user, permissions (2), the delivery, its message, its attempts, what is held.
    """
    failed = rows.refused()
    with CaptureQueriesContext(connection) as one:
        page_of(viewer, failed)
    for number in range(2, 11):
        rows.attempt(failed, number)
    with CaptureQueriesContext(connection) as many:
        page_of(viewer, failed)
    assert len(many) == len(one) == SESSION_AND_USER + 6


def test_page_without_the_permission_to_view_messages(staff):
    """Who may not view messages gets no link to one."""
    failed = rows.refused()
    page = page_of(staff("view_delivery"), failed)
    assert "Invoice 17" in page
    assert "django_smtpx/message/" not in page


def test_everything_is_escaped(viewer):
    """What a server or a sender wrote is text on the page, whatever it looks like."""
    evil = "<script>alert(1)</script>"
    message = rows.message(evil)
    bad = rows.delivery(message, f'"{evil}"@example.com', reply=evil, host=evil)
    rows.attempt(
        bad, reply=f"{evil}\n{evil}", host=evil, transcript=evil, tls=evil, command="<script>"
    )
    for page in (page_of(viewer, bad), viewer.get(reverse(LIST)).content.decode()):
        assert evil not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page


def test_numbers_are_not_grouped(viewer, settings):
    """A port is no quantity, even where thousands are separated."""
    settings.USE_THOUSAND_SEPARATOR = True
    assert "192.0.2.1:2525" in page_of(viewer, rows.refused())
