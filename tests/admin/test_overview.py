"""The page that is opened at 3 a.m. says whether mail is flowing, and what to do where it is not."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from importlib import import_module
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.template import Context, Template
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_smtpx import delivery as deliver
from django_smtpx import ledger
from django_smtpx.admin import flow, links, ways
from django_smtpx.ledger import tallies
from django_smtpx.models import Delivery, Message, Tally, TallyMark, Turn
from tests.admin import rows

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
HOUR = 60 * MINUTE
DAY = 24 * HOUR


@pytest.fixture(autouse=True)
def time(monkeypatch):
    """Stop the clock within an hour: what is an hour ago is in the hour before."""
    at = timezone.now().replace(minute=30, second=0, microsecond=0)
    monkeypatch.setattr(timezone, "now", lambda: at)
    return at


@pytest.fixture
def now(time):
    """Return the time; a worker has just swept."""
    Turn.objects.create(name="sweep", taken_at=time)
    return time


def index():
    """Return the page's address."""
    return reverse("admin:app_list", args=["django_smtpx"])


def page_of(client):
    """Return the page."""
    response = client.get(index())
    assert response.status_code == 200
    return response.content.decode()


def section(client, name):
    """Return the words of one section, and where its links lead."""
    page = page_of(client)
    found = re.search(rf'aria-labelledby="smtpx-{name}">(.*?)</section>', page, re.DOTALL)
    assert found, f"no section {name}"
    html = found[1]
    text = " ".join(unescape(re.sub(r"<[^>]*>", " ", html)).split())
    return text, [unescape(url) for url in re.findall(r'href="([^"]*)"', html)]


def chosen(client, url):
    """Return how many rows the list at ``url`` has."""
    response = client.get(url)
    assert response.status_code == 200, (url, response.headers)
    return response.context["cl"].result_count


def tried(
    outcome="sent", category="ok", ago=MINUTE, took=2.0, recipient="ann@example.com", **values
):
    """Store a delivery with an attempt that ended so long ago."""
    ended = timezone.now() - ago
    message = rows.message(created_at=ended - timedelta(seconds=took), **values)
    settled = {} if outcome == "deferred" else {"settled_at": ended}
    row = rows.delivery(
        message, recipient, status=outcome, category=category, lane=Delivery.Lane.OUT, **settled
    )
    rows.attempt(row, outcome=outcome, category=category, started_at=ended, duration=0)
    return row


def count():
    """Let all attempts be counted."""
    at = timezone.now()
    ledger.tally(at)
    ledger.tally(at + tallies.BEHIND)


def waiting(**values):
    """Store a delivery that waits."""
    defaults = {"lane": Delivery.Lane.IDLE, "age_from": timezone.now() - HOUR}
    return rows.delivery(**{**defaults, **values})


# -- the answer ------------------------------------------------------------------------------------


def test_mail_is_flowing(viewer, now):
    """What came of the latest attempts, and how fast that goes."""
    tried()
    tried("deferred", "greylisted")
    tried(ago=HOUR)
    text, _ = section(viewer, "now")
    assert "Mail is flowing." in text
    assert "In the last 5 minutes: 1 deferred, 1 sent." in text
    assert "Sent: 12.0 messages an hour." in text
    assert "Mail that is due was last looked for" in text


def test_nothing_to_do_is_no_trouble(viewer, now):
    """An outbox that is empty, or whose mail is not due yet."""
    assert "Nothing waits to be sent." in section(viewer, "now")[0]
    waiting(next_attempt_at=now + HOUR)
    text, _ = section(viewer, "now")
    assert "Nothing that may go is late." in text
    assert "No attempt in the last 5 minutes." in text


def test_a_worker_that_is_not_there_is_missed(viewer, now):
    """How long nobody has looked for mail that is due; at once, where something waits."""
    Turn.objects.update(taken_at=now - 3 * HOUR)
    missed = "No worker has swept for 3 hours: is one running?"
    assert missed in section(viewer, "now")[0].replace("\xa0", " ")
    assert '<li class="warning smtpx-headline">No worker' in page_of(viewer)
    waiting()
    assert '<li class="error smtpx-headline">No worker' in page_of(viewer)
    Turn.objects.create(name="deliver", taken_at=now)
    assert "No worker has swept" not in page_of(viewer)


