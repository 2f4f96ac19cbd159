"""How the hosts of a way are gone to for one message, and what else is to be tried with them."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from django_smtpx import pacing
from django_smtpx.delivery import troubles
from django_smtpx.delivery.families import preferred
from django_smtpx.delivery.routing import route_of
from django_smtpx.models import Category
from django_smtpx.smtp import ProtocolError, SMTPError, UnsupportedFeature
from django_smtpx.smtp.options import Security
from django_smtpx.smtp.verdict import FINAL_ACTIONS, UNSUPPORTED
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_smtpx.mailer import Way
    from django_smtpx.mx.route import Route
    from django_smtpx.smtp.options import Options
    from django_smtpx.smtp.session import Session

_REQUIRETLS_NEEDED = "5.7.30"


@dataclass(frozen=True, slots=True)
class Approach:
    """The ``hosts`` to try, in order, and the ``ways`` that may carry other messages, too.

    ``verified`` says that the message has REQUIRETLS; without ``ways`` it goes alone.
    """

    way: Way
    route: Route
    hosts: tuple[Options, ...]
    ways: tuple[Options, ...]
    verified: bool = False
    in_clear: list[Options] = field(default_factory=list)

    @property
    def carriers(self) -> tuple[Options, ...]:
        """The ways that may carry other messages, those included that have turned out since."""
        return self.ways + tuple(self.in_clear)

    def instead(self, options: Options, error: SMTPError) -> tuple[Options, ...]:
        """Return how else to go to a host whose TLS failed: where its policy is only being tested
        as without one, and where no TLS is asked for in clear, though not at the first failure.
        """
        if self.verified or not self.way.domain or error.phase != "starttls":
            return ()
        if isinstance(error, ProtocolError):
            # Somebody may be tampering with the connection.
            return ()
        lenient = self.route.instead(options)
        if lenient or options.security is not Security.OPPORTUNISTIC:
            return lenient
        before = troubles.note(options.host, options.port) or pacing.had_tls_trouble(self.way)
        if not before:
            return ()
        clear = replace(options, security=Security.NONE)
        if self.ways:
            self.in_clear.append(clear)
        return (clear,)

    def unfit(self, session: Session) -> SMTPError | None:
        """Return why the message may not go over ``session``; None where it may."""
        if not self.verified or session.takes_requiretls:
            return None
        return _without_requiretls(said("the server does not know it"), session)

    def is_about_message(self, failures: Sequence[SMTPError]) -> bool:
        """Say whether no session could be had for the TLS alone that this message wants."""
        own = (Category.TLS_ERROR, Category.UNSUPPORTED)
        return self.verified and any(error.category in own for error in failures)


def approach(way: Way, require_tls: bool, tls_optional: Callable[[], bool]) -> Approach:  # noqa: FBT001
    """Return how to go along ``way`` with a message.

    ``tls_optional`` is asked, where no route can be had, whether the message says ``TLS-Required:
    No``: then it goes by one for which no policy counts (RFC 8689 section 5), alone. Raises the
    SMTPError of not finding any host that it may go to.
    """
    try:
        route = route_of(way)
    except SMTPError as error:
        if not way.domain or error.action in FINAL_ACTIONS or not tls_optional():
            raise
        relaxed = route_of(way, heeding=False)
        return Approach(way, relaxed, _preferred(relaxed.hosts), ())
    hosts = _preferred(route.hosts)
    if not (way.domain and require_tls):
        return Approach(way, route, hosts, route.ways)
    if not route.authentic:
        raise _without_requiretls(
            said(
                "neither DNSSEC nor an MTA-STS policy says which servers are those of %(domain)s",
                domain=way.domain,
            )
        )
    verified = route.verified()
    return Approach(way, route, _preferred(verified), route.ways + verified, verified=True)


def _preferred(hosts: Sequence[Options]) -> tuple[Options, ...]:
    return tuple(map(preferred, hosts))


def _without_requiretls(why: str, session: Session | None = None) -> UnsupportedFeature:
    """Return the failure of a message with REQUIRETLS, which nobody but its sender can change."""
    return UnsupportedFeature(
        said("The message needs REQUIRETLS (RFC 8689), and %(why)s", why=why),
        phase="resolve" if session is None else "ehlo",
        enhanced_code=_REQUIRETLS_NEEDED,
        host=session.host if session is not None else "",
        ip=session.ip if session is not None else "",
        port=session.port if session is not None else 0,
        **UNSUPPORTED.fields,
    )
