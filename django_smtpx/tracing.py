"""OpenTelemetry's spans, which join whoever sent a mail to its delivery (extra ``otel``).

Where a span is being recorded as a mail is stored, its context is stored with it (W3C Trace
Context); each attempt is a span below that one then, whichever process makes it, and however much
later. Where none is, or nobody has imported OpenTelemetry, this costs a look into a dictionary.

By the conventions for messaging: "send" by a producer, "process" by a consumer with a link to it.
No attribute names a recipient, a domain, a subject or anything that a server said in words.
"""

from __future__ import annotations

import sys
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from django_smtpx import __version__

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from types import ModuleType

    Value = str | int | float | bool
    Attributes = Mapping[str, Value]

SYSTEM = "django_smtpx"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def traceparent() -> str:
    """Return the context of the span that is being recorded here, or ""."""
    api = _api()
    if api is None:
        return ""
    span = api.get_current_span()
    if not span.is_recording():
        return ""
    context = span.get_span_context()
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


@contextmanager
def storing(mailers: Sequence[str], uuids: Sequence[object]) -> Iterator[None]:
    """Be the span in which mails for these mailers are stored, where one is being recorded."""
    api = _api()
    if api is None or not api.get_current_span().is_recording():
        yield
        return
    name = mailers[0] if len(set(mailers)) == 1 else ""
    attributes: dict[str, Value] = _messaging("send", name)
    if len(uuids) == 1:
        attributes["messaging.message.id"] = str(uuids[0])
    else:
        attributes["messaging.batch.message_count"] = len(uuids)
    with _tracer(api).start_as_current_span(
        f"send {name}".rstrip(),
        kind=api.SpanKind.PRODUCER,
        attributes=attributes,
        # The words of a database's error may hold a value of the row.
        record_exception=False,
        set_status_on_exception=False,
    ) as span:
        try:
            yield
        except Exception as error:
            span.set_attribute("error.type", type(error).__qualname__)
            span.set_status(api.Status(api.StatusCode.ERROR))
            raise


def attempted(
    parent: str,
    mailer: str,
    attributes: Attributes,
    *,
    began: datetime,
    took: float,
    error: str = "",
) -> None:
    """Tell of an attempt that is over, as a span below ``parent``, a context that was stored.

    ``took`` is in seconds. ``error`` is what it failed for, "" where it did not.
    """
    api = _api()
    if api is None:
        return
    context = _extracted(parent)
    stored = api.get_current_span(context).get_span_context()
    if not stored.is_valid:
        return
    start = _nanoseconds(began)
    here = api.get_current_span().get_span_context()
    links = [api.Link(stored)]
    if here.is_valid and here.trace_id != stored.trace_id:
        # What the worker was doing, where somebody traces that, too.
        links.append(api.Link(here))
    span = _tracer(api).start_span(
        f"process {mailer}".rstrip(),
        context=context,
        kind=api.SpanKind.CONSUMER,
        attributes={**_messaging("process", mailer), **attributes},
        links=links,
        start_time=start,
    )
    if error:
        span.set_attribute("error.type", error)
        span.set_status(api.Status(api.StatusCode.ERROR))
    span.end(start + round(took * 1e9))


def _api() -> ModuleType | None:
    """Return OpenTelemetry's API where somebody has imported it: nobody else has a span."""
    api = sys.modules.get("opentelemetry.trace")
    # Its last name: another thread may be importing it just now.
    return api if hasattr(api, "__all__") else None


def _tracer(api: Any) -> Any:
    return api.get_tracer("django_smtpx", __version__)


def _extracted(parent: str) -> Any:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    return TraceContextTextMapPropagator().extract({"traceparent": parent})


def _messaging(operation: str, mailer: str) -> dict[str, Value]:
    attributes: dict[str, Value] = {
        "messaging.system": SYSTEM,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }
    if mailer:
        attributes["messaging.destination.name"] = mailer
    return attributes


def _nanoseconds(at: datetime) -> int:
    """Return the time as OpenTelemetry has it, without the rounding of a float."""
    return (at - _EPOCH) // _MICROSECOND * 1000