def test_a_worker_that_was_never_there_is_missed_where_mail_waits(viewer):
    """A site that sends in its own processes needs none."""
    assert "No worker" not in page_of(viewer)
    waiting()
    assert "No worker has ever swept here: is one running?" in section(viewer, "now")[0]


def test_a_long_interval_is_no_absence(viewer, now, settings):
    """Three intervals may pass."""
    settings.SMTPX_SWEEP_INTERVAL = 600
    Turn.objects.update(taken_at=now - 25 * MINUTE)
    assert "No worker" not in page_of(viewer)
    Turn.objects.update(taken_at=now - 31 * MINUTE)
    assert "No worker has swept for 31" in page_of(viewer)


def test_the_sweep_and_the_command_leave_their_turns(now):
    """The page goes by them."""
    Turn.objects.all().delete()
    assert deliver.last_turn() is None
    deliver.run_until_idle()
    first = deliver.last_turn()
    assert abs(first - now) < HOUR
    deliver.sweep(lambda name: None)
    assert deliver.last_turn() > first


def test_both_count_attempts(time):
    """Workers, and the command that delivers without them."""
    tried()
    deliver.sweep(lambda name: None)
    TallyMark.objects.update(next_until=time - 3 * HOUR)
    deliver.run_until_idle()
    assert Tally.objects.get().count == 1


def test_mail_that_is_due_and_does_not_go_is_late(viewer, now):
    """Since when, and which."""
    waiting(lane=Delivery.Lane.READY, next_attempt_at=now - 25 * MINUTE)
    waiting(lane=Delivery.Lane.READY, next_attempt_at=now)
    text, urls = section(viewer, "now")
    assert "2 deliveries are due, the first of them for 25 minutes." in text.replace("\xa0", " ")
    assert chosen(viewer, urls[0]) == 2


def test_a_queue_from_which_nothing_comes_is_no_flow(viewer, now):
    """Attempts alone are none: somebody has to take the mail."""
    tried("deferred", "server_busy")
    tried("failed", "spam")
    text, _ = section(viewer, "now")
    assert "None of the latest 2 attempts was sent." in text
    assert "Mail is flowing" not in text


def test_what_waits_for_a_person_is_said(viewer, now):
    """Of unknown outcome, or held; with the way to them."""
    tried("unknown", "unknown_outcome", ago=HOUR)
    waiting(status="deferred", next_attempt_at=None)
    text, urls = section(viewer, "now")
    assert "Nothing that may go is late. 2 deliveries wait for a person" in text
    assert chosen(viewer, urls[0]) == 2


def test_a_mailer_that_is_paused_is_said(viewer, now):
    """Those that are held are said above every page."""
    route = rows.route(state="paused", pause_reason="connect: <refused>", paused_until=now + HOUR)
    text, urls = section(viewer, "now")
    assert "Mailer 'default' is paused (connect: <refused>). Next probe: in" in text
    assert urls == [reverse("admin:django_smtpx_route_change", args=[route.pk])]


# -- what waits ------------------------------------------------------------------------------------


def test_what_waits_and_for_what(viewer, now):
    """Each kind, since when, when it is due; each number leads to as many."""
    waiting(status="sending", lane=Delivery.Lane.OUT)
    waiting(lane=Delivery.Lane.AGAIN, status="deferred", next_attempt_at=now - MINUTE)
    waiting(next_attempt_at=now - 2 * MINUTE)
    waiting(next_attempt_at=now + DAY + MINUTE)
    waiting(status="deferred", next_attempt_at=now + HOUR + MINUTE / 2)
    waiting(parked_at=now, next_attempt_at=now + HOUR)
    waiting(parked_at=now, next_attempt_at=None)
    waiting(status="deferred", next_attempt_at=None)
    tried("unknown", "unknown_outcome")
    tried()
    text, urls = section(viewer, "waits")
    kinds = ("being sent 1", "due now 2", "for its send_at 1", "for its next attempt 1")
    for words in (*kinds, "for its mailer, domain or sender 2", "for a person 2"):
        assert words in text
    assert "for 2 minutes" in text.replace("\xa0", " ")
    assert "in 1 hour (" in text.replace("\xa0", " ")
    assert [chosen(viewer, url) for url in urls] == [1, 2, 1, 1, 2, 2]
    assert "looked at" not in text
    everything = reverse("admin:django_smtpx_delivery_changelist") + "?wait=ended"
    assert chosen(viewer, everything) == 1
    assert chosen(viewer, everything.replace("ended", "nonsense")) == 10


