"""Lists that do not go through all there is, say how far they went, and lead on."""

from __future__ import annotations

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_smtpx.admin import counting, messages
from django_smtpx.admin.deliveries import DeliveryAdmin
from django_smtpx.models import Delivery, Message
from tests.admin import rows

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/django_smtpx/delivery/"
MESSAGES = "/admin/django_smtpx/message/"
LIMITED = "Only the newest were looked at"
HOUR = timedelta(hours=1)
HUGE = str(2**70)


@pytest.fixture
def few(monkeypatch):
    """Look at three rows of a list."""
    monkeypatch.setattr(counting, "COUNTED", 3)
    for admin in (DeliveryAdmin, messages.MessageAdmin):
        monkeypatch.setattr(admin, "searched", 3)


def page_of(client, url, query=""):
    """Return a list's page, and what is in it."""
    response = client.get(url + query)
    assert response.status_code == 200, response
    found = [str(getattr(row, "recipient", row)) for row in response.context["cl"].result_list]
    return response.content.decode(), found


def link(page, text):
    """Return the query that a link of that text leads to."""
    match = re.search(rf'<a href="(\?[^"]*)">{re.escape(text)}', page)
    assert match, text
    return unescape(match[1])


def deliveries(*names, **values):
    """Store a delivery for each name, each of a message of its own."""
    return [rows.delivery(recipient=f"{name}@example.com", **values) for name in names]


@pytest.mark.usefixtures("few")
def test_a_search_goes_through_the_newest(viewer):
    """Older ones are found by going on, and all by asking for them; the page says so."""
    deliveries("ann", "bob", "cid", "dan", "eve")
    page, found = page_of(viewer, DELIVERIES, "?q=example.co")
    assert found == ["eve@example.com", "dan@example.com", "cid@example.com"]
    assert LIMITED in page
    assert "3 at the most, back to March 4, 2026, noon" in page
    older, found = page_of(viewer, DELIVERIES, link(page, "Look at those before"))
    assert found == ["bob@example.com", "ann@example.com"]
    assert LIMITED not in older
    assert page_of(viewer, DELIVERIES, link(older, "Back to the newest"))[1][0] == "eve@example.com"
    everything, found = page_of(viewer, DELIVERIES, link(page, "Look at all"))
    assert LIMITED not in everything
    assert "There are more than 3;" in everything


@pytest.mark.usefixtures("few")
def test_a_search_that_saw_all_says_nothing(viewer):
    """Where there is no more to look at, nothing is said of how far one looked."""
    deliveries("ann", "bob", "cid")
    page, found = page_of(viewer, DELIVERIES, "?q=nn@ex")
    assert found == ["ann@example.com"]
    assert LIMITED not in page


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("term", ["ann@example.com", "<1@site.example>", "1@site.example"])
def test_whole_values_are_found_however_old(viewer, term):
    """A whole address and a Message-ID, in brackets or without, are found by index."""
    deliveries("ann", "bob", "cid", "dan", "eve")
    page, found = page_of(viewer, DELIVERIES, f"?q={term}")
    assert found == ["ann@example.com"]
    assert LIMITED not in page


@pytest.mark.parametrize("term", ["ann@müller.example", "ann@xn--mller-kva.EXAMPLE"])
def test_an_international_address_is_found_as_people_write_it(viewer, term):
    """Domains are stored in ASCII and lower case, and looked for like that, too."""
    rows.delivery(recipient="ann@xn--mller-kva.example")
    rows.delivery(recipient="joann@xn--mller-kva.example")
    assert page_of(viewer, DELIVERIES, f"?q={term}")[1] == ["ann@xn--mller-kva.example"]


def test_an_address_with_no_such_domain(viewer):
    """What has no form in ASCII is looked for as it is."""
    deliveries("ann")
    assert page_of(viewer, DELIVERIES, "?q=ann@" + "ü" * 80)[1] == []


@pytest.mark.usefixtures("few")
def test_a_search_within_a_filter(viewer):
    """The newest of what is filtered are looked at, not the newest of all."""
    deliveries("ann", status="failed", category="mailbox_full")
    deliveries("bob", "cid", "dan", "eve")
    page, found = page_of(viewer, DELIVERIES, "?status__exact=failed&q=example.co")
    assert found == ["ann@example.com"]
    assert LIMITED not in page


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize("domain", ["example.com", "@EXAMPLE.com", "example.com.", "x@example.com"])
def test_the_filter_by_domain(viewer, domain):
    """A domain is found among the newest, however it is written."""
    deliveries("ann", "bob")
    rows.delivery(recipient="eve@example.net")
    deliveries("dan")
    page, found = page_of(viewer, DELIVERIES, f"?domain={domain}")
    assert found == ["dan@example.com", "bob@example.com"]
    assert LIMITED in page
    page, found = page_of(viewer, DELIVERIES, link(page, "Look at those before"))
    assert found == ["ann@example.com"]


