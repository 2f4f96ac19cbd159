"""The suppression list in the admin: looked at, added to, changed and taken off."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from django_smtpx.models import Attempt, Delivery, Suppression
from tests.admin import rows

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
EVERY = ("view_suppression", "add_suppression", "change_suppression", "delete_suppression")


def address(page, *args):
    """Return the address of a page."""
    return reverse(f"admin:django_smtpx_suppression_{page}", args=args)


@pytest.fixture
def editor(staff):
    """Log in somebody who may do all there is with the list, and see deliveries."""
    return staff(*EVERY, "view_delivery")


def listed(client, **params):
    """Return the addresses that the list shows."""
    response = client.get(address("changelist"), params)
    assert response.status_code == 200
    return [row.address for row in response.context["cl"].result_list]


def added(client, email, reason="asked us to", day="", time=""):
    """Fill in the form for a new entry, and return the response."""
    values = {"address": email, "reason": reason, "expires_at_0": day, "expires_at_1": time}
    return client.post(address("add"), values)


def errors(response):
    """Return what is said about the fields of a form that was not taken."""
    assert response.status_code == 200
    return response.context["adminform"].form.errors


def with_evidence(**values):
    """Store an entry that a refusal made, with the refusal."""
    refused = rows.refused()
    attempt = Attempt.objects.get(delivery=refused)
    return rows.suppression(refused.recipient, attempt=attempt, **values)


def test_list_says_who_why_and_until_when(editor):
    """An entry shows the server's words, the attempt behind it and when it ends."""
    entry = with_evidence(expires_at=timezone.now() + 3 * DAY)
    rows.suppression("bob@example.org", category="", reason="asked us to")
    page = editor.get(address("changelist")).content.decode()
    for text in ("ann@example.com", "mailbox unknown", "550 5.1.1 No such user here", "days ("):
        assert text in page
    for text in ("bob@example.org", "by a person", "asked us to", "never", "March 4, 2026, noon"):
        assert text in page
    link = reverse("admin:django_smtpx_delivery_change", args=[entry.attempt.delivery_id])
    assert f'<a href="{link}">Attempt 1, March 4, 2026, noon</a>' in page


def test_evidence_is_for_those_who_may_see_deliveries(staff):
    """Others see that an address is on the list, and no way that they may not go."""
    entry = with_evidence()
    client = staff(*EVERY)
    for url in (address("changelist"), address("change", entry.pk)):
        page = client.get(url).content.decode()
        assert "No such user here" in page
        assert "Attempt 1" not in page


def test_list_reads_no_conversation(editor, django_assert_max_num_queries):
    """However long the list, it costs the same, and transcripts are not read for it."""
    for number in range(10):
        delivery = rows.delivery(recipient=f"{number}@example.com")
        rows.suppression(delivery.recipient, attempt=rows.attempt(delivery))
    with django_assert_max_num_queries(7) as queries:
        assert len(listed(editor)) == 10
    assert not any("transcript" in query["sql"] for query in queries.captured_queries)


@pytest.mark.parametrize(
    ("term", "found"),
    [
        ("ann@example.com", ["ann@example.com"]),
        (" ann@EXAMPLE.com ", ["ann@example.com"]),
        ("Ann <ann@example.com>", ["ann@example.com"]),
        ("EXAMPLE.com", ["joann@example.com", "ann@example.com"]),
        ("no such user", ["joann@example.com", "ann@example.com"]),
        ("moved", ["bob@example.org"]),
        ("nobody@example.net", []),
    ],
)
def test_search(editor, term, found):
    """A whole address finds that alone; parts of one, or of the reason, find what has them."""
    rows.suppression("bob@example.org", reason="moved")
    rows.suppression("ann@example.com")
    rows.suppression("joann@example.com")
    assert listed(editor, q=term) == found


@pytest.mark.parametrize("term", ["'", '"a', "%", "🐌", "\x00", "a@b\r\n"])
def test_any_search_is_answered(editor, term):
    """No search term is an error."""
    rows.suppression()
    assert listed(editor, q=term) in ([], ["ann@example.com"])


@pytest.mark.parametrize(
    ("params", "found"),
    [
        ({"category": "mailbox_unknown"}, ["a@example.com"]),
        ({"category": "domain_unknown"}, ["b@example.com"]),
        ({"category": ""}, ["c@example.com"]),
        ({"expiry": "never"}, ["a@example.com"]),
        ({"expiry": "later"}, ["b@example.com"]),
        ({"expiry": "over"}, ["c@example.com"]),
        ({"expiry": "other"}, ["c@example.com", "b@example.com", "a@example.com"]),
        ({"expiry": "over", "category": "mailbox_unknown"}, []),
    ],
)
def test_filters(editor, params, found):
    """Entries are found by what made them and by how long they count."""
    rows.suppression("a@example.com")
    later = timezone.now() + DAY
    rows.suppression("b@example.com", category="domain_unknown", expires_at=later)
    rows.suppression("c@example.com", category="", expires_at=rows.NOW - DAY)
    assert listed(editor, **params) == found


