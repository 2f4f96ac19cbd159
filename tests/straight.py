"""Mailers that go straight to domains, with routes that a test makes up."""

from __future__ import annotations

from dataclasses import replace
from itertools import count
from typing import TYPE_CHECKING

from django_smtpx.delivery import routing
from django_smtpx.mailer import MXOptions
from django_smtpx.mx.dns import ResolverOptions
from django_smtpx.mx.route import Route
from django_smtpx.smtp.options import Options, Security

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.mailer import Mailer

_numbers = count(1)


def straight(mailer: Mailer, hosts: Callable[[str], tuple[Options, ...]]) -> Mailer:
    """Return ``mailer`` with other hosts for each domain: those that ``hosts`` returns, anew each
    time, or the SMTPError that it raises.
    """
    template = Options(
        host="", port=25, security=Security.OPPORTUNISTIC, helo=f"{next(_numbers)}.example"
    )
    mx = MXOptions(template=template, resolver=ResolverOptions())
    routing._routes[mx] = _Routes(hosts)
    return replace(mailer, hosts=(), transport="mx", mx=mx)


class _Routes:
    def __init__(self, hosts: Callable[[str], tuple[Options, ...]]) -> None:
        self._hosts = hosts

    def route(self, domain: str, *, heeding: bool = True) -> Route:
        return Route(domain=domain, hosts=self._hosts(domain))