@pytest.mark.usefixtures("few")
def test_another_order_is_one_of_the_newest(viewer):
    """What no index orders is put in order among the newest, and the page says so."""
    deliveries("zoe", "dan", "cid", "ann")
    page, found = page_of(viewer, DELIVERIES, "?o=0")
    assert found == ["ann@example.com", "cid@example.com", "dan@example.com"]
    assert LIMITED in page
    _, found = page_of(viewer, DELIVERIES, "?o=-9")
    assert found[0] == "ann@example.com"


@pytest.mark.parametrize("lookup", ["recipient__icontains=example.co", "reply="])
@pytest.mark.usefixtures("few")
def test_what_is_no_filter_is_looked_up_among_the_newest(viewer, lookup):
    """A lookup that is typed into a list's address goes through no more than a search does."""
    deliveries("ann", "bob", "cid", "dan", "eve")
    page, found = page_of(viewer, DELIVERIES, f"?{lookup}")
    assert found == ["eve@example.com", "dan@example.com", "cid@example.com"]
    assert LIMITED in page
    older, found = page_of(viewer, DELIVERIES, link(page, "Look at those before"))
    assert found == ["bob@example.com", "ann@example.com"]
    assert LIMITED not in older
    assert len(page_of(viewer, DELIVERIES, link(page, "Look at all"))[1]) == 5


@pytest.mark.parametrize("lookup", ["code=x", "code__nothing=1", "settled_at__lt=yesterday"])
def test_a_lookup_that_is_none(viewer, lookup):
    """It is answered as Django does: by the list, and that the address was wrong."""
    response = viewer.get(f"{DELIVERIES}?{lookup}")
    assert (response.status_code, response.headers["Location"]) == (302, f"{DELIVERIES}?e=1")


@pytest.mark.usefixtures("few")
def test_what_failed_long_ago_is_found_behind_what_failed_since(viewer):
    """An hour's failures are looked for among what had been stored by then."""
    at = rows.NOW
    deliveries("ann", "bob", status="failed", settled_at=at)
    late = deliveries("cid", "dan", "eve", "fay", status="failed", settled_at=at + 2 * HOUR)
    Message.objects.filter(deliveries__in=late).update(created_at=at + HOUR)
    within = {"settled_at__gte": at.isoformat(), "settled_at__lt": (at + HOUR).isoformat()}
    page, found = page_of(viewer, DELIVERIES, f"?status__exact=failed&{urlencode(within)}")
    assert found == ["bob@example.com", "ann@example.com"]
    assert LIMITED not in page


@pytest.mark.usefixtures("few")
def test_what_completes_an_address_goes_through_the_newest(admin_client):
    """A site's own model that points to deliveries may let them be chosen by what is typed."""
    deliveries("ann", "bob", "cid", "dan", "eve")
    field = {"app_label": "django_smtpx", "model_name": "attempt", "field_name": "delivery"}
    response = admin_client.get(f"/admin/autocomplete/?{urlencode({**field, 'term': 'example'})}")
    keys = {int(one["id"]) for one in response.json()["results"]}
    assert keys == set(Delivery.objects.order_by("-pk")[:3].values_list("pk", flat=True))


def test_behind_the_last_page_it_goes_on(viewer, monkeypatch):
    """The last page that can be turned to leads to the rows behind it, however many there are."""
    monkeypatch.setattr(counting, "COUNTED", 4)
    monkeypatch.setattr(DeliveryAdmin, "list_per_page", 2)
    deliveries("ann", "bob", "cid", "dan", "eve", "fay", "gus")
    page, found = page_of(viewer, DELIVERIES)
    assert found == ["gus@example.com", "fay@example.com"]
    assert "Those before" not in page
    page, found = page_of(viewer, DELIVERIES, "?p=2")
    assert found == ["eve@example.com", "dan@example.com"]
    behind = link(page, "Those before")
    page, found = page_of(viewer, DELIVERIES, behind)
    assert found == ["cid@example.com", "bob@example.com"]
    page, found = page_of(viewer, DELIVERIES, f"{behind}&p=2")
    assert found == ["ann@example.com"]
    assert "Those before" not in page
    assert "?before" not in link(page, "failed")


