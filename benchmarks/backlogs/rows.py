"""Rows of an outbox by the million, in SQL, and the room that they take."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection
from django.utils import timezone

from django_smtpx.models import Attempt, Content, Delivery, Message, Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from django.db.models import Model

Lane = Delivery.Lane
Status = Delivery.Status
DAY = timedelta(days=1)
SPREAD = 30 * 86_400
"""Seconds over which mail was stored."""
CONTENT = 3_000
"""Bytes of a content."""


@dataclass(frozen=True)
class SQL:
    """An expression of PostgreSQL, where ``n`` is the number of the row."""

    text: str


def due_tomorrow(count: int) -> None:
    """Let so many wait for tomorrow."""
    spread = SQL("now() + interval '1 day' + n * interval '1 millisecond'")
    _deliveries(count, "default", lane=Lane.IDLE, next_attempt_at=spread)


def coming_due(count: int) -> None:
    """Let so many come due at once, a little while ago."""
    _deliveries(count, "default", lane=Lane.IDLE, status=Status.DEFERRED, attempt_count=1)


def ready_elsewhere(count: int) -> None:
    """Let so many be ready for another mailer."""
    _deliveries(count, "other")


def settled(count: int, *, attempts: bool = False) -> None:
    """Let so many have been sent; with an attempt, as the log has, where it is asked for."""
    keys = _deliveries(count, "default", **_ENDED, status=Status.SENT, category="ok")
    if attempts:
        _attempts(count, keys)


def month(count: int) -> None:
    """Let there be the log of a month, with attempts: nine of ten sent, the others failed."""
    sent = count * 9 // 10
    _log(sent, "1 second", status=Status.SENT, outcome="sent", category="ok")
    reasons = "ARRAY['mailbox_unknown', 'mailbox_full', 'spam', 'policy', 'timeout']"
    category = SQL(f"({reasons})[1 + n %% 5]")
    _log(count - sent, "2 seconds", status=Status.FAILED, outcome="failed", category=category)


def _log(count: int, before: str, *, status: str, outcome: str, category: Any) -> None:
    ended = f"now() - interval '{before}' - n * interval '30 days' / {count}"
    took = "(n %% 10) ^ 4 * interval '1 second'"
    created_at, settled_at = SQL(f"{ended} - {took}"), SQL(ended)
    values = {**_ENDED, "settled_at": settled_at, "status": status, "category": category}
    keys = _deliveries(count, "default", created_at=created_at, **values)
    _attempts(count, keys, started_at=settled_at, outcome=outcome, category=category)


def mixed(count: int) -> None:
    """Let there be so many of what a site's lists show: most sent, some failed, some wait."""
    settled(count // 2)
    failed = {"status": Status.FAILED, "category": "mailbox_unknown"}
    _deliveries(count // 4, "default", **_ENDED, **failed)
    _deliveries(count // 4, "default", lane=Lane.IDLE, next_attempt_at=timezone.now() + DAY)


def routes(count: int) -> None:
    """Let so many destinations be known: of five, one rests and one is slowed down."""
    paused = "n %% 5 = 0"
    _insert(
        Route,
        count,
        id=SQL("1000000 + n"),
        mailer="other",
        domain=SQL("left(md5(n::text), 12) || '.example'"),
        state=SQL(f"CASE WHEN {paused} THEN 'paused' ELSE 'open' END"),
        category=SQL(f"CASE WHEN {paused} THEN 'unreachable' ELSE '' END"),
        pause_reason=SQL(f"CASE WHEN {paused} THEN 'connect: no route to host' ELSE '' END"),
        paused_until=SQL(f"CASE WHEN {paused} THEN now() + interval '1 hour' END"),
        slow_limit=SQL("CASE WHEN n %% 5 = 1 THEN 0.5 END"),
        slow_step=SQL("CASE WHEN n %% 5 = 1 THEN 0.1 END"),
        slow_since=SQL("CASE WHEN n %% 5 = 1 THEN now() END"),
    )


KINDS: dict[str, Callable[[int], None]] = {
    "due tomorrow": due_tomorrow,
    "ready for another mailer": ready_elsewhere,
    "settled": settled,
}


def contents(count: int) -> None:
    """Give the newest messages a content of random letters, which no database makes smaller."""
    newest = Message.objects.order_by("-pk").values_list("pk", flat=True)[count - 1]
    _run(
        f"INSERT INTO {Content._meta.db_table} (message_id, data, large_size, storage, name) "
        "SELECT id, convert_to(left(string_agg(md5(random()::text || id || m), ''), %s), 'UTF8'), "
        f"0, '', '' FROM {Message._meta.db_table}, generate_series(1, %s) AS m "
        "WHERE id >= %s GROUP BY id",
        [CONTENT, CONTENT // 32 + 1, newest],
    )


def sizes() -> dict[str, dict[str, float]]:
    """Return bytes a row, of each table with what is TOASTed, and of each of its indexes."""
    found: dict[str, dict[str, float]] = {}
    for model in (Message, Content, Delivery, Attempt):
        table = model._meta.db_table
        count = model._default_manager.count()
        if not count:
            continue
        ((size,),) = _run("SELECT pg_table_size(%s::regclass)", [table])
        name = str(model._meta.verbose_name)
        found[name] = {"bytes_per_row": size / count}
        indexes = _run(
            "SELECT relname, pg_relation_size(indexrelid) FROM pg_index "
            "JOIN pg_class ON oid = indexrelid WHERE indrelid = %s::regclass ORDER BY relname",
            [table],
        )
        for index, taken in indexes:
            found[f"{name}: {index}"] = {"bytes_per_row": taken / count}
    return found


_ENDED: dict[str, Any] = {
    "lane": Lane.OUT,
    "next_attempt_at": None,
    "delay_notice_at": None,
    "settled_at": SQL("now()"),
    "attempt_count": 1,
    "code": 250,
    "enhanced_code": "2.0.0",
    "phase": "eod",
    "host": "mx.example.com",
    "reply": "2.0.0 Ok: queued as 4D0F41A2B3C",
}


def _deliveries(count: int, mailer: str, *, created_at: Any = None, **values: Any) -> int:
    """Insert messages with one delivery each, and return the key before the first of both."""
    ((last,),) = _run(f"SELECT coalesce(max(id), 0) FROM {Message._meta.db_table}")
    last = max(last, 1_000_000_000)
    _insert(
        Message,
        count,
        id=SQL(f"{last} + n"),
        uuid=SQL("gen_random_uuid()"),
        mailer=mailer,
        message_id=SQL(f"'<' || ({last} + n) || '.4711@mail.example.com>'"),
        envelope_sender="shop@example.com",
        from_header="Example Shop <shop@example.com>",
        subject=SQL("'Your order ' || n || ' has been sent'"),
        created_at=created_at or SQL("now()"),
        settled_at=values.get("settled_at"),
        size=CONTENT,
        recipient_count=1,
    )
    _insert(
        Delivery,
        count,
        id=SQL(f"{last} + n"),
        message=SQL(f"{last} + n"),
        mailer=mailer,
        recipient=SQL("left(md5(n::text), 12) || '@example.com'"),
        domain="example.com",
        age_from=SQL("now()"),
        **{
            "next_attempt_at": SQL("now()"),
            "delay_notice_at": SQL("now() + interval '1 day'"),
            **values,
        },
    )
    for model in (Message, Delivery):
        _run(
            "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)",
            [model._meta.db_table, last + count],
        )
    return last


def _attempts(count: int, last: int, **values: Any) -> None:
    _insert(
        Attempt,
        count,
        id=SQL(f"{last} + n"),
        delivery=SQL(f"{last} + n"),
        number=1,
        duration=0.1,
        action="none",
        phase="eod",
        command="DATA",
        code=250,
        enhanced_code="2.0.0",
        reply="2.0.0 Ok: queued as 4D0F41A2B3C",
        host="mx.example.com",
        ip="192.0.2.1",
        port=25,
        tls="TLSv1.3 TLS_AES_256_GCM_SHA384",
        tls_verified_by="pkix",
        **{"started_at": SQL("now()"), "outcome": "sent", "category": "ok", **values},
    )
    _run(
        "SELECT setval(pg_get_serial_sequence(%s, 'id'), %s)",
        [Attempt._meta.db_table, last + count],
    )


def _insert(model: type[Model], count: int, **values: Any) -> None:
    columns, expressions, parameters = [], [], []
    for field in model._meta.concrete_fields:
        value = values[field.name] if field.name in values else field.get_default()
        columns.append(f'"{field.column}"')
        if isinstance(value, SQL):
            expressions.append(value.text)
        else:
            expressions.append("%s")
            parameters.append(field.get_db_prep_save(value, connection))
    _run(
        f'INSERT INTO "{model._meta.db_table}" ({", ".join(columns)}) '
        f"SELECT {', '.join(expressions)} FROM generate_series(1, %s) AS n",
        [*parameters, count],
    )


def _run(sql: str, parameters: list[Any] | None = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)
        return cursor.fetchall() if cursor.description else []
