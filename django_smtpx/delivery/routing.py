"""Where a way leads: its mailer's hosts, or those of its domain, which are looked up and kept.

One :class:`~django_smtpx.mx.route.Router` for each configuration and process, and what it has found
for a minute: a route costs no question for each message, nor does it wait longer for news.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from django.core.signals import setting_changed
from django.db import connections, transaction

from django_smtpx.ledger import PolicyStore, database
from django_smtpx.mx.cache import Cache
from django_smtpx.mx.mta_sts import PAUSE
from django_smtpx.mx.route import Route
from django_smtpx.smtp import ResolveError, SMTPError
from django_smtpx.smtp.wording import because, said

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.mailer import MXOptions, Way
    from django_smtpx.mx.mta_sts import Found, Policies, Stored
    from django_smtpx.mx.route import Router

KEPT = 60.0
"""Seconds for which a route is taken again as it is."""

_FLAWS = (
    ArithmeticError,
    AssertionError,
    AttributeError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
)
"""What nobody raises on purpose; a worker's stop is none of these, nor is a database's error."""

_MOST_ROUTES = 1000
_MOST_ROUTERS = 16

logger = logging.getLogger("django_smtpx.delivery")


class Routes:
    """What one router has found lately."""

    def __init__(
        self,
        router: Router,
        policies: Policies | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._router = router
        self._policies = policies
        self._kept: Cache[Route] = Cache(clock, most=_MOST_ROUTES)

    def route(self, domain: str, *, heeding: bool = True) -> Route:
        """Return the route to ``domain`` as :meth:`Router.route` does, and raise what it raises."""
        route = self._kept.get((domain, heeding))
        if route is None:
            route = self._found(domain, heeding=heeding)
            self._kept.put((domain, heeding), route, KEPT)
        return route

    def _found(self, domain: str, *, heeding: bool) -> Route:
        """Look for the route; a flaw of ours that a domain's DNS or policy lays open keeps its own
        mail waiting, as if nobody could say, and no other mail.
        """
        try:
            return self._router.route(domain, heeding=heeding)
        except SMTPError:
            raise
        except _FLAWS as error:
            logger.exception("The route to %s cannot be made out.", domain)
            raise ResolveError(
                said(
                    "The route to %(domain)s cannot be made out: %(error)s",
                    domain=domain,
                    error=because(type(error).__name__, error),
                ),
                phase="resolve",
                category="dns_error",
                action="retry",
                temporary=True,
            ) from error

    def policy_of(self, domain: str) -> Found | None:
        """Return what is known of the MTA-STS policy of ``domain``; None where nobody looks."""
        return None if self._policies is None else self._policies.policy_for(domain)

    def doubt(self, domain: str) -> None:
        """Look at the policy of ``domain`` anew the next time."""
        for heeding in (True, False):
            self._kept.drop((domain, heeding))
        if self._policies is not None:
            self._policies.doubt(domain)


def route_of(way: Way, *, heeding: bool = True) -> Route:
    """Return where ``way`` leads; without ``heeding`` no domain's policy counts.

    Raises the SMTPError of not finding any host, as :meth:`Router.route` does.
    """
    mx = way.mailer.mx
    if mx is None:
        return Route(domain=way.domain, hosts=way.mailer.hosts)
    return routes_for(mx).route(way.domain, heeding=heeding)


def routes_for(mx: MXOptions) -> Routes:
    """Return this process's routes of a configuration."""
    found = _routes.get(mx)
    if found is None:
        with _lock:
            found = _routes.get(mx)
            if found is None:
                found = _routes[mx] = _router(mx)
                while len(_routes) > _MOST_ROUTERS:
                    del _routes[next(iter(_routes))]
    return found


def forget(**_: object) -> None:
    """Forget all routes, and all that the DNS said."""
    with _lock:
        _routes.clear()


def doubt(way: Way) -> None:
    """Say that the servers of ``way`` do not show what its domain's policy has them show: it is
    looked at anew, and with it the route.
    """
    if way.mailer.mx is not None:
        routes_for(way.mailer.mx).doubt(way.domain)


def policy_of(way: Way) -> Found | None:
    """Return what is known of the MTA-STS policy that ``way`` is under; None where nobody looks."""
    mx = way.mailer.mx
    return None if mx is None else routes_for(mx).policy_of(way.domain)


class _Store(PolicyStore):
    """Inside a caller's transaction nothing is written before the bytes have moved.

    What this process has found out it knows all the same, also where that transaction is rolled
    back: a web server that is away costs its timeout once, and not once a mail.
    """

    def __init__(self) -> None:
        self._unwritten: Cache[Stored] = Cache(time.monotonic)

    def get(self, domain: str) -> Stored | None:
        """Return what is known, by whoever has tried last."""
        written, unwritten = super().get(domain), self._unwritten.get(domain)
        if unwritten is None or (written is not None and written.tried_at >= unwritten.tried_at):
            return written
        return replace(unwritten, version=written.version if written is not None else 0)

    def put(self, stored: Stored) -> bool:
        """Write ``stored``, now or behind that transaction."""
        using = database()
        if not connections[using].in_atomic_block:
            return super().put(stored)
        self._unwritten.put(stored.domain, stored, PAUSE)
        write = partial(super().put, stored)
        transaction.on_commit(write, using=using, robust=True)
        return True


def _router(mx: MXOptions) -> Routes:
    from django_smtpx.mx.dns import Resolver
    from django_smtpx.mx.mta_sts import Policies
    from django_smtpx.mx.policy_host import PolicyHosts
    from django_smtpx.mx.route import Router

    resolver = Resolver(mx.resolver)
    policies = None
    if mx.mta_sts:
        fetch = PolicyHosts(resolver, ca_file=mx.template.ca_file)
        policies = Policies(resolver, _Store(), fetch=fetch)
    router = Router(mx.template, resolver=resolver, policies=policies, dane=mx.dane, port=mx.port)
    return Routes(router, policies)


_routes: dict[MXOptions, Routes] = {}
_lock = threading.Lock()


def _start_clean() -> None:
    """Begin anew in a forked child, with locks that no thread of the parent holds."""
    global _lock  # noqa: PLW0603 (as a module is made anew)
    _lock = threading.Lock()
    _routes.clear()


os.register_at_fork(after_in_child=_start_clean)
setting_changed.connect(forget, dispatch_uid="django_smtpx.delivery.routing")
