"""Words that nobody may see, where people and programs look for them, and what sees them."""

from __future__ import annotations

import base64
import json
import logging
import traceback
from contextlib import contextmanager, suppress
from functools import cache
from io import StringIO
from typing import TYPE_CHECKING
from urllib.parse import quote

from django.apps import apps
from django.contrib.auth.models import Permission, User
from django.core.mail import EmailMessage
from django.core.management import CommandError, call_command
from django.db import connection
from django.test import Client, RequestFactory
from django.urls import reverse
from django.views.debug import ExceptionReporter
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from django_smtpx import views
from django_smtpx.models import Delivery, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

PASSWORD = "Zq7Vw9-Kp3ZtR8mLd2+fJ/6sHbN4cTgY"
TOKEN = "ya29.Hf83jdKw0-PqLs_72bVnXcMz51TgYr0Wd"
BODY = "gq5RfWm2-PvXk8TzNs4-cLhD7bYjQe"
ATTACHED = "Wn4HyJc7-QsBt2KdFz9-mXrG6vLpUa"
HEADER = "Td8KxMp3-ZbVw6RnLq5-jFsC9hGyEo"
SIGNING = "Lm3VtXq9-RkWd5FzHs8-nBpY"
WEBHOOK = "whsec_" + base64.b64encode(SIGNING.encode()).decode()
SUBJECT = "Ub6NfRs2-XkJd7WmTz4-pHcV8qLgYi"

CREDENTIALS = {"password": PASSWORD, "token": TOKEN, "webhook": WEBHOOK, "key": SIGNING}
CONTENTS = {"body": BODY, "attachment": ATTACHED, "header": HEADER}
ALL = {**CREDENTIALS, **CONTENTS, "subject": SUBJECT}
"""The subject is a column of its own, which whoever may see messages sees; no log needs it."""

_PIECE = 12
"""Characters of a marker, in any encoding, that count as the marker."""


def token() -> str:
    """Return the bearer token, as the callable of a site would."""
    return TOKEN


def found(text: str | bytes, markers: dict[str, str] = ALL) -> list[str]:
    """Return the names of the markers that ``text`` shows, be it 12 characters of one, in clear, in
    base64 at any place of it, in hexadecimal, for an address or for JSON.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "replace")
    seen = {text[at : at + _PIECE] for at in range(len(text) - _PIECE + 1)}
    return [name for name, marker in markers.items() if not seen.isdisjoint(_pieces(marker))]


@cache
def _pieces(marker: str) -> frozenset[str]:
    forms = _forms(marker)
    return frozenset(
        form[at : at + _PIECE] for form in forms for at in range(len(form) - _PIECE + 1)
    )


def _forms(marker: str) -> Iterator[str]:
    raw = marker.encode()
    yield marker
    yield quote(marker, safe="")
    yield json.dumps(marker).replace("/", "\\/").strip('"')
    yield raw.hex()
    yield raw.hex().upper()
    for shift in range(3):
        # The first characters and the last depend on what stands around it.
        yield base64.b64encode(bytes(shift) + raw).decode().rstrip("=")[shift + 1 : -2]


def mail(**attributes: object) -> EmailMessage:
    """Return a mail with a marked subject, header, body and attachment."""
    email = EmailMessage(
        f"Subject {SUBJECT}", f"Body {BODY}\n", "from@example.com", ["to@example.net"],
        headers={"X-Marked": HEADER},
    )  # fmt: skip
    email.attach("notes.bin", ATTACHED.encode(), "application/octet-stream")
    for name, value in attributes.items():
        setattr(email, name, value)
    return email


# -- where people and programs look ---------------------------------------------------------------


class _Everything(logging.Handler):
    """Keeps each record as text, once: what it says, its traceback, and all else that it carries."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        more = {name: value for name, value in vars(record).items() if name not in _USUAL}
        self.lines |= {record.name, self.format(record), repr(record.args), repr(more)}
        if record.exc_info:
            self.lines.add(report(record.exc_info[1]))


_USUAL = frozenset({*vars(logging.makeLogRecord({})), "message", "asctime", "exc_text"})


@contextmanager
def logged() -> Iterator[Callable[[], str]]:
    """Log everything at DEBUG, of all loggers there are; what is given says what was logged.

    But for that of Django's templates, which has a traceback for each variable that is not set.
    """
    handler = _Everything()
    root = logging.getLogger()
    loggers = [one for one in root.manager.loggerDict.values() if isinstance(one, logging.Logger)]
    before = [(one, one.level, one.disabled) for one in (root, *loggers)]
    for one, *_ in before:
        one.setLevel(logging.INFO if one.name == "django.template" else logging.DEBUG)
        one.disabled = False
    root.addHandler(handler)
    try:
        yield lambda: "\n".join(sorted(handler.lines))
    finally:
        root.removeHandler(handler)
        for one, level, disabled in before:
            one.setLevel(level)
            one.disabled = disabled


