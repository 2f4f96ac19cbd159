"""What came of sessions with the servers of a domain is counted, for the domain (RFC 8460)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx import ledger
from django_smtpx.delivery.routing import policy_of
from django_smtpx.mx.own import public_address_towards
from django_smtpx.mx.tlsrpt import Session, facts
from django_smtpx.smtp.options import Security

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.delivery.approach import Approach
    from django_smtpx.delivery.sessions import Opening
    from django_smtpx.mailer import Way
    from django_smtpx.smtp import SMTPError
    from django_smtpx.smtp.options import Options


def tally(attempt: Approach, opening: Opening, tls_optional: Callable[[], bool]) -> None:
    """Count what came of trying the hosts, unless a session of before was taken.

    ``tls_optional`` is asked whether the message says ``TLS-Required: No``: that is not counted,
    and so no report on TLS is the reason of the next one (section 5.3).
    """
    if not attempt.way.domain or not ledger.counts_tls():
        return
    sessions = tuple(_sessions(attempt, opening))
    if sessions and not tls_optional():
        ledger.book_tls_session(*sessions)


def tally_unresolved(way: Way, error: SMTPError, tls_optional: Callable[[], bool]) -> None:
    """Count that policies left no host to go to, where that is what ``error`` says."""
    if not way.domain or not error.tls_failure or not ledger.counts_tls():
        return
    if tls_optional():
        return
    found = policy_of(way)
    ledger.book_tls_session(*facts(way.domain, error.host, found=found, error=error))


def _sessions(attempt: Approach, opening: Opening) -> Iterator[Session]:
    domain, found = attempt.way.domain, attempt.route.found
    known = {options.host: options for options in reversed(attempt.hosts)}
    failed = set()
    for error in (*attempt.route.failures, *opening.failures):
        if error.tls_failure and error.host not in failed:
            # Once: where a policy is only tested, or TLS is only wished for, it was tried again.
            failed.add(error.host)
            options = known.get(error.host)
            yield from facts(
                domain,
                error.host,
                tlsa=options.tlsa if options else (),
                found=found,
                sending_ip=_from(options, error.ip),
                error=error,
            )
    session = opening.session
    if session is None or session.transactions or session.host in failed:
        return
    options = session.pool_key
    if options.security is not Security.NONE:
        yield from facts(
            domain,
            session.host,
            tlsa=options.tlsa,
            found=found,
            ip=session.ip,
            sending_ip=_from(options, session.ip),
            tls=bool(session.tls),
        )


def _from(options: Options | None, ip: str) -> str:
    """Return the address that we came from: the mailer's own, or the one the system chooses."""
    if options is not None and options.source_address:
        return options.source_address
    return public_address_towards(ip) if ip else ""
