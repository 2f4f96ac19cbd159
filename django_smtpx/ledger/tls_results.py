"""How sessions with the servers of domains went, by day, and which reports of that have gone out.

Booking only counts in memory, so that no delivery waits for it. What was counted is written with
the next :func:`flush_tls_sessions`, one statement for each group of sessions that were alike; what
a process that dies had not written is lost, and no mail with it.
"""

from __future__ import annotations

import json
import logging
import os
import threading
from collections import Counter
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import TYPE_CHECKING, NamedTuple

from django.core.exceptions import ImproperlyConfigured
from django.db import Error as DatabaseError
from django.db import IntegrityError, InterfaceError, OperationalError, transaction
from django.db.models import F

from django_smtpx.config import counts_tls_sessions
from django_smtpx.ledger.rows import database, in_callers_transaction, patiently, storable
from django_smtpx.models import TLSReport, TLSResult
from django_smtpx.mx.tlsrpt import Counted, PolicyFacts, Session

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from datetime import date

    from django.db.models import QuerySet

MOST = 5000
"""Groups that are kept in memory; while the database takes none, further ones are not counted."""

SENDING = timedelta(minutes=15)
"""For so long a report is taken to be on its way: it is not sent by anybody else meanwhile."""

_BATCH = 500

logger = logging.getLogger("django_smtpx.ledger")


class _Key(NamedTuple):
    day: date
    session: Session


class _Buffer:
    """What was booked and is not written yet, of this process."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[_Key] = Counter()

    def __bool__(self) -> bool:
        return bool(self._counts)

    def add(self, counts: Iterable[tuple[_Key, int]]) -> None:
        """Count more."""
        with self._lock:
            for key, count in counts:
                if key in self._counts or len(self._counts) < MOST:
                    self._counts[key] += count

    def take(self) -> list[tuple[_Key, int]]:
        """Return all of it, in one order everywhere, and begin anew."""
        with self._lock:
            counts, self._counts = self._counts, Counter()
        return sorted(counts.items(), key=lambda item: (item[0].day, _digest(item[0].session)))

    def start_clean(self) -> None:
        """Begin anew in a forked child: what was counted is the parent's."""
        self._lock = threading.Lock()
        self._counts = Counter()


_buffer = _Buffer()
os.register_at_fork(after_in_child=_buffer.start_clean)


def _utc_now() -> datetime:
    return datetime.now(UTC)


def counts_tls() -> bool:
    """Say whether sessions are counted; a setting that cannot be read is told of elsewhere."""
    try:
        return counts_tls_sessions()
    except ImproperlyConfigured:
        return False


def book_tls_session(*sessions: Session, now: Callable[[], datetime] = _utc_now) -> None:
    """Count a try to have a session: all that :func:`django_smtpx.mx.tlsrpt.facts` returns of it.

    Cheap, and it touches no database: to be called as soon as a session is open or has failed.
    """
    if counts_tls():
        day = now().date()
        _buffer.add([(_Key(day, session), 1) for session in sessions])


def flush_tls_sessions() -> int:
    """Write what was counted in this process, and return how many groups that were.

    To be called where no byte moves, such as at the end of a drain. It raises nothing: what cannot
    be written is kept for the next time. Inside a caller's transaction it does nothing.
    """
    if not _buffer:
        return 0
    using = database()
    if in_callers_transaction(using):
        return 0
    written = 0
    counts = _buffer.take()
    while counts:
        key, count = counts.pop()
        try:
            _add(key, count, using)
        except (OperationalError, InterfaceError) as error:
            logger.warning("Counts of TLS sessions could not be written, and wait: %s", error)
            _buffer.add([*counts, (key, count)])
            break
        except DatabaseError as error:
            # It would fail again and again, and keep the others waiting.
            logger.warning("A count of TLS sessions is left out: %s", error)
        else:
            written += 1
    return written