@pytest.mark.parametrize("before", ["", "x", "-1", "²", HUGE, "9" * 5000])
def test_a_place_that_is_none(viewer, before):
    """What is no key is left out, and what is too large a one is before nothing."""
    deliveries("ann")
    assert page_of(viewer, DELIVERIES, f"?before={before}")[1] == ["ann@example.com"]


@pytest.mark.usefixtures("few")
def test_a_search_for_messages(viewer):
    """A message is found once, by two of its recipients, among the newest."""
    deliveries("ann")
    message = rows.message("Two")
    for name in ("bob", "bea"):
        rows.delivery(message, f"{name}@example.com")
    deliveries("cid", "dan")
    page, found = page_of(viewer, MESSAGES, "?q=example.com")
    assert len(found) == 3
    assert LIMITED in page
    page, found = page_of(viewer, MESSAGES, link(page, "Look at those before"))
    assert len(found) == 1


def test_a_search_for_messages_of_many_recipients(viewer, monkeypatch):
    """Deliveries are bounded, too: a few messages may have more of them than many."""
    monkeypatch.setattr(messages, "SEARCHED", 2)
    deliveries("ann")
    message = rows.message("Many")
    for name in ("bob", "bea", "ben"):
        rows.delivery(message, f"{name}@example.com")
    page, found = page_of(viewer, MESSAGES, "?q=example.com")
    assert found == ["Many <2@site.example>"]
    assert LIMITED in page
    page, found = page_of(viewer, MESSAGES, link(page, "Look at those before"))
    assert found == ["Invoice 17 <1@site.example>"]
    page, found = page_of(viewer, MESSAGES, "?q=example.com&every=1")
    assert len(found) == 2
    assert LIMITED not in page


@pytest.mark.usefixtures("few")
def test_messages_by_status(viewer):
    """Messages are found by the newest deliveries of that status; older ones by going on."""
    deliveries("ann", "bob", status="failed", category="mailbox_full")
    deliveries("cid", status="sent", category="ok")
    deliveries("dan", "eve", "fay", status="failed", category="mailbox_full")
    page, found = page_of(viewer, MESSAGES, "?status=failed&category=mailbox_full")
    assert len(found) == 3
    assert LIMITED in page
    oldest = Message.objects.order_by("pk")[2].pk
    page, found = page_of(viewer, MESSAGES, f"?status=failed&before={oldest}")
    assert len(found) == 2
    assert LIMITED not in page
    page, found = page_of(viewer, MESSAGES, "?category=ok")
    assert len(found) == 1


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(
    ("url", "query"),
    [
        (DELIVERIES, "?q=example"),
        (DELIVERIES, "?q=example&status__exact=failed"),
        (DELIVERIES, "?domain=example.com"),
        (DELIVERIES, "?o=4"),
        (MESSAGES, "?q=example"),
        (MESSAGES, "?status=failed"),
        (MESSAGES, "?status=failed&category=mailbox_full&q=Invoice"),
    ],
)
def test_statements_do_not_grow(viewer, url, query):
    """A list takes as many statements for many rows as for a few, bounded or not."""
    values = {"status": "failed", "category": "mailbox_full"}
    counts = []
    for count in (4, 20):
        deliveries(*map(str, range(count)), **values)
        with CaptureQueriesContext(connection) as captured:
            page_of(viewer, url, query)
        counts.append(len(captured))
    assert counts[0] == counts[1] <= 16


@pytest.mark.parametrize("url", [DELIVERIES, MESSAGES])
def test_odd_rows_are_readable(viewer, url):
    """Very long subjects are cut, and names are set apart in their own direction."""
    message = rows.message("Sehr lang " * 200, from_header="ש@example.com " * 50)
    rows.delivery(message, "שלום@example.com", reply="x" * 5000)
    page, _ = page_of(viewer, url)
    assert "Sehr lang " * 9 not in page
    assert len(page) < 60_000
    if url == DELIVERIES:
        assert "<bdi>שלום@example.com</bdi>" in page


def test_every_delivery_of_a_message_has_its_page_of_the_list(viewer):
    """A mail to 500 is a list of 100 a page, whose statements are those of any list."""
    message = rows.message()
    Delivery.objects.bulk_create(
        Delivery(message=message, mailer="default", recipient=f"{n}@example.com", age_from=rows.NOW)
        for n in range(500)
    )
    _, found = page_of(viewer, DELIVERIES, f"?message__id__exact={message.pk}&p=5")
    assert len(found) == 100
    assert found[-1] == "0@example.com"
