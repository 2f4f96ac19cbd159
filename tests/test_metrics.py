"""What Prometheus is told: the rows' figures, for all workers, and none that ever goes back."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from django_smtpx import ledger, pacing
from django_smtpx.delivery.idle import SWEEP
from django_smtpx.health import Trouble
from django_smtpx.ledger import tallies
from django_smtpx.ledger.rows import atomically
from django_smtpx.metrics import CONTENT_TYPE, OutboxCollector, exposition
from django_smtpx.models import Delivery, Tally
from django_smtpx.testing import real_queue
from tests.factories import booking, claimed, result, stored
from tests.webhooks.receiver import SECRET

DOCS = Path(__file__).parents[1] / "docs"

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _mailer():
    with real_queue(host="127.0.0.1", port=1):
        yield


def figures():
    """Return each sample by its name and labels."""
    return {
        (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(exposition().decode())
        for sample in family.samples
    }


def count(at):
    """Have all attempts counted that there are."""
    for minutes in range(3):
        ledger.tally(at + timedelta(minutes=2 * minutes))


@pytest.fixture
def counted():
    """Send one of three mails, and have the attempts counted."""
    at = ledger.now()
    ledger.tally(at)
    for name in "abc":
        stored(f"{name}@example.com")
    lease, rows = claimed()
    to_google = result(host="aspmx.l.google.com")
    ledger.settle(lease, [booking(rows[0], result=to_google), booking(rows[1], "failed")])
    count(at)
    return at


def test_attempts_are_counted_by_mailer_outcome_category_and_provider(counted):
    """Over all workers, since they are rows."""
    found = figures()
    name = "django_smtpx_attempts_total"
    assert found[name, "ok", "default", "sent", "google"] == 1
    assert found[name, "other_temporary", "default", "failed", "other"] == 1


def test_the_time_until_mail_was_sent_is_a_histogram(counted):
    """Each bound counts what was faster, too."""
    found = figures()
    assert found["django_smtpx_time_to_sent_seconds_bucket", "1.0", "default"] == 1
    assert found["django_smtpx_time_to_sent_seconds_bucket", "+Inf", "default"] == 1


def test_what_servers_were_waited_for_is_a_histogram():
    """By phase, over all workers, with the seconds of all together."""
    ledger.time_phases("default", {"mail": 0.2, "eod": 2.0})
    ledger.time_phases("default", {"eod": 400.0})
    assert ledger.flush_timings(at_once=True) == 3
    found = figures()
    name = "django_smtpx_phase_seconds"
    assert found[f"{name}_bucket", "1.0", "default", "eod"] == 0
    assert found[f"{name}_bucket", "2.5", "default", "eod"] == 1
    assert found[f"{name}_bucket", "+Inf", "default", "eod"] == 2
    assert found[f"{name}_sum", "default", "eod"] == 402
    assert found[f"{name}_count", "default", "mail"] == 1


def test_a_counter_never_goes_back(counted):
    """The retention takes hours from the overview, and nothing from what was counted ever."""
    before = figures()
    later = counted + timedelta(days=100)
    assert tallies.forget_tallies(later) == 2
    assert set(Tally.objects.values_list("hour", flat=True)) == {tallies.EVER}
    after = figures()
    name = "django_smtpx_attempts_total"
    assert {key: value for key, value in after.items() if key[0] == name} == {
        key: value for key, value in before.items() if key[0] == name
    }
    assert tallies.forget_tallies(later) == 0


def test_what_was_forgotten_meanwhile_is_not_counted_twice(counted):
    """Of two purges at once one has moved them."""
    old = list(Tally.objects.all())
    assert tallies._fold(old, "default") == len(old)
    total = sum(Tally.objects.values_list("count", flat=True))
    assert atomically(lambda: tallies._fold(old, "default"), "default") == 0
    assert sum(Tally.objects.values_list("count", flat=True)) == total == 2


def test_what_waits_and_for_how_long():
    """By mailer and by what it waits for."""
    at = ledger.now()
    stored("a@example.com", "b@example.com")
    Delivery.objects.filter(recipient="a@example.com").update(
        lane=Delivery.Lane.IDLE, next_attempt_at=at - timedelta(minutes=10)
    )
    found = figures()
    assert found["django_smtpx_waiting", "default", "ready"] == 2
    assert 600 <= found["django_smtpx_oldest_due_seconds", "default"] < 660


def test_what_is_always_there():
    """An alarm on a figure that comes and goes is none."""
    found = figures()
    assert found["django_smtpx_flowing",] == 1
    assert found["django_smtpx_oldest_due_seconds", "default"] == 0
    assert found["django_smtpx_closed_routes", "mailer", "default", "held"] == 0
    assert found["django_smtpx_trouble", "late"] == 0


def test_what_is_closed_and_whether_mail_flows():
    """As the command says it."""
    at = ledger.now()
    ledger.take_turn(SWEEP, 1.0, at - timedelta(seconds=20))
    pacing.pause("default", at, until=None, reason="x")
    found = figures()
    assert found["django_smtpx_closed_routes", "mailer", "default", "held"] == 1
    assert found["django_smtpx_flowing",] == 0
    assert found["django_smtpx_trouble", "held"] == 1
    assert found["django_smtpx_last_sweep_seconds",] >= 20


def test_to_be_registered_asks_nothing(django_assert_num_queries):
    """A site registers it as it starts, where there may be no table yet."""
    with django_assert_num_queries(0):
        assert not list(OutboxCollector().describe())


def test_a_scrape_takes_no_more_statements_with_more_rows(django_assert_max_num_queries):
    """It comes every few seconds."""
    stored(*[f"{number}@example.com" for number in range(30)])
    with django_assert_max_num_queries(14):
        exposition()


def test_the_view(settings, client):
    """In Prometheus's own format."""
    settings.ROOT_URLCONF = "django_smtpx.urls"
    answer = client.get("/metrics/")
    assert (answer.status_code, answer["Content-Type"]) == (200, CONTENT_TYPE)
    assert b"django_smtpx_flowing 1.0" in answer.content
    assert client.post("/metrics/").status_code == 405


