"""Spans join whoever sent a mail to its delivery, and cost nothing where nobody traces."""

from __future__ import annotations

import sys
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import DatabaseError
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, SpanKind, StatusCode, TraceFlags

from django_smtpx import backend, ledger, tracing
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.factories import booking, claimed, composed, default_connection, statuses

# Spans are told of once an outcome is committed.
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="session")
def _provided():
    """Set the process's provider, which may be done once."""
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    trace.set_tracer_provider(provider)
    return exporter


@pytest.fixture
def spans(_provided):
    """Collect the spans of a test, and return those that have ended, by their beginning."""
    _provided.clear()
    yield lambda: sorted(_provided.get_finished_spans(), key=lambda span: span.start_time)
    _provided.clear()
    default_pool.close()


@pytest.fixture
def request_span(spans):
    """Be within a request that is traced."""
    return lambda: trace.get_tracer("site").start_as_current_span("GET /order")


def send(*to):
    """Send a mail, and return its row."""
    mail = EmailMessage("A subject", "A body", "from@site.example", list(to) or ["ann@example.com"])
    mail.send()
    return mail.smtpx


def of(spans, name):
    """Return the spans of a name."""
    return [span for span in spans() if span.name == name]


def test_a_request_is_joined_to_its_delivery(spans, request_span):
    """One trace: the request, the storing, and below that the attempt, wherever that is made."""
    with ScriptedServer() as server, real_queue(server):
        with request_span():
            message = send()
        deliver()
    (request,), (stored,) = of(spans, "GET /order"), of(spans, "send default")
    (attempt,) = of(spans, "process default")
    assert len({span.context.trace_id for span in (request, stored, attempt)}) == 1
    assert (stored.parent.span_id, stored.kind) == (request.context.span_id, SpanKind.PRODUCER)
    assert (attempt.parent.span_id, attempt.kind) == (stored.context.span_id, SpanKind.CONSUMER)
    assert [link.context.span_id for link in attempt.links] == [stored.context.span_id]
    assert dict(stored.attributes) == {
        "messaging.system": "django_smtpx",
        "messaging.operation.name": "send",
        "messaging.operation.type": "send",
        "messaging.destination.name": "default",
        "messaging.message.id": str(message.uuid),
    }
    row = Attempt.objects.get()
    seen = dict(attempt.attributes)
    assert seen == seen | {
        "messaging.operation.type": "process",
        "messaging.destination.name": "default",
        "messaging.message.id": str(message.uuid),
        "server.address": "127.0.0.1",
        "server.port": server.port,
        "network.peer.address": "127.0.0.1",
        "smtpx.delivery": row.delivery_id,
        "smtpx.attempt": 1,
        "smtpx.outcome": "sent",
        "smtpx.category": "ok",
        "smtpx.phase": "eod",
        "smtpx.code": 250,
    }
    assert {"smtpx.seconds.connect", "smtpx.seconds.eod"} <= set(seen)
    assert "error.type" not in seen
    assert attempt.status.status_code == StatusCode.UNSET
    assert attempt.end_time - attempt.start_time == round(row.duration * 1e9)


def test_no_span_names_whom_or_what(spans, request_span):
    """What is traced often leaves the site: neither address nor domain, nor words of anybody."""
    script = {"RCPT": "550 5.1.1 <ann@example.com> Nobody here"}
    with ScriptedServer(script) as server, real_queue(server):
        with request_span():
            send()
        deliver()
    told = " ".join(span.to_json() for span in spans())
    assert "process default" in told
    for word in ("ann", "example.com", "site.example", "subject", "body", "Nobody"):
        assert word not in told.replace("django_smtpx", "").replace("instrumentation", "")


def test_each_attempt_is_one(spans, request_span):
    """A deferral is no error, and the failure that ends it is; all of them are in one trace."""
    script = {"RCPT": ["451 4.7.1 Later", "550 5.1.1 No"]}
    with ScriptedServer(script) as server, real_queue(server):
        with request_span():
            send()
        deliver()
        Delivery.objects.update(lane=Delivery.Lane.AGAIN)
        deliver()
    assert statuses() == ["failed"]
    first, second = of(spans, "process default")
    assert first.context.trace_id == second.context.trace_id
    assert [span.attributes["smtpx.attempt"] for span in (first, second)] == [1, 2]
    assert first.attributes["smtpx.outcome"] == "deferred"
    assert first.status.status_code == StatusCode.UNSET
    assert second.status.status_code == StatusCode.ERROR
    assert second.attributes["error.type"] == "mailbox_unknown"


def test_a_session_that_cannot_be_had_is_an_attempt(spans, request_span):
    """As in the log."""
    with real_queue(host="127.0.0.1", port=1):
        with request_span():
            send()
        deliver()
    (attempt,) = of(spans, "process default")
    assert attempt.attributes["smtpx.phase"] == "connect"
    assert attempt.attributes["smtpx.outcome"] == "deferred"