def test_nothing_waits(viewer, now):
    """It says so."""
    assert "Nothing waits." in section(viewer, "waits")[0]


def test_a_crowd_is_not_counted_to_its_end(viewer, now, monkeypatch):
    """It says that there are more."""
    monkeypatch.setattr(import_module("django_smtpx.ledger.census"), "LOOKED_AT", 2)
    for _ in range(3):
        waiting(next_attempt_at=now + HOUR)
    waiting(lane=Delivery.Lane.READY, next_attempt_at=now)
    text, _ = section(viewer, "waits")
    assert "for its send_at more than 2 1 hour" in text.replace("\xa0", " ")
    assert "that go first were looked at" in text
    assert "due now 1" in text


# -- what was counted ------------------------------------------------------------------------------


def test_bars_and_table_have_the_same_numbers(viewer, now):
    """By hour, each outcome to its own scale; nothing is drawn where nothing was."""
    for hours_ago in (25, 3, 3, 0):
        tried("failed", "spam", ago=hours_ago * HOUR)
    for _ in range(40):
        tried(ago=timedelta())
    count()
    page = page_of(viewer)
    hours = page[page.index('aria-labelledby="smtpx-hours"') : page.index('id="smtpx-days"')]
    svg = re.search(r'<svg viewBox="0 0 240 40"[^>]*smtpx-bars-failed">(.*?)</svg>', hours)
    assert re.findall(r'x="(\d+)" y="(\d+)" width="8" height="(\d+)"', svg[1]) == [
        ("201", "0", "40"),
        ("231", "20", "20"),
    ]
    assert "smtpx-bars-sent" in hours
    assert "smtpx-bars-unknown" not in hours
    text, urls = section(viewer, "hours")
    assert text.count("sent 40 at most 40") == 1
    assert "failed 3 at most 2" in text
    table = re.search(r"<tbody>(.*?)</tbody>", hours, re.DOTALL)[1]
    numbers = re.findall(r"<td[^>]*>(?:<a[^>]*>)?(\d+)", table)
    assert len(numbers) == 24 * 4
    assert numbers[:4] == ["40", "0", "1", "0"]
    assert numbers[12:16] == ["0", "0", "2", "0"]
    assert sum(map(int, numbers)) == 43
    listed = [chosen(viewer, url) for url in urls]
    # What was stored then, and what failed then.
    assert listed == [40, 0, 4, 0, 40, 1, 2]


def test_days_are_the_reader_s(viewer, settings):
    """Half an hour beside the others, too; and what is older is left out."""
    settings.TIME_ZONE = "Asia/Kolkata"
    zone = ZoneInfo("Asia/Kolkata")
    today = timezone.now().astimezone(zone).date()
    midnight = datetime.combine(today, datetime.min.time(), tzinfo=zone).astimezone(UTC)
    for at in (midnight, midnight - MINUTE, midnight - 2 * MINUTE, midnight - 30 * DAY):
        tried("failed", "spam", ago=timezone.now() - at)
    count()
    text, urls = section(viewer, "days")
    assert "failed 3 at most 2" in text
    assert [chosen(viewer, url) for url in urls[4:]] == [1, 2]


def test_an_hour_that_comes_twice_is_two(settings):
    """Where clocks are set back a day has 25 hours, and its mail is all there."""
    zone = ZoneInfo("Europe/Berlin")
    counted = [(datetime(2026, 10, 25, hour, tzinfo=UTC), "sent", 1) for hour in range(24)]
    with timezone.override(zone):
        first = flow._first_hour(datetime(2026, 10, 25, 23, 30, tzinfo=UTC))
        drawn = flow._by_hour(counted, first, zone, _Nowhere())
        assert [row[1][0].number for row in drawn.rows] == ["1"] * 24
        (day, cells), *_ = flow._by_day(counted, (first - 29 * DAY).date(), zone, _Nowhere()).rows
    assert (day, cells[0].number) == ("October 25", "23")


class _Nowhere:
    """A site without lists."""

    def deliveries(self, **filters):
        """Lead nowhere."""
        return ""