def test_add(editor):
    """A person puts an address on the list as recipients are written, and it is on record who."""
    response = added(editor, "Ann Lee <Ann.Lee+x@BÜCHER.example>", "asked us to")
    assert response.status_code == 302
    row = Suppression.objects.get()
    assert row.address == "Ann.Lee+x@xn--bcher-kva.example"
    assert (row.reason, row.category, row.expires_at, row.attempt) == (
        "asked us to",
        "",
        None,
        None,
    )
    assert LogEntry.objects.get().object_id == str(row.pk)


def test_add_until(editor):
    """An entry of a person's may end by itself."""
    day = (timezone.now() + 30 * DAY).date()
    assert added(editor, "ann@example.com", day=f"{day}", time="12:00").status_code == 302
    assert Suppression.objects.get().expires_at.date() == day


@pytest.mark.parametrize("bad", ["", "ann@", "a b@example.com", "a@example.com, b@example.com"])
def test_add_something_else(editor, bad):
    """What is not one address is said to be none, at its field."""
    said = errors(added(editor, bad))
    assert list(said) == ["address"]
    assert not Suppression.objects.exists()


def test_add_what_is_there(editor):
    """Who is on the list already is said to be, with since when."""
    rows.suppression("ann@example.com")
    said = errors(added(editor, "ann@EXAMPLE.com"))
    assert said["address"] == ["ann@example.com has been on the list since March 4, 2026, noon."]
    assert Suppression.objects.count() == 1


def test_add_what_has_expired(editor):
    """An entry that is over begins anew."""
    old = rows.suppression("ann@example.com", expires_at=timezone.now() - DAY)
    assert added(editor, "ann@example.com").status_code == 302
    row = Suppression.objects.get()
    assert (row.pk, row.reason, row.category, row.expires_at) == (old.pk, "asked us to", "", None)
    assert row.created_at > rows.NOW


def test_add_until_a_time_that_is_over(editor):
    """An entry that would not count is not made."""
    said = errors(added(editor, "ann@example.com", day="2026-03-04", time="12:00"))
    assert said["expires_at"] == ["This time is over."]
    assert not Suppression.objects.exists()


def test_change_is_of_reason_and_expiry_alone(editor):
    """What the server said and when is not a person's to change."""
    entry = with_evidence()
    before = Suppression.objects.values().get()
    values = {"reason": "checked by phone", "expires_at_0": "2026-03-05", "expires_at_1": "12:00"}
    forged = {"address": "eve@example.com", "category": "policy", "digest": "0", "attempt": ""}
    response = editor.post(address("change", entry.pk), {**values, **forged})
    assert response.status_code == 302
    after = Suppression.objects.values().get()
    changed = {name for name, value in after.items() if value != before[name]}
    assert changed == {"reason", "expires_at"}
    assert after["expires_at"] == rows.NOW + DAY


def test_change_of_what_was_taken_off_meanwhile(editor, monkeypatch):
    """It is not put on again, and the person is told."""
    entry = rows.suppression()
    monkeypatch.setattr("django_smtpx.ledger.suppressing.amend", lambda *args, **values: False)
    values = {"reason": "x", "expires_at_0": "", "expires_at_1": ""}
    response = editor.post(address("change", entry.pk), values, follow=True)
    assert "was taken off the list meanwhile" in response.content.decode()


def test_delete(editor):
    """An address is taken off, one by one or many at once, even what is no address."""
    first, *others = [
        rows.suppression(name) for name in ("a@example.com", "b@example.com", "no address")
    ]
    rows.suppression("stays@example.com")
    assert editor.post(address("delete", first.pk), {"post": "yes"}).status_code == 302
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in others]}
    editor.post(address("changelist"), {**chosen, "post": "yes"})
    assert listed(editor) == ["stays@example.com"]


@pytest.mark.parametrize("may", ["view", "add", "change", "delete"])
def test_permissions(staff, may):
    """Each thing that can be done needs Django's permission for it."""
    entry = rows.suppression()
    client = staff(f"{may}_suppression")
    got = {
        "view": client.get(address("change", entry.pk)).status_code,
        "add": client.get(address("add")).status_code,
        "delete": client.get(address("delete", entry.pk)).status_code,
    }
    shown = 200 if may in ("view", "change") else 403
    assert got == {
        "view": shown,
        "add": 200 if may == "add" else 403,
        "delete": 200 if may == "delete" else 403,
    }
    values = {"reason": "x", "expires_at_0": "", "expires_at_1": ""}
    changed = client.post(address("change", entry.pk), values).status_code
    assert changed == (302 if may == "change" else 403)