def test_a_lost_lease_is_an_attempt(spans, request_span):
    """Whoever takes the mail back tells of what nobody else can."""
    with real_queue(host="127.0.0.1", port=1), request_span():
        send()
    lease, rows = claimed()
    ledger.mark(lease, rows)
    assert ledger.reclaim(lease.now() + timedelta(hours=1)) == 1
    (attempt,) = of(spans, "process default")
    assert attempt.attributes["error.type"] == "unknown_outcome"


def test_mails_that_are_stored_together_share_a_span(spans, request_span):
    """It says how many they are, and names none."""
    mails = [EmailMessage("S", "B", "from@site.example", ["ann@example.com"]) for _ in range(3)]
    with ScriptedServer() as server, real_queue(server):
        with request_span():
            default_connection().send_messages(mails)
        deliver()
    (stored,) = of(spans, "send default")
    assert stored.attributes["messaging.batch.message_count"] == 3
    assert "messaging.message.id" not in stored.attributes
    attempts = of(spans, "process default")
    assert {span.parent.span_id for span in attempts} == {stored.context.span_id}
    assert len(attempts) == 3


def test_mail_that_is_sent_at_once_is_below_the_request(spans, request_span):
    """Nothing is put into a queue there."""
    with ScriptedServer() as server, real_queue(server, mode="now"), request_span():
        send()
    (request,), (attempt,) = of(spans, "GET /order"), of(spans, "process default")
    assert attempt.parent.span_id == request.context.span_id
    assert of(spans, "send default") == []


def test_what_the_worker_was_doing_is_linked(spans, request_span):
    """Where somebody traces tasks, the attempt can be found from its task."""
    with ScriptedServer() as server, real_queue(server):
        with request_span():
            send()
        with trace.get_tracer("celery").start_as_current_span("run/django_smtpx.drain"):
            deliver()
    (stored,), (task,) = of(spans, "send default"), of(spans, "run/django_smtpx.drain")
    (attempt,) = of(spans, "process default")
    linked = [link.context.span_id for link in attempt.links]
    assert linked == [stored.context.span_id, task.context.span_id]


def test_where_no_span_is_recorded_nothing_is_stored(spans):
    """Neither outside of any, nor within one that was not chosen: its delivery is not, either."""
    with ScriptedServer() as server, real_queue(server):
        send()
        unsampled = NonRecordingSpan(SpanContext(1, 2, is_remote=False, trace_flags=TraceFlags(0)))
        with trace.use_span(unsampled):
            send()
        deliver()
    assert set(Message.objects.values_list("traceparent", flat=True)) == {""}
    assert spans() == []


def test_without_the_package_mail_goes_as_ever(spans, request_span, monkeypatch):
    """Also mail that was stored by a process that has it."""
    with ScriptedServer() as server, real_queue(server):
        with request_span():
            send()
        monkeypatch.delitem(sys.modules, "opentelemetry.trace")
        send()
        deliver()
    monkeypatch.undo()
    assert statuses() == ["sent", "sent"]
    assert of(spans, "process default") == []
    assert Message.objects.filter(traceparent="").count() == 1


def test_a_package_that_is_being_imported_is_not_there_yet(monkeypatch):
    """Another thread may be at it."""
    monkeypatch.setitem(sys.modules, "opentelemetry.trace", type(sys)("opentelemetry.trace"))
    assert tracing.traceparent() == ""


def test_a_context_that_is_none_is_no_span(spans):
    """Whoever has written into the row: the outcome stands."""
    with real_queue(host="127.0.0.1", port=1):
        send()
    Message.objects.update(traceparent="00-nonsense")
    lease, rows = claimed()
    assert ledger.settle(lease, [booking(rows[0])]) == 1
    assert spans() == []


def test_a_tracer_that_fails_breaks_nothing(spans, request_span, monkeypatch, caplog):
    """The outcome stands, and the log has it."""

    def fail(*args, **kwargs):
        raise RuntimeError("an exporter's own")

    caplog.set_level("INFO", logger="django_smtpx.delivery")
    with ScriptedServer() as server, real_queue(server):
        with request_span():
            send()
        monkeypatch.setattr(tracing, "attempted", fail)
        deliver()
    assert statuses() == ["sent"]
    assert [one.smtpx_outcome for one in caplog.records if hasattr(one, "smtpx_outcome")] == [
        "sent"
    ]


def test_a_mail_that_could_not_be_stored_is_an_error_without_its_words(
    spans, request_span, monkeypatch
):
    """What a database says of a row may hold a value of it."""

    def fail(*args):
        raise DatabaseError("Key (from_header)=(boss@site.example) already exists.")

    monkeypatch.setattr(ledger, "store", fail)
    with real_queue(host="127.0.0.1", port=1), request_span(), pytest.raises(DatabaseError):
        backend.store([(default_connection().mailer, composed())])
    (stored,) = of(spans, "send default")
    assert stored.attributes["error.type"] == "DatabaseError"
    assert stored.status.status_code == StatusCode.ERROR
    assert stored.events == ()
    assert "boss" not in stored.to_json()
