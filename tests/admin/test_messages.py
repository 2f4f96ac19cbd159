"""The list of messages, and a message's page."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_smtpx.admin import attempts
from django_smtpx.models import Content
from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_message_changelist"
SESSION_AND_USER = 2


def listed(client, **params):
    """Return the subjects that the list shows."""
    response = client.get(reverse(LIST), params)
    assert response.status_code == 200
    return [row.subject for row in response.context["cl"].result_list]


def page_of(client, message):
    """Return a message's page."""
    url = reverse("admin:django_smtpx_message_change", args=[message.pk])
    response = client.get(url)
    assert response.status_code == 200
    return response.content.decode()


def test_list_counts_outcomes(viewer):
    """A row says what has become of the message's deliveries."""
    message = rows.message()
    for name in ("a", "b", "c"):
        rows.delivery(message, f"{name}@example.com", status="sent")
    rows.refused(message)
    rows.message("Nobody's")
    page = viewer.get(reverse(LIST)).content.decode()
    assert "3 sent, 1 failed" in page
    assert "Shop &lt;shop@site.example&gt;" in page
    assert "2.0\xa0KB" in page


def test_query_count_of_the_list(viewer):
    """A page of the list takes as many statements for many rows as for one.

    Session, user, permissions (2), the mailers (one a mailer and one more), count, rows, counts,
    what is held.
    """
    rows.refused()
    with CaptureQueriesContext(connection) as one:
        viewer.get(reverse(LIST))
    for number in range(30):
        message = rows.message(f"Number {number}")
        for name in ("a", "b", "c"):
            rows.refused(message, f"{name}@example.com")
    with CaptureQueriesContext(connection) as many:
        viewer.get(reverse(LIST))
    assert len(many) == len(one) == SESSION_AND_USER + 8


def test_list_reads_no_content(viewer):
    """No list reads a mail's content."""
    rows.refused()
    with CaptureQueriesContext(connection) as queries:
        viewer.get(reverse(LIST))
    assert not any(Content._meta.db_table in query["sql"] for query in queries)


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"status": "failed"}, ["Mixed", "Refused"]),
        ({"status": "sent"}, ["Mixed"]),
        ({"category": "mailbox_unknown"}, ["Mixed", "Refused"]),
        ({"status": "sent", "category": "mailbox_unknown"}, []),
        ({"status": "failed", "category": "mailbox_unknown"}, ["Mixed", "Refused"]),
        ({"mailer": "other"}, ["Elsewhere"]),
        ({"status": "failed", "mailer": "other"}, []),
        ({"status": "nonsense"}, []),
    ],
)
def test_filters(viewer, params, found):
    """Filters by status and category mean one and the same delivery; no message comes twice."""
    rows.refused(rows.message("Refused"))
    mixed = rows.message("Mixed")
    rows.refused(mixed)
    rows.refused(mixed, "bob@example.com")
    rows.delivery(mixed, "eve@example.com", status="sent", category="ok")
    rows.delivery(rows.message("Elsewhere", mailer="other"))
    assert listed(viewer, **params) == found


def test_no_counts_beside_the_filters(viewer):
    """They would count every row: nobody is offered them, and asking for them does nothing."""
    rows.refused(rows.message("Refused"))
    page = viewer.get(reverse(LIST), {"_facets": "True"}).content.decode()
    assert "Show counts" not in page
    assert "failed (1)" not in page


@pytest.mark.parametrize(
    "term", ["Grüße", "boss@", "<two@site.example>", "bob@example.org", "4XyZ9", "Grüße 4XyZ9"]
)
def test_search(viewer, term):
    """Messages are found by what they say of themselves and by what is said of their deliveries."""
    rows.refused()
    message = rows.message(
        "Viele Grüße", message_id="<two@site.example>", from_header="boss@site.example"
    )
    rows.delivery(message, "bob@example.org", reply="Ok: queued as 4XyZ9Q")
    rows.delivery(message, "bob@example.org.example", reply="Ok: queued as 4XyZ9Q")
    assert listed(viewer, q=term) == ["Viele Grüße"]


def test_search_by_uuid(viewer):
    """A UUID finds its message and no other."""
    rows.message("Another")
    message = rows.message("This one")
    assert listed(viewer, q=str(message.uuid)) == ["This one"]


def test_search_without_the_permission_to_view_deliveries(staff):
    """A search tells nobody about recipients whom they may not see."""
    rows.refused(rows.message("Refused"), "bob@example.org")
    client = staff("view_message")
    assert listed(client, q="bob@example.org") == []
    assert listed(client, q="Refused") == ["Refused"]


