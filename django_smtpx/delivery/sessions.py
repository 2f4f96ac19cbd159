"""Sessions for a way: from its hosts in order, each failure remembered."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.delivery.families import is_policy, other_family
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

    Instead = Callable[[Options, SMTPError], Sequence[Options]]
    """From how a host was gone to, and what came of it, to how else to go there now."""


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
    instead: Instead = lambda options, error: (),
    unfit: Callable[[Session], SMTPError | None] = lambda session: None,
) -> Opening:
    """Lease a session with the first of ``hosts`` that gives one.

    ``tls_optional`` is asked, where TLS fails, whether the message that the session is for is to
    go all the same (RFC 8689 section 5); a session that was opened so is for that message alone.
    ``instead`` returns how else to go to a host that failed, ``unfit`` why a session is not what
    is wanted. A host whose policy refuses the one IP family is tried over the other.
    """
    failures: list[SMTPError] = []
    ways = deque(hosts)
    while ways:
        options = ways.popleft()
        try:
            session = default_pool.lease(options, limits_of(mailer), watch=watch)
        except SMTPError as error:
            ledger.time_phases(mailer.name, error.phases)
            failures.append(error)
            ways.extendleft(reversed(_again(options, error, tls_optional, instead)))
            if error.category in pacing.CREDENTIAL:
                # The same credential would be refused by the next host as well,
                # and count against the account once more.
                break
        else:
            reason = unfit(session)
            if reason is None:
                return Opening(session, tuple(failures))
            default_pool.release(session, limits_of(mailer))
            failures.append(reason)
    return Opening(None, tuple(failures))


def _again(
    options: Options,
    error: SMTPError,
    tls_optional: Callable[[], bool],
    instead: Instead,
) -> Sequence[Options]:
    """Return how else to go to the host that failed, before the next one."""
    ways = instead(options, error)
    if not ways and isinstance(error, TLSError) and tls_optional():
        return relaxed(options)
    if not ways and is_policy(error):
        other = other_family(options, error.ip)
        # Once: where it is the only one left, there is none.
        return (other,) if other is not None else ()
    return ways


def may_carry(session: Session, way: Way, hosts: Sequence[Options]) -> int:
    """Return how many more messages ``session`` may carry, by the limits of the mailer and by
    those that the provider is known for.
    """
    if not is_one_of(session, hosts):
        # Opened for one message that does without verified TLS.
        return 1 - session.transactions
    limits = limits_of(way.mailer)
    if time.monotonic() - session.opened_at >= limits.connection_max_age:
        return 0
    known = caps_for(session.host).messages if way.domain else None
    most = limits.messages_per_connection
    return min(most, known or most) - session.transactions


def is_one_of(session: Session, hosts: Sequence[Options]) -> bool:
    """Say whether it goes to one of ``hosts``, with the same TLS, to whichever address."""
    options = session.pool_key
    if options in hosts:
        return True
    known = [host for host in hosts if host.host == options.host]
    return any(replace(host, addresses=options.addresses) == options for host in known)


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
