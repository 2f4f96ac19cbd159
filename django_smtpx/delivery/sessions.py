"""Sessions for a way: from its hosts in order, each failure remembered."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_smtpx import pacing
from django_smtpx.pace import caps_for
from django_smtpx.smtp import SMTPError, TLSError
from django_smtpx.smtp.options import relaxed
from django_smtpx.smtp.pool import Limits, default_pool

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_smtpx.config import Mailer
    from django_smtpx.mailer import Way
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.session import Session
    from django_smtpx.smtp.watch import Watch


@dataclass(frozen=True, slots=True)
class Opening:
    """What came of trying the hosts: a session, or None, and the failure of each host before it."""

    session: Session | None
    failures: tuple[SMTPError, ...] = ()


def open_session(
    mailer: Mailer,
    hosts: Sequence[Options],
    watch: Watch | None = None,
    *,
    tls_optional: Callable[[], bool] = lambda: False,
) -> Opening:
    """Lease a session with the first of ``hosts`` that gives one.

    ``tls_optional`` is asked, where TLS fails, whether the message that the session is for is to
    go all the same (RFC 8689 section 5); a session that was opened so is for that message alone.
    """
    failures: list[SMTPError] = []
    ways = deque(hosts)
    while ways:
        options = ways.popleft()
        try:
            session = default_pool.lease(options, limits_of(mailer), watch=watch)
        except SMTPError as error:
            failures.append(error)
            if isinstance(error, TLSError) and tls_optional():
                ways.extendleft(reversed(relaxed(options)))
            if error.category in pacing.CREDENTIAL:
                # The same credential would be refused by the next host as well,
                # and count against the account once more.
                break
        else:
            return Opening(session, tuple(failures))
    return Opening(None, tuple(failures))


def may_carry(session: Session, way: Way, hosts: Sequence[Options]) -> int:
    """Return how many more messages ``session`` may carry, by the limits of the mailer and by
    those that the provider is known for.
    """
    if session.pool_key not in hosts:
        # Opened for one message that does without verified TLS.
        return 1 - session.transactions
    limits = limits_of(way.mailer)
    if time.monotonic() - session.opened_at >= limits.connection_max_age:
        return 0
    known = caps_for(session.host).messages if way.domain else None
    most = limits.messages_per_connection
    return min(most, known or most) - session.transactions


def may_connect(number: int, way: Way, hosts: Sequence[Options]) -> bool:
    """Say whether the connection of that ``number`` is one that the provider is known to take."""
    if not way.domain:
        return True
    known = [caps.connections for caps in map(caps_for, (options.host for options in hosts))]
    return all(most is None or number < most for most in known)


def limits_of(mailer: Mailer, *, keep: bool = True) -> Limits:
    """Return how long and how often a session of ``mailer`` may be used again."""
    limits = Limits(
        messages_per_connection=mailer.messages_per_connection,
        connection_max_age=mailer.connection_max_age,
        idle_timeout=mailer.idle_timeout,
    )
    return limits if keep else replace(limits, idle_timeout=0)
