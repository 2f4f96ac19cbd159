"""Which hosts of a domain mail of ``"now"`` mode goes to, and what it tells others of those that
do not answer.

Inside the caller's transaction nothing may be written before it is through, and what is written
then may be rolled back. So this process remembers for a minute which hosts did not answer: a dead
one costs its connect timeout once, and not once a mail.
"""

from __future__ import annotations

import time
from functools import partial
from typing import TYPE_CHECKING

from django.db import transaction

from django_smtpx import ledger, pacing
from django_smtpx.mx.cache import Cache

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.delivery.sessions import Opening
    from django_smtpx.mailer import Way
    from django_smtpx.smtp import SMTPError
    from django_smtpx.smtp.options import Options

REMEMBERED = 60.0
"""Seconds for which a host that did not answer is left out where there are others."""

_MOST = 10_000


def hosts_to_try(way: Way, hosts: Sequence[Options], *, may_write: bool) -> pacing.Hosts:
    """Return which hosts to try. Where nothing may be written none is probed on behalf of all."""
    if not way.domain:
        return pacing.Hosts(tuple(hosts))
    if may_write and way.name:
        return pacing.hosts_to_try(way, hosts, ledger.now())
    resting = pacing.resting_hosts(way, hosts, ledger.now()) if way.name else frozenset()
    left = tuple(one for one in hosts if one.host not in resting and not _is_dead(one))
    return pacing.Hosts(left or tuple(hosts))


def book(
    way: Way, hosts: Sequence[Options], tried: pacing.Hosts, opening: Opening, *, may_write: bool
) -> None:
    """Book which hosts of a domain are dead, and which are not any more."""
    if not way.domain:
        return
    if may_write and way.name:
        _rest(way, hosts, opening.failures, ledger.now(), tried.probing)
        if opening.session is not None and opening.session.host in tried.probing:
            pacing.book_host_success(way, opening.session.host)
        return
    _remember(hosts, opening.failures)
    if way.name and opening.failures:
        transaction.on_commit(
            partial(_rest, way, hosts, opening.failures, ledger.now()),
            using=ledger.database(),
            robust=True,
        )


def forget() -> None:
    """Forget which hosts did not answer."""
    _dead.clear()


def _rest(
    way: Way,
    hosts: Sequence[Options],
    failures: Iterable[SMTPError],
    at: datetime,
    probing: frozenset[str] = frozenset(),
) -> None:
    for error in failures:
        pacing.book_host_failure(way, hosts, error, at, probed=error.host in probing)


def _remember(hosts: Iterable[Options], failures: Iterable[SMTPError]) -> None:
    dead = {error.host for error in failures if pacing.is_dead(error)}
    for options in hosts:
        if options.host in dead:
            _dead.put((options.host, options.port), value=True, seconds=REMEMBERED)


def _is_dead(options: Options) -> bool:
    return _dead.get((options.host, options.port)) is not None


_dead: Cache[bool] = Cache(time.monotonic, most=_MOST)