def _add(key: _Key, count: int, using: str) -> None:
    session = key.session
    digest = _digest(session)
    mine = TLSResult.objects.using(using).filter(day=key.day, digest=digest)
    if mine.update(count=F("count") + count):
        return
    policy = session.policy
    row = TLSResult(
        day=key.day,
        domain=policy.domain,
        policy_type=policy.type,
        policy={"lines": list(policy.lines), "mx": list(policy.mx)},
        host=session.host,
        ip=session.ip,
        sending_ip=session.sending_ip,
        failure=session.failure,
        reason=storable(session.reason),
        counts=session.counts,
        count=count,
        digest=digest,
    )
    try:
        with transaction.atomic(using=using):
            row.save(using=using, force_insert=True)
    except IntegrityError:
        # Another process was first.
        mine.update(count=F("count") + count)


def _digest(session: Session) -> str:
    policy = session.policy
    alike = (
        policy.domain,
        policy.type,
        policy.lines,
        policy.mx,
        session.host,
        session.ip,
        session.sending_ip,
        session.failure,
        session.counts,
    )
    return sha256(json.dumps(alike).encode()).hexdigest()


# -- for reports -----------------------------------------------------------------------------------


def tls_domains(day: date) -> list[str]:
    """Return the domains that something was counted of on ``day``."""
    rows = TLSResult.objects.using(database()).filter(day=day)
    return sorted(set(rows.order_by().values_list("domain", flat=True).distinct()))


def tls_counted(day: date, domain: str) -> tuple[Counted, ...]:
    """Return what was counted of ``domain`` on ``day``."""
    rows = TLSResult.objects.using(database()).filter(day=day, domain=domain).order_by("pk")
    return tuple(Counted(_session(row), row.count) for row in rows)


def begin_tls_report(
    day: date, domain: str, target: str, report_id: str, at: datetime
) -> TLSReport | None:
    """Take it on to send a report to ``target``; None where it has gone, or somebody is at it."""
    using = database()
    digest = sha256(json.dumps((domain, target)).encode()).hexdigest()
    rows = TLSReport.objects.using(using).filter(day=day, digest=digest)
    row = TLSReport(
        day=day, domain=domain, target=target, report_id=report_id, tried_at=at, digest=digest
    )

    def insert() -> bool:
        try:
            with transaction.atomic(using=using):
                row.save(using=using, force_insert=True)
        except IntegrityError:
            return False
        return True

    if patiently(insert, using):
        return row
    unsent = rows.filter(sent_at=None)
    stale = unsent.exclude(failure="") | unsent.filter(tried_at__lte=at - SENDING)
    if not patiently(lambda: stale.update(tried_at=at, failure="", report_id=report_id), using):
        return None
    return rows.get()


def end_tls_report(row: TLSReport, at: datetime, failure: str = "") -> None:
    """Write down that a report has gone, or why not: then it may be sent later."""
    using = database()
    rows = TLSReport.objects.using(using).filter(pk=row.pk)
    values = {"failure": storable(failure)} if failure else {"sent_at": at}
    patiently(lambda: rows.update(**values), using)


def forget_tls_results(before: datetime) -> int:
    """Delete what was counted and reported of days before then, some hundreds, and count it."""
    using = database()
    gone = 0
    for model in (TLSResult, TLSReport):
        old: QuerySet[TLSResult] | QuerySet[TLSReport] = model._default_manager.using(using).filter(
            day__lt=before.astimezone(UTC).date()
        )
        keys = list(old.order_by("day").values_list("pk", flat=True)[:_BATCH])
        if keys:
            some = old.filter(pk__in=keys)
            gone += patiently(lambda some=some: some.delete()[0], using)  # type: ignore[misc]
    return gone


def _session(row: TLSResult) -> Session:
    policy = PolicyFacts(
        type=row.policy_type,  # type: ignore[arg-type]
        domain=row.domain,
        lines=tuple(row.policy["lines"]),
        mx=tuple(row.policy["mx"]),
    )
    return Session(
        policy=policy,
        host=row.host,
        ip=row.ip,
        sending_ip=row.sending_ip,
        failure=row.failure,
        counts=row.counts,
        reason=row.reason,
    )