@contextmanager
def traced() -> Iterator[Callable[[], list[str]]]:
    """Be within a request that is traced; what is given returns the spans that have ended."""
    exporter = InMemorySpanExporter()
    # It may be set once in a process, and another test may have been there.
    provider = trace.get_tracer_provider()
    if not isinstance(provider, TracerProvider):
        provider = TracerProvider()
        trace.set_tracer_provider(provider)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    with trace.get_tracer("site").start_as_current_span("GET /order"):
        yield lambda: [span.to_json() for span in exporter.get_finished_spans()]
    exporter.shutdown()


def report(error: BaseException | None) -> str:
    """Return Django's report of an error, as it is mailed to the site's ADMINS, variables included."""
    assert error is not None
    reporter = ExceptionReporter(None, type(error), error, error.__traceback__, is_email=True)
    return reporter.get_traceback_html() + reporter.get_traceback_text()


def told(error: BaseException) -> str:
    """Return all that an exception says of itself, its causes and contexts included."""
    parts = []
    queue: list[BaseException | None] = [error]
    while queue:
        one = queue.pop()
        if one is not None:
            parts += [str(one), repr(one), repr(vars(one)), repr(one.args)]
            parts += traceback.format_exception(one)
            queue += [one.__cause__, one.__context__]
    return "\n".join(parts)


def rows() -> str:
    """Return all that the outbox's tables hold, apart from the contents."""
    told: list[str] = []
    for model in apps.get_app_config("django_smtpx").get_models():
        if model._meta.model_name not in ("content", "contentpart"):
            with connection.cursor() as cursor:
                name = connection.ops.quote_name(model._meta.db_table)
                cursor.execute(f"SELECT * FROM {name}")
                told += [f"{model._meta.model_name}: {row!r}" for row in cursor.fetchall()]
    return "\n".join(told)


def said(command: str, *arguments: str) -> str:
    """Return what a command prints, on both outputs, and its error."""
    out = StringIO()
    with suppress(CommandError):
        try:
            call_command(command, *arguments, stdout=out, stderr=out)
        except CommandError as error:
            out.write(told(error))
            raise
    return out.getvalue()


COMMANDS = (
    ("smtpx_queue",),
    ("smtpx_queue", "--format", "json"),
    ("smtpx_queue", "--status", "failed", "--format", "json"),
    ("smtpx_queue", "--ages", "--format", "json"),
    ("smtpx_health",),
    ("smtpx_health", "--format", "json"),
    ("smtpx_retry", "--status", "failed", "--dry-run"),
    ("smtpx_cancel", "--status", "deferred", "--dry-run"),
    ("smtpx_tlsrpt", "--export", "-"),
    ("check",),
)


def pages() -> Iterator[tuple[str, str]]:
    """Yield each page of the admin that staff may see who may see all but contents: the lists,
    pages of rows, and a history of each kind; addresses and texts.
    """
    user = User.objects.create_user("marked", password="x", is_staff=True)
    rights = Permission.objects.filter(content_type__app_label="django_smtpx")
    user.user_permissions.set(rights.exclude(codename="view_content"))
    client = Client()
    client.force_login(user)
    yield "app list", client.get(reverse("admin:app_list", args=["django_smtpx"])).content.decode()
    for model in apps.get_app_config("django_smtpx").get_models():
        name = f"admin:django_smtpx_{model._meta.model_name}"
        with suppress(LookupError):
            for address in _addresses(name, model):
                answer = client.get(address, follow=True)
                yield address, answer.content.decode()


def _addresses(name: str, model: type) -> Iterable[str]:
    try:
        yield reverse(f"{name}_changelist")
    except Exception as error:
        raise LookupError(name) from error
    keys = list(model._default_manager.values_list("pk", flat=True))  # type: ignore[attr-defined]
    yield from (reverse(f"{name}_history", args=[key]) for key in keys[:1])
    # Servers' words are on the pages of deliveries, and of what rests for them.
    if model is Delivery:
        keys = list(
            Delivery.objects.filter(mailer__startswith="queue").values_list("pk", flat=True)
        )
    shown = keys if model in (Delivery, Route) else keys[:3]
    yield from (reverse(f"{name}_change", args=[key]) for key in shown)


def faces() -> Iterator[tuple[str, dict[str, str], str | bytes]]:
    """Yield all that can be looked at: its name, what may not be in it, and what it shows.

    Whoever adds a face of the outbox adds it here.
    """
    from django_smtpx.metrics import exposition

    without_content = {**CREDENTIALS, **CONTENTS}
    yield "rows", without_content, rows()
    yield "metrics", ALL, exposition()
    yield "health", ALL, views.health(RequestFactory().get("/")).content
    for command in COMMANDS:
        yield " ".join(command), ALL, said(*command)
    for address, page in pages():
        yield address, without_content, page