def test_anonymous():
    """Who is not logged in is sent to do so."""
    entry = rows.suppression()
    for url in (address("changelist"), address("add"), address("change", entry.pk)):
        assert Client().get(url).status_code == 302


def test_get_changes_nothing(editor):
    """No page that is looked at writes a row."""
    entry = with_evidence()
    before = list(Suppression.objects.values())
    for page, args in (("changelist", ()), ("add", ()), ("change", (entry.pk,))):
        assert editor.get(address(page, *args)).status_code == 200
    for page in ("delete", "history"):
        assert editor.get(address(page, entry.pk)).status_code == 200
    assert list(Suppression.objects.values()) == before


def test_reason_is_escaped(editor):
    """A server's words are text, wherever they are shown."""
    entry = rows.suppression(reason="<script>alert(1)</script>")
    for url in (address("changelist"), address("change", entry.pk)):
        page = editor.get(url).content.decode()
        assert "<script>alert(1)" not in page
        assert "&lt;script&gt;alert(1)" in page


def test_a_suppressed_delivery_says_why(viewer):
    """Its page and its message's say that it was not tried, and since when nobody is there."""
    reply = "On the suppression list since 2026-03-01: 550 5.1.1 No such user"
    held = rows.delivery(
        status="suppressed",
        category="suppressed",
        lane=Delivery.Lane.IDLE,
        next_attempt_at=None,
        settled_at=rows.NOW,
        reply=reply,
    )
    for name, key in (("delivery", held.pk), ("message", held.message_id)):
        url = reverse(f"admin:django_smtpx_{name}_change", args=[key])
        page = viewer.get(url).content.decode()
        assert "Never tried: the address is on the suppression list." in page
        assert reply in page


def test_an_attempt_names_its_rule(viewer):
    """What a reply was judged by is beside what was done about it."""
    failed = rows.delivery(status="failed")
    rows.attempt(failed, rule="rfc3463:5.1.1")
    url = reverse("admin:django_smtpx_delivery_change", args=[failed.pk])
    assert "rfc3463:5.1.1</code>" in viewer.get(url).content.decode()


def test_the_history_has_each_step(editor):
    """Who put an address on the list, changed why, took it off, or took off many at once."""
    added(editor, "ann@example.com")
    key = Suppression.objects.get().pk
    editor.post(address("change", key), {"reason": "another"})
    editor.post(address("delete", key), {"post": "yes"})
    chosen = [rows.suppression(one).pk for one in ("bob@example.com", "cid@example.com")]
    data = {"action": "delete_selected", "_selected_action": chosen, "post": "yes"}
    editor.post(address("changelist"), data)
    entries = LogEntry.objects.order_by("pk")
    assert [(one.get_action_flag_display(), one.object_repr) for one in entries] == [
        ("Addition", "ann@example.com"),
        ("Change", "ann@example.com"),
        ("Deletion", "ann@example.com"),
        # Django notes those of a list in the order in which it shows them.
        ("Deletion", "cid@example.com"),
        ("Deletion", "bob@example.com"),
    ]
    assert not Suppression.objects.exists()


def ways(client, delivery):
    """Return the ways to the list that a delivery's page offers."""
    page = client.get(reverse("admin:django_smtpx_delivery_change", args=[delivery.pk]))
    return re.findall(
        r'class="button" href="([^"]*/suppression/[^"]*)">([^<]*)<', page.content.decode()
    )


def test_a_delivery_leads_to_the_list(editor):
    """Its recipient is put on it, or taken off, by the list's own forms; a link writes nothing."""
    delivery = rows.delivery(None, "ann+news@example.com")
    put = [(address("add") + "?address=ann%2Bnews%40example.com", "Put on the suppression list")]
    assert ways(editor, delivery) == put
    form = editor.get(put[0][0]).content.decode()
    assert 'value="ann+news@example.com"' in form
    assert not Suppression.objects.exists()
    added(editor, "ann+news@example.com")
    entry = Suppression.objects.get()
    off = [(address("delete", entry.pk), "Take off the suppression list")]
    assert ways(editor, delivery) == off
    Suppression.objects.update(expires_at=rows.NOW)
    assert ways(editor, delivery) == put


@pytest.mark.parametrize(
    ("codenames", "before", "after"),
    [
        (("view_suppression", "add_suppression"), 1, 0),
        (("view_suppression", "delete_suppression"), 0, 1),
        (("add_suppression", "delete_suppression"), 0, 0),
    ],
)
def test_a_delivery_leads_there_whom_it_may(staff, codenames, before, after):
    """A link to a page that is refused is not there."""
    client, delivery = staff("view_delivery", *codenames), rows.delivery()
    assert len(ways(client, delivery)) == before
    rows.suppression(delivery.recipient)
    assert len(ways(client, delivery)) == after
