"""Many rows at once, by SQL, and what statements read of them."""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from django.db import connection, models, transaction
from django.utils import timezone

from django_smtpx.models import Content, Delivery, Message, WebhookEvent

if TYPE_CHECKING:
    from collections.abc import Iterator

Lane = Delivery.Lane
DAY = timedelta(days=1)


@dataclass(frozen=True)
class SQL:
    """An expression, where ``n`` is the number of the row."""

    text: str


_LAST = 10_000_000


def crowd(count: int, mailer: str = "default", **values: Any) -> None:
    """Insert so many messages, each with a delivery that has these ``values``."""
    global _LAST
    first, _LAST = _LAST, _LAST + count
    now = timezone.now()
    settled_at = values.get("settled_at")
    key = SQL(f"{first} + n")
    message_id = SQL(f"'<' || ({first} + n) || '@crowd.example>'")
    _insert(
        Message,
        count,
        id=key,
        uuid=SQL(_uuid(first)),
        mailer=mailer,
        message_id=message_id,
        created_at=now,
        settled_at=settled_at,
        size=100,
    )
    due = {"next_attempt_at": now, "age_from": now, "delay_notice_at": now + DAY}
    own = {"recipient": SQL(f"'to' || ({first} + n) || '@crowd.example'"), "mailer": mailer}
    _insert(Delivery, count, id=key, message=key, **{**due, **own, **values})


def events(count: int, endpoint: str, **values: Any) -> None:
    """Insert so many events of an endpoint, each of a delivery of its own."""
    global _LAST
    first, _LAST = _LAST, _LAST + count
    now = timezone.now()
    key = SQL(f"{first} + n")
    own = {"id": key, "delivery_key": key, "uuid": SQL(_uuid(first)), "event": "sent", "body": "{}"}
    due = {"created_at": now, "next_attempt_at": now}
    _insert(WebhookEvent, count, endpoint=endpoint, **{**own, **due, **values})


def waiting_crowds(count: int) -> None:
    """Insert what a large site has: the log, and crowds that wait for whatever there is."""
    now = timezone.now()
    out = {"lane": Lane.OUT, "next_attempt_at": None, "delay_notice_at": None, "settled_at": now}
    later = {"lane": Lane.IDLE, "next_attempt_at": now + DAY}
    crowd(count, status="sent", category="ok", attempt_count=1, expires_at=now - DAY, **out)
    crowd(count, "other")
    crowd(count, "other", destination="crowd.example")
    crowd(count, "other", **later, parked_at=now, status="deferred")
    crowd(count, **later)
    crowd(count, **later, status="deferred", category="greylisted", expires_at=now + DAY)
    crowd(count // 10, status="failed", category="mailbox_unknown", attempt_count=1, **out)


def analyze() -> None:
    """Let the planner know what there is at this moment."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE")


def forget_statistics() -> None:
    """Let the planner know nothing: autovacuum may have told it of what an earlier test left."""
    if connection.vendor == "postgresql":
        with connection.cursor() as cursor:
            tables = [model._meta.db_table for model in (Delivery, Message, Content, WebhookEvent)]
            cursor.execute(
                "DELETE FROM pg_statistic WHERE starelid = ANY"
                "(SELECT oid FROM pg_class WHERE relname = ANY(%s))",
                [tables],
            )


@dataclass
class Reading:
    """What the statements of a block have read: the plan of each, and of how many rows and blocks at most."""

    plans: list[str]
    rows: int = 0
    blocks: int = 0

    @property
    def text(self) -> str:
        """All plans."""
        return "\n".join(self.plans)


@contextmanager
def reading() -> Iterator[Reading]:
    """Look at each statement on our large tables before it is run."""
    read = Reading([])

    def look(execute: Any, sql: str, params: Any, many: bool, context: Any) -> Any:
        if _is_ours(sql) and not many:
            _explain(sql, params, read)
        return execute(sql, params, many, context)

    with connection.execute_wrapper(look):
        yield read


def _is_ours(sql: str) -> bool:
    tables = (model._meta.db_table for model in (Delivery, Message, Content, WebhookEvent))
    return sql.startswith(("SELECT", "UPDATE", "DELETE", "WITH")) and any(
        name in sql for name in tables
    )


def _explain(sql: str, params: Any, read: Reading) -> None:
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.cursor.execute(f"EXPLAIN QUERY PLAN {sql}", params)
            read.plans.append(sql + "".join(f"\n    {row[-1]}" for row in cursor.cursor.fetchall()))
        return
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(f"EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON, TIMING OFF) {sql}", params)
            (found,) = cursor.fetchone()
        transaction.set_rollback(True)
    (plan,) = json.loads(found) if isinstance(found, str) else found
    lines: list[str] = []
    blocks = plan["Plan"]["Shared Hit Blocks"] + plan["Plan"]["Shared Read Blocks"]
    read.blocks = max(read.blocks, blocks)
    read.rows = max(read.rows, _walk(plan["Plan"], lines, 1))
    read.plans.append(sql + "".join(lines))


def _walk(node: dict[str, Any], lines: list[str], depth: int) -> int:
    """Return how many rows were read at one place of a plan, at most."""
    loops = node["Actual Loops"]
    names = ("Actual Rows", "Rows Removed by Filter", "Rows Removed by Index Recheck")
    rows = sum(int(node.get(name, 0) * loops) for name in names)
    place = node.get("Index Name") or node.get("Relation Name") or ""
    lines.append(f"\n{'    ' * depth}{node['Node Type']} {place}: {rows} rows")
    return max([rows, *(_walk(child, lines, depth + 1) for child in node.get("Plans", ()))])


def _insert(model: type[models.Model], count: int, **values: Any) -> None:
    columns, expressions, parameters = [], [], []
    for field in model._meta.concrete_fields:
        value = values[field.name] if field.name in values else field.get_default()
        columns.append(connection.ops.quote_name(field.column))
        if isinstance(value, SQL):
            expressions.append(value.text)
        else:
            expressions.append("%s")
            parameters.append(field.get_db_prep_save(value, connection))
    table = connection.ops.quote_name(model._meta.db_table)
    with connection.cursor() as cursor:
        cursor.execute(
            "WITH RECURSIVE numbers(n) AS "
            "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < %s) "
            f"INSERT INTO {table} ({', '.join(columns)}) "
            f"SELECT {', '.join(expressions)} FROM numbers",
            [count, *parameters],
        )


def _uuid(first: int) -> str:
    if connection.vendor == "sqlite":
        return f"printf('%%032x', {first} + n)"
    return f"CAST(lpad(to_hex({first} + n), 32, '0') AS uuid)"
