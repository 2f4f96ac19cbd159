"""Why mail has nowhere to go: the errors of a route, each made in one place."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from django_smtpx.smtp.errors import ResolveError, TLSError
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.mx.mta_sts import Policy


def not_named(host: str, reason: str, policy: Policy) -> TLSError:
    """Return why a server that the policy does not name is left out (RFC 8461 section 4.1)."""
    named = ", ".join(policy.mx) or said("no server")
    return TLSError(
        said(
            "%(host)s is not among the servers that %(reason)s names: %(named)s",
            host=host,
            reason=reason,
            named=named,
        ),
        phase="resolve",
        host=host,
        category="tls_error",
        tls_failure="validation-failure",
    )


def refuse_domain(why: str, enhanced_code: str = "") -> NoReturn:
    """Raise for a domain that takes no mail."""
    raise ResolveError(
        why,
        phase="resolve",
        enhanced_code=enhanced_code,
        category="domain_unknown",
        action="fail",
        temporary=False,
    )


def refuse_address(why: str) -> NoReturn:
    """Raise for an address that no mail could go to."""
    raise ResolveError(
        why, phase="resolve", category="address_invalid", action="fail", temporary=False
    )


def refuse_loop(domain: str) -> NoReturn:
    """Raise for a domain whose mail would come back here (RFC 5321 section 5.1)."""
    raise ResolveError(
        said(
            "Mail for %(domain)s loops back here: this machine is its best mail exchanger",
            domain=domain,
        ),
        phase="resolve",
        enhanced_code="5.4.6",
        category="loop",
        action="fail",
        temporary=False,
    )