def test_how_long_it_took_is_told_as_bounds(viewer, now):
    """Half of it, and nineteen of twenty: never a number that was not measured."""
    assert "Nothing was sent in the last 24 hours." in section(viewer, "times")[0]
    for took in [1.5] * 10 + [8.0] * 9 + [10_000_000.0]:
        tried(took=took)
    count()
    text, _ = section(viewer, "times")
    assert "Half of the mail at most 2 seconds" in text
    assert "95% of the mail at most 10 seconds" in text
    tried(took=10_000_000.0)
    TallyMark.objects.update(next_until=timezone.now() - HOUR, next_through=10**9)
    ledger.tally(timezone.now())
    assert "95% of the mail more than 2 days" in section(viewer, "times")[0]


def test_until_when_it_is_counted(viewer, now):
    """What is not counted is not there yet; the page says so."""
    assert "No attempt is counted yet" in page_of(viewer)
    tried()
    count()
    assert "Counted beside the deliveries, up to" in page_of(viewer)


def test_why_and_where_it_fails(viewer, now):
    """The most first, with the way to them."""
    for number in range(3):
        tried("failed", "mailbox_unknown", recipient=f"{number}@bad.example")
    tried("deferred", "greylisted", recipient="a@slow.example")
    tried("failed", "spam", recipient="a@old.example", ago=25 * HOUR)
    tried(recipient="a@good.example")
    count()
    text, urls = section(viewer, "categories")
    assert text.endswith("mailbox unknown 3 greylisted 1")
    assert [chosen(viewer, url) for url in urls] == [3, 1]
    text, urls = section(viewer, "domains")
    assert "bad.example: failed 3 slow.example: deferred 1 Domains among the latest 500" in text
    assert [chosen(viewer, url) for url in urls] == [3, 1]


def test_nothing_fails(viewer, now):
    """It says so."""
    assert "None failed." in section(viewer, "categories")[0]
    assert "None failed in the last 24 hours" in section(viewer, "domains")[0]


# -- mailers ---------------------------------------------------------------------------------------


def test_each_mailer_with_its_state_and_its_counts(viewer, now):
    """Those that are configured, and those that only have mail."""
    rows.route(slow_limit=0.5, slow_step=0.1, slow_since=now)
    tried()
    tried("failed", "spam", mailer="gone")
    count()
    text, urls = section(viewer, "mailers")
    assert "default held auth 535 5.7.8 Bad credentials" in text
    assert "messages a minute" in text
    assert "gone (not configured) open – – – 0 0 1 0" in text
    assert [chosen(viewer, url) for url in urls[1:]] == [1, 0, 0, 0, 0, 0, 1, 0]


def test_what_is_closed_behind_them(viewer, now, monkeypatch):
    """Held before paused before slow, with reason and next probe; the rest is in the list."""
    rows.route(domain="a.example", state="open", slow_limit=2.0, slow_step=0.1, slow_since=now)
    rows.route(domain="b.example", state="paused", pause_reason="<b>x</b>", paused_until=now + HOUR)
    rows.route(sender="From a@b.example", paused_until=None)
    rows.route(domain="open.example", state="open")
    text, urls = section(viewer, "routes")
    places = [text.index(word) for word in ("From a@b", "b.example p", "a.example o")]
    assert places == sorted(places)
    assert "<b>x</b>" in text
    assert "when it is resumed" in text
    assert "open.example" not in text
    assert len(urls) == 3
    monkeypatch.setattr(ways, "MOST_ROUTES", 2)
    assert section(viewer, "routes")[1][2:] == [reverse("admin:django_smtpx_route_changelist")]


def test_what_can_be_done_is_offered_to_who_may(staff, now):
    """Forms that ask first, filled in."""
    route = rows.route(domain="x.example")
    client = staff("view_route", "pause_route", "resume_route")
    _, urls = section(client, "mailers")
    assert "Pause" in client.get(urls[0]).content.decode()
    assert urls[0].endswith("?mailer=default&domain=")
    text, urls = section(client, "routes")
    assert "Resume" in text
    assert urls[1].endswith("?mailer=default&domain=x.example")
    resumed = client.post(reverse("admin:django_smtpx_route_resume"), {"keys": route.pk})
    assert "default x.example" in resumed.content.decode()


def test_nothing_can_be_done_by_who_may_not(viewer, now):
    """No button that would be refused."""
    rows.route(domain="x.example")
    for name in ("mailers", "routes"):
        text, _ = section(viewer, name)
        assert not re.search("Pause|Resume|What can be done", text)


