"""Sessions for a mailer: from its hosts in order, each failure remembered."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from django_smtpx.smtp import SMTPError, TLSError
from django_smtpx.smtp.options import relaxed
from django_smtpx.smtp.pool import Limits, default_pool

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.config import Mailer
    from django_smtpx.smtp.session import Session
    from django_smtpx.smtp.watch import Watch


@dataclass(frozen=True, slots=True)
class Opening:
    """What came of trying the hosts: a session, or None, and the failure of each host before it."""

    session: Session | None
    failures: tuple[SMTPError, ...] = ()


def open_session(
    mailer: Mailer,
    watch: Watch | None = None,
    *,
    tls_optional: Callable[[], bool] = lambda: False,
) -> Opening:
    """Lease a session with the first of the mailer's hosts that gives one.

    ``tls_optional`` is asked, where TLS fails, whether the message that the session is for is to
    go all the same (RFC 8689 section 5); a session that was opened so is for that message alone.
    """
    failures: list[SMTPError] = []
    ways = deque(mailer.hosts)
    while ways:
        options = ways.popleft()
        try:
            session = default_pool.lease(options, limits_of(mailer), watch=watch)
        except SMTPError as error:
            failures.append(error)
            if isinstance(error, TLSError) and tls_optional():
                ways.extendleft(reversed(relaxed(options)))
            if error.category in ("auth_failed", "auth_required"):
                # The same credential would be refused by the next host as well,
                # and count against the account once more.
                break
        else:
            return Opening(session, tuple(failures))
    return Opening(None, tuple(failures))


def may_carry(session: Session, mailer: Mailer) -> int:
    """Return how many more messages ``session`` may carry by the limits of ``mailer``."""
    if session.pool_key not in mailer.hosts:
        # Opened for one message that does without verified TLS.
        return 1 - session.transactions
    if time.monotonic() - session.opened_at >= mailer.connection_max_age:
        return 0
    return mailer.messages_per_connection - session.transactions


def limits_of(mailer: Mailer) -> Limits:
    """Return how long and how often a session of ``mailer`` may be used again."""
    return Limits(
        messages_per_connection=mailer.messages_per_connection,
        connection_max_age=mailer.connection_max_age,
        idle_timeout=mailer.idle_timeout,
    )
