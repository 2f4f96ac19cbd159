"""What Prometheus asks for, read from the rows (extra ``metrics``).

All that the workers do is in the database, so whichever process is asked answers for all of them:
nothing is kept in a worker, and nothing is lost with one.
"""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.registry import Collector

from django_smtpx import delivery, ledger
from django_smtpx.config import mailer_errors, mailers, webhooks
from django_smtpx.health import Trouble, findings, flows
from django_smtpx.models import PHASE_WITHIN, SENT_WITHIN, Attempt, Route, WebhookEndpoint

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from prometheus_client import Metric

    Kinds = Sequence[tuple[str, str, str, str, int, int]]

CONTENT_TYPE = CONTENT_TYPE_LATEST


class OutboxCollector(Collector):
    """The outbox's figures, for a registry of the site's own: each scrape reads the database."""

    def describe(self) -> Iterable[Metric]:
        """Return nothing: to be registered is no reason to ask the database."""
        return ()

    def collect(self) -> Iterator[Metric]:
        """Yield every figure as it is now."""
        at = ledger.now()
        kinds = ledger.counted_in_all()
        queue = ledger.outlook(at)
        yield _attempts(kinds)
        yield _times(kinds)
        yield _phases()
        yield from _waiting(at)
        yield _routes()
        yield from _signs_of_life(at)
        yield from _webhooks()
        yield from _health(at, queue)


def exposition() -> bytes:
    """Return the figures in the text format of Prometheus."""
    registry = CollectorRegistry()
    registry.register(OutboxCollector())
    return generate_latest(registry)


def _attempts(kinds: Kinds) -> Metric:
    family = CounterMetricFamily(
        "django_smtpx_attempts",
        "Attempts that have ended; counted within two minutes by the sweep.",
        labels=("mailer", "outcome", "category", "provider"),
    )
    counts: Counter[tuple[str, str, str, str]] = Counter()
    for mailer, outcome, category, provider, _, count in kinds:
        counts[mailer, outcome, category, provider] += count
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


def _times(kinds: Kinds) -> Metric:
    family = HistogramMetricFamily(
        "django_smtpx_time_to_sent_seconds",
        "Time from when a mail was stored, or was to be sent, until a server took it.",
        labels=("mailer",),
    )
    by_mailer: dict[str, Counter[int]] = {}
    for mailer, outcome, _, _, bucket, count in kinds:
        if outcome == Attempt.Outcome.SENT:
            by_mailer.setdefault(mailer, Counter())[bucket] += count
    bounds = [bound.total_seconds() for bound in SENT_WITHIN]
    for mailer, counts in sorted(by_mailer.items()):
        family.add_metric([mailer], _buckets(bounds, counts), sum_value=None)
    return family


def _phases() -> Metric:
    family = HistogramMetricFamily(
        "django_smtpx_phase_seconds",
        "Time that a phase of the conversation with a server was waited for.",
        labels=("mailer", "phase"),
    )
    counts: dict[tuple[str, str], Counter[int]] = {}
    sums: dict[tuple[str, str], float] = {}
    for mailer, phase, bucket, count, seconds in ledger.timed_in_all():
        counts.setdefault((mailer, phase), Counter())[bucket] += count
        sums[mailer, phase] = sums.get((mailer, phase), 0.0) + seconds
    for labels, by_bucket in counts.items():
        family.add_metric(labels, _buckets(PHASE_WITHIN, by_bucket), sum_value=sums[labels])
    return family


def _buckets(bounds: Iterable[float], counts: Counter[int]) -> list[tuple[str, float]]:
    """Return how many were within each bound, from those that are in each bucket alone."""
    so_far, buckets = 0, []
    for number, bound in enumerate([*map(str, bounds), "+Inf"], 1):
        so_far += counts[number]
        buckets.append((bound, float(so_far)))
    return buckets


def _waiting(at: datetime) -> Iterator[Metric]:
    waiting = GaugeMetricFamily(
        "django_smtpx_waiting",
        "Deliveries in the queue, by what they wait for.",
        labels=("mailer", "wait"),
    )
    oldest = GaugeMetricFamily(
        "django_smtpx_oldest_due_seconds",
        "For how long the delivery that is due the longest has been.",
        labels=("mailer",),
    )
    counts: Counter[tuple[str, str]] = Counter()
    due: dict[str, float] = dict.fromkeys(mailers(), 0.0)
    for mailer, wait, count, since in ledger.by_mailer(at):
        counts[mailer, wait.value] += count
        if wait == ledger.Wait.READY and since is not None:
            due[mailer] = max(due.get(mailer, 0.0), (at - since).total_seconds())
    for labels, count in sorted(counts.items()):
        waiting.add_metric(labels, count)
    for mailer, seconds in sorted(due.items()):
        oldest.add_metric([mailer], seconds)
    yield waiting
    yield oldest


def _routes() -> Metric:
    family = GaugeMetricFamily(
        "django_smtpx_closed_routes",
        "Mailers, hosts, destinations and senders that are paused or held.",
        labels=("mailer", "kind", "state"),
    )
    rows = Route.objects.using(ledger.database()).exclude(state=Route.State.OPEN)
    counts: Counter[tuple[str, str, str]] = Counter()
    for mailer, host, domain, sender, state in rows.values_list(
        "mailer", "host", "domain", "sender", "state"
    ):
        kind = "sender" if sender else "host" if host else "domain" if domain else "mailer"
        counts[mailer, kind, state] += 1
    for name in {*mailers(), *mailer_errors()}:
        for state in (Route.State.PAUSED, Route.State.HELD):
            # Always there: an alarm on a figure that comes and goes never ends.
            counts[name, "mailer", state.value] += 0
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


def _signs_of_life(at: datetime) -> Iterator[Metric]:
    turn = delivery.last_turn()
    if turn is not None:
        yield GaugeMetricFamily(
            "django_smtpx_last_sweep_seconds",
            "For how long no worker has looked for mail that is due.",
            value=max((at - turn).total_seconds(), 0.0),
        )


def _webhooks() -> Iterator[Metric]:
    """Yield how webhooks do; nothing where there are none."""
    names = [*webhooks()]
    if not names:
        return
    rows = WebhookEndpoint.objects.using(ledger.database()).filter(name__in=names)
    disabled = set(rows.filter(disabled_at__isnull=False).values_list("name", flat=True))
    off = GaugeMetricFamily(
        "django_smtpx_webhook_disabled", "1 where a webhook is disabled.", labels=("webhook",)
    )
    waiting = GaugeMetricFamily(
        "django_smtpx_webhook_waiting",
        f"Events that wait for a webhook, up to {ledger.MOST_COUNTED}.",
        labels=("webhook",),
    )
    for name in names:
        off.add_metric([name], float(name in disabled))
        waiting.add_metric([name], ledger.waiting_events(name))
    yield off
    yield waiting


def _health(at: datetime, queue: list[ledger.Queued]) -> Iterator[Metric]:
    found = findings(at, queue)
    yield GaugeMetricFamily(
        "django_smtpx_flowing",
        "1 where mail flows, 0 where something keeps it from that.",
        value=float(flows(found)),
    )
    family = GaugeMetricFamily(
        "django_smtpx_trouble", "1 where there is such trouble.", labels=("trouble",)
    )
    present = {one.trouble for one in found}
    for trouble in Trouble:
        family.add_metric([trouble.value], float(trouble in present))
    yield family