def test_page(viewer):
    """A message's page shows its deliveries with every attempt and the server's own words."""
    message = rows.message(metadata={"order": 17}, tags=["invoice"])
    failed = rows.refused(message)
    page = page_of(viewer, message)
    assert reverse("admin:django_smtpx_delivery_change", args=[failed.pk]) in page
    for text in ("ann@example.com", "1 failed", "550 5.1.1", "No such user here", "RCPT TO"):
        assert text in page
    for text in (str(message.uuid), "&lt;1@site.example&gt;", "2.0\xa0KB, kept", "invoice"):
        assert text in page
    assert '<th scope="col">' in page
    assert '<th scope="row">' in page
    assert "<caption" in page
    assert page.count("<details><summary>Transcript of attempt 1</summary>") == 1


def test_page_says_that_the_content_is_gone(viewer):
    """A purged content is said to be gone, with the size that it had."""
    message = rows.message()
    Content.objects.all().delete()
    assert "2.0\xa0KB, deleted by the retention" in page_of(viewer, message)


def test_page_without_deliveries(viewer):
    """A message without a delivery says so."""
    assert "This message has no deliveries." in page_of(viewer, rows.message())


def test_page_of_many_deliveries(viewer, monkeypatch):
    """A page stays a page: what was not sent comes first, and the rest is a link away."""
    monkeypatch.setattr(attempts, "MOST_DELIVERIES", 3)
    monkeypatch.setattr(attempts, "MOST_WITH_TRANSCRIPTS", 2)
    message = rows.message()
    for name in ("a", "b", "c", "d"):
        rows.delivery(message, f"{name}@example.com", status="sent")
    rows.refused(message, "zoe@example.com")
    page = page_of(viewer, message)
    assert page.index("zoe@example.com") < page.index("a@example.com")
    assert "c@example.com" not in page
    assert "2 more are not shown here." in page
    assert f"?message__id__exact={message.pk}" in page
    listing = viewer.get(
        reverse("admin:django_smtpx_delivery_changelist"), {"message__id__exact": message.pk}
    )
    assert len(listing.context["cl"].result_list) == 5


def test_page_of_many_deliveries_reads_no_transcript(viewer, monkeypatch):
    """Transcripts of a mail to many are on the deliveries' pages, and are not read before."""
    monkeypatch.setattr(attempts, "MOST_WITH_TRANSCRIPTS", 1)
    message = rows.message()
    rows.refused(message)
    rows.refused(message, "bob@example.com")
    with CaptureQueriesContext(connection) as queries:
        page = page_of(viewer, message)
    assert "<details><summary>Transcript" not in page
    assert not any("transcript" in query["sql"] for query in queries)


def test_query_count_of_the_page(viewer):
    """A message's page takes as many statements for many deliveries and attempts as for one.

    Session, user, permissions (2), the message, whether its content is there, counts,
    deliveries, attempts, what is held.
    """
    message = rows.message()
    rows.refused(message)
    with CaptureQueriesContext(connection) as one:
        page_of(viewer, message)
    for number in range(30):
        failed = rows.refused(message, f"{number}@example.com")
        rows.attempt(failed, 2)
    with CaptureQueriesContext(connection) as many:
        page_of(viewer, message)
    assert len(many) == len(one) == SESSION_AND_USER + 8


def test_page_reads_no_content(viewer):
    """Whether the content is there is asked without reading it."""
    message = rows.message()
    with CaptureQueriesContext(connection) as queries:
        page_of(viewer, message)
    data = f'"{Content._meta.db_table}"."data"'
    assert not any(data in query["sql"] for query in queries)


def test_page_without_the_permission_to_view_deliveries(staff):
    """Who may not view deliveries sees how they stand, and neither recipients nor replies."""
    message = rows.message()
    rows.refused(message)
    page = page_of(staff("view_message"), message)
    assert "1 failed" in page
    for text in ("ann@example.com", "No such user", "django_smtpx/delivery/"):
        assert text not in page


def test_everything_is_escaped(viewer):
    """What a server or a sender wrote is text on the page, whatever it looks like."""
    evil = "<script>alert(1)</script>"
    message = rows.message(evil, from_header=evil, message_id=evil, metadata={evil: evil})
    bad = rows.delivery(message, f'"{evil}"@example.com', status="failed")
    rows.attempt(
        bad, reply=f"{evil}\n{evil}", host=evil, transcript=evil, tls=evil, command="<script>"
    )
    for page in (page_of(viewer, message), viewer.get(reverse(LIST)).content.decode()):
        assert evil not in page
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