@pytest.mark.parametrize("name", ["prometheus-alerts.yml", "grafana.json", "observe.md"])
def test_what_the_docs_ask_for_is_there(name, counted, settings):
    """A panel or an alarm on a figure that nobody has says nothing for ever."""
    settings.SMTPX_WEBHOOKS = {"crm": {"url": "https://crm.example.com/", "secret": SECRET}}
    stored()
    ledger.take_turn(SWEEP, 1.0, counted)
    ledger.time_phases("default", {"eod": 1.0})
    ledger.flush_timings(at_once=True)
    there = {key[0] for key in figures()}
    there |= {"django_smtpx_time_to_sent_seconds", "django_smtpx_phase_seconds"}
    text = (DOCS / name).read_text(encoding="utf-8")
    asked = set(re.findall(r"\bdjango_smtpx_(?!mailers\b)\w+", text))
    assert len(asked) >= 6
    assert asked <= there


def test_what_is_there_is_shown_and_documented(counted):
    """A figure that no panel shows and no alarm looks at is one that nobody knows of."""
    stored()
    ledger.take_turn(SWEEP, 1.0, counted)
    families = {one.name for one in text_string_to_metric_families(exposition().decode())}
    texts = {
        name: (DOCS / name).read_text(encoding="utf-8")
        for name in ("prometheus-alerts.yml", "grafana.json", "observe.md")
    }
    assert len(families) >= 9
    for family in families:
        assert f"| `{family}" in texts["observe.md"]
        assert family in texts["prometheus-alerts.yml"] + texts["grafana.json"]


def test_the_dashboard_is_whole():
    """It is JSON; its panels have numbers of their own, and lie beside each other."""
    panels = json.loads((DOCS / "grafana.json").read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in panels}) == len(panels)
    places = [
        (x, y)
        for panel in panels
        for box in (panel["gridPos"],)
        for x in range(box["x"], box["x"] + box["w"])
        for y in range(box["y"], box["y"] + box["h"])
    ]
    assert len(set(places)) == len(places)


def test_each_trouble_is_documented():
    """By the name that an alarm has for it."""
    page = (DOCS / "observe.md").read_text(encoding="utf-8")
    assert all(f"| `{trouble.value}` |" in page for trouble in Trouble)
