"""How many rows a list says there are."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_smtpx.admin import counting
from tests.admin import rows

pytestmark = pytest.mark.django_db

DELIVERIES = "/admin/django_smtpx/delivery/"


@pytest.fixture
def few(monkeypatch):
    """Count up to three rows."""
    monkeypatch.setattr(counting, "COUNTED", 3)


@pytest.mark.usefixtures("few")
@pytest.mark.parametrize(("there", "said"), [(3, "3 deliveries"), (4, "3+ deliveries")])
def test_a_list_says_that_there_are_more(viewer, there, said):
    """What was not counted is not said to be all."""
    for _ in range(there):
        rows.delivery()
    page = viewer.get(DELIVERIES).content.decode()
    assert said in page
    assert ("There are more than 3;" in page) == (there > 3)


@pytest.mark.usefixtures("few")
def test_where_thousands_are_set_apart_the_number_is_one(viewer, settings):
    """Django takes the number to pieces there; the sentence above it says that there are more."""
    settings.USE_THOUSAND_SEPARATOR = True
    for _ in range(4):
        rows.delivery()
    page = viewer.get(DELIVERIES).content.decode()
    assert "3 deliveries" in page
    assert "There are more than 3;" in page


@pytest.mark.usefixtures("few")
def test_no_list_counts_all_there_is(viewer):
    """Each statement that counts has a limit, filtered or not."""
    for _ in range(4):
        rows.delivery(status="sent")
    for query in (
        "",
        "?status__exact=sent",
        "?category__exact=ok",
        "?mailer=default",
        "?q=example",
    ):
        with CaptureQueriesContext(connection) as captured:
            assert viewer.get(DELIVERIES + query).status_code == 200
        counts = [one["sql"] for one in captured if "COUNT(" in one["sql"]]
        assert counts, query
        assert all("LIMIT 4" in sql for sql in counts), counts


@pytest.mark.parametrize("count", [1, 10_000])
def test_at_least_is_a_number(count):
    """It is compared as one, and says that it is not all."""
    assert counting.AtLeast(count) == count
    assert str(counting.AtLeast(count)) == f"{count}+"


def test_a_whole_address_is_found_by_itself(viewer):
    """It is looked for as it is, by its index, before parts of others are."""
    rows.delivery(recipient="ann@example.com")
    rows.delivery(recipient="joann@example.com")
    page = viewer.get(DELIVERIES, {"q": "ann@example.com"}).content.decode()
    assert "joann@example.com" not in page
    page = viewer.get(DELIVERIES, {"q": "nn@example.com"}).content.decode()
    assert "joann@example.com" in page


@pytest.mark.parametrize(
    ("category", "found"),
    [("ok", "sent@example.com"), ("mailbox_full", "full@example.com"), ("", "")],
)
def test_the_filter_by_category(viewer, category, found):
    """Each category finds its own."""
    rows.delivery(recipient="sent@example.com", status="sent", category="ok")
    rows.delivery(recipient="full@example.com", status="deferred", category="mailbox_full")
    page = viewer.get(DELIVERIES, {"category__exact": category}).content.decode()
    shown = {one for one in ("sent@example.com", "full@example.com") if one in page}
    assert shown == ({found} if found else set())


@pytest.mark.skipif(connection.vendor != "sqlite", reason="Others look at how large tables are.")
@pytest.mark.parametrize(
    ("query", "index"),
    [
        ("?status__exact=failed", "smtpx_delivery_status (status=?)"),
        ("?mailer=default", "smtpx_delivery_mailer (mailer=?)"),
        ("?category__exact=mailbox_full", "smtpx_delivery_category (category=?)"),
        ("?category__exact=ok", "smtpx_delivery_status (status=?)"),
        ("?q=ann%40example.com", "smtpx_delivery_recipient (recipient=?)"),
    ],
)
def test_a_list_is_read_along_an_index(viewer, query, index):
    """Page and count alike, and in the order of the index."""
    rows.delivery(recipient="ann@example.com")
    with CaptureQueriesContext(connection) as captured:
        viewer.get(DELIVERIES + query)
    ours = [one["sql"] for one in captured if 'FROM "django_smtpx_delivery"' in one["sql"]]
    assert ours
    for sql in ours:
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN QUERY PLAN {sql}")
            plan = str(cursor.fetchall())
        assert index in plan, sql
        assert "TEMP B-TREE" not in plan, sql
