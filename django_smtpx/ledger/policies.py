"""The MTA-STS policies of domains, for all processes: the only writer of their rows.

Each write is one statement and replaces the whole row, if it is still as it was read.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from django.db import IntegrityError, transaction

from django_smtpx.ledger.rows import database, patiently, storable
from django_smtpx.models import StoredPolicy
from django_smtpx.mx.mta_sts import Failure, Policy, Stored

if TYPE_CHECKING:
    from django.db.models import QuerySet

    from django_smtpx.mx.mta_sts import Mode

_BATCH = 500


class PolicyStore:
    """What :class:`~django_smtpx.mx.mta_sts.Policies` keeps its findings in."""

    def get(self, domain: str) -> Stored | None:
        """Return what is known of ``domain``."""
        row = _rows().filter(domain=domain).first()
        return None if row is None else _stored(row)

    def put(self, stored: Stored) -> bool:
        """Write ``stored`` if the row still has its version (0: there is none yet)."""
        using = database()
        values = _values(stored)
        if stored.version:
            mine = _rows(using).filter(domain=stored.domain, version=stored.version)
            changed = values | {"version": stored.version + 1}
            return patiently(lambda: mine.update(**changed), using) > 0

        def insert() -> bool:
            try:
                with transaction.atomic(using=using):
                    _rows(using).create(domain=stored.domain, version=1, **values)
            except IntegrityError:
                return False
            return True

        return patiently(insert, using)


def forget_policies(before: datetime) -> int:
    """Delete policies that expired before then, at most some hundreds, and count them."""
    using = database()
    old = _rows(using).filter(expires_at__lte=before, next_try_at__lte=before)
    keys = list(old.values_list("pk", flat=True)[:_BATCH])
    # What was fetched anew meanwhile stays.
    return patiently(lambda: old.filter(pk__in=keys).delete()[0], using) if keys else 0


def _stored(row: StoredPolicy) -> Stored:
    return Stored(
        domain=row.domain,
        policy=_policy(row),
        fetched_at=0.0 if row.fetched_at is None else row.fetched_at.timestamp(),
        tried_id=row.tried_id,
        tried_at=row.tried_at.timestamp(),
        next_try=row.next_try_at.timestamp(),
        failure=Failure(row.failure, row.failure_text) if row.failure else None,
        version=row.version,
    )


def _policy(row: StoredPolicy) -> Policy | None:
    if not row.mode:
        return None
    return Policy(
        row.domain, cast("Mode", row.mode), tuple(row.mx.split()), row.max_age, row.policy_id
    )


def _values(stored: Stored) -> dict[str, Any]:
    policy = stored.policy
    failure = stored.failure or Failure("", "")
    return {
        "mode": "" if policy is None else policy.mode,
        "mx": "" if policy is None else "\n".join(policy.mx),
        "max_age": 0 if policy is None else policy.max_age,
        "policy_id": "" if policy is None else policy.id,
        "fetched_at": None if policy is None else _time(stored.fetched_at),
        "expires_at": _time(stored.expires_at),
        "tried_id": stored.tried_id,
        "tried_at": _time(stored.tried_at),
        "next_try_at": _time(stored.next_try),
        "failure": failure.tls_failure,
        "failure_text": storable(failure.text),
    }


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _rows(using: str | None = None) -> QuerySet[StoredPolicy]:
    return StoredPolicy.objects.using(using or database())