# -- who, and how much -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("codenames", "sections"),
    [
        (["view_suppression"], ""),
        (["retry_delivery", "view_message"], ""),
        (["view_delivery"], "now waits hours days times mailers categories domains"),
        (["view_route"], "now mailers routes"),
    ],
)
def test_each_block_is_for_who_may_view_the_rows(staff, now, codenames, sections):
    """Who may view none of them has Django's own page."""
    rows.route()
    rows.route(domain="x.example")
    tried("failed", "spam", recipient="a@bad.example")
    count()
    page = page_of(staff(*codenames))
    found = re.findall(r'aria-labelledby="smtpx-(\w+)"', page)
    assert list(dict.fromkeys(found)) == sections.split()
    assert ("Bad credentials" in page) == ("view_route" in codenames)
    assert ("bad.example" in page) == ("view_delivery" in codenames)
    assert 'class="app-django_smtpx module' in page


def test_nobody_else_sees_it(client, now):
    """Neither who is not logged in."""
    assert client.get(index()).status_code == 302


def test_what_servers_and_senders_wrote_is_text(viewer, now):
    """Reasons, domains, mailers."""
    evil = "<script>alert(1)</script>"
    rows.route(pause_reason=evil, mailer=evil)
    rows.route(pause_reason=evil, domain=evil, state="paused")
    row = tried("failed", "spam", mailer=evil)
    Delivery.objects.filter(pk=row.pk).update(domain=evil)
    count()
    page = page_of(viewer)
    assert page.count("&lt;script&gt;") >= 5
    assert evil not in page


def test_it_costs_as_many_statements_with_many_rows(viewer, now):
    """However many deliveries, attempts, mailers and routes there are; and none of them writes."""

    def statements():
        with CaptureQueriesContext(connection) as queries:
            page_of(viewer)
        return [query["sql"] for query in queries]

    page_of(viewer)
    few = statements()
    for number in range(12):
        tried(recipient=f"{number}@x{number}.example", mailer=f"m{number % 3}")
        tried("failed", "spam", mailer=f"m{number % 3}")
        waiting(next_attempt_at=now + HOUR)
        rows.route(domain=f"x{number}.example")
    count()
    many = statements()
    assert len(many) == len(few) <= 24
    assert all(sql.startswith("SELECT") for sql in many)


def test_numbers_are_the_reader_s_and_drawings_are_not(viewer, now, settings):
    """Thousands set apart would tear a drawing."""
    settings.USE_THOUSAND_SEPARATOR = True
    settings.LANGUAGE_CODE = "de"
    Tally.objects.create(
        hour=tallies.hour_of(now, UTC), outcome="sent", category="ok", bucket=1, count=1234567
    )
    page = page_of(viewer)
    assert "1.234.567" in page
    assert re.search(r'<rect x="231" y="0" width="8" height="40">', page)
    assert 'viewBox="0 0 240 40"' in page


def test_it_needs_no_script_and_nothing_from_elsewhere(viewer, now):
    """Nor styles in the page, which a strict policy forbids."""
    tried()
    count()
    page = page_of(viewer)
    inner = page[page.index('class="smtpx-overview"') : page.index('id="content-main"')]
    assert not re.search(r"<script|style=|https?://|onclick", inner)
    assert 'dir="auto"' not in inner or "samp" in inner


def test_a_template_without_a_request_shows_nothing():
    """A page that some other program renders has nobody who may see it."""
    page = Template("{% load smtpx_admin %}{% smtpx_overview as it %}{{ it }}")
    assert page.render(Context()) == "None"


def test_a_site_without_lists_has_numbers_without_links(viewer, now, monkeypatch):
    """A site of one's own need not have them."""

    def nowhere(*args, **kwargs):
        raise links.NoReverseMatch

    monkeypatch.setattr(links, "reverse", nowhere)
    rows.route(domain="x.example")
    waiting(next_attempt_at=now - HOUR)
    tried("failed", "spam")
    count()
    for name in ("now", "waits", "hours", "days", "mailers", "routes", "categories", "domains"):
        assert section(viewer, name)[1] == []


def test_the_numbers_stay_when_the_log_is_purged(viewer, now):
    """They are counted beside the deliveries."""
    tried()
    count()
    Message.objects.all().delete()
    assert "sent 1 at most 1" in section(viewer, "hours")[0]
