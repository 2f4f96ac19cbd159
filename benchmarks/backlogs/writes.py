"""What PostgreSQL writes for one message of one recipient, step by step, by EXPLAIN (ANALYZE, WAL).

The statements change the columns that the outbox's own statements change, as many rows at once.
"""

from __future__ import annotations

import json
from collections import defaultdict
from typing import Any

from django.db import connection

from django_smtpx.models import Delivery, Message

CLAIM = 100
CHUNK = 20
_CLAIMED = (
    "lane = -1, status = 'sending', lease_token = gen_random_uuid(), "
    "lease_expires_at = now() + interval '5 minutes', marked = false"
)
_SETTLED = (
    "lane = -1, status = 'sent', category = 'ok', attempt_count = attempt_count + 1, "
    "next_attempt_at = NULL, delay_notice_at = NULL, settled_at = now(), phase = 'eod', "
    "code = 250, enhanced_code = '2.0.0', reply = '2.0.0 Ok: queued as 4D0F41A2B3C', "
    "host = 'mx.example.com', lease_token = NULL, lease_expires_at = NULL, marked = false"
)


def writes(count: int, fillfactor: int) -> dict[str, dict[str, float]]:
    """Claim, mark and settle ``count`` ready deliveries; return figures a message, by step."""
    keys = Delivery.objects.filter(lane=1).order_by("pk").values_list("pk", flat=True)
    found: defaultdict[str, defaultdict[str, float]] = defaultdict(lambda: defaultdict(float))
    keys_now = list(keys[:count])
    for first in range(0, len(keys_now), CLAIM):
        _update(found["claim"], Delivery, _CLAIMED, keys_now[first : first + CLAIM])
        for begin in range(first, first + CLAIM, CHUNK):
            chunk = keys_now[begin : begin + CHUNK]
            _update(found["mark"], Delivery, "marked = true", chunk)
            _update(found["settle"], Delivery, _SETTLED, chunk)
            _update(found["finish"], Message, "settled_at = now()", chunk)
    return {
        f"fillfactor {fillfactor}: {step}": {
            name: value / len(keys_now) for name, value in figures.items()
        }
        for step, figures in found.items()
    }


def _update(figures: defaultdict[str, float], model: Any, values: str, keys: list[int]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            f"EXPLAIN (ANALYZE, WAL, FORMAT JSON) UPDATE {model._meta.db_table} SET {values} "
            "WHERE id = ANY(%s)",
            [keys],
        )
        (plan,) = cursor.fetchone()
    (said,) = json.loads(plan) if isinstance(plan, str) else plan
    figures["wal_records"] += said["Plan"]["WAL Records"]
    figures["wal_bytes"] += said["Plan"]["WAL Bytes"]
    figures["us"] += said["Execution Time"] * 1e3
