"""Domains whose mail servers listen on addresses of the loopback interface, all on one port, and
the DNS that names them.
"""

from __future__ import annotations

import socket
import ssl
import time
from contextlib import ExitStack
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Self

import pytest
import trustme
from django.core.mail import EmailMessage
from django.utils import timezone

from django_smtpx.delivery import families, knocking, routing, troubles
from django_smtpx.ledger import PolicyStore
from django_smtpx.models import Delivery, Route
from django_smtpx.mx.mta_sts import Policy, Stored
from django_smtpx.testing import ScriptedServer, real_queue
from tests.mx.responder import Responder

if TYPE_CHECKING:
    from pathlib import Path


class MXSite:
    """A mailer that goes straight to domains, which a test sets up one by one."""

    def __init__(self, directory: Path, *, trusted: bool = True, **options) -> None:
        self._trusted = trusted
        self.dns = Responder()
        self.port = 0
        self.servers: dict[str, ScriptedServer] = {}
        self._authority = trustme.CA()
        self.ca_file = str(directory / "ca.pem")
        self._authority.cert_pem.write_to_path(self.ca_file)
        self._options = options
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.dns)
        # Nobody else's: it keeps the port while the others come.
        keeper = self._stack.enter_context(ScriptedServer(host="127.0.0.100"))
        self.port = keeper.port
        options = {
            "transport": "mx",
            "helo": "out.sender.example",
            "mx_port": self.port,
            "ca_file": self.ca_file,
            "timeout": 20,
            "resolver": {
                "nameservers": [self.dns.host], "port": self.dns.port,
                "trust_ad": self._trusted,
            },
            **self._options,
        }  # fmt: skip
        self._stack.enter_context(real_queue(**options))
        self._stack.callback(self._forget)
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @staticmethod
    def _forget() -> None:
        routing.forget()
        families.forget()
        troubles.forget()
        knocking.forget()

    # -- what there is ---------------------------------------------------------------------------

    def domain(self, name: str, *hosts: str) -> None:
        """Let a domain have these exchangers, the first of them preferred."""
        records = [f"{10 * place} {host}." for place, host in enumerate(hosts, 1)]
        self.dns.gives(name, "MX", *records, ad=True)

    def host(self, name: str, *addresses: str) -> None:
        """Let a host have these addresses."""
        for rdtype, family in (("A", "."), ("AAAA", ":")):
            own = [one for one in addresses if family in one]
            self.dns.gives(name, rdtype, *own, ad=True)

    def server(self, name: str, *addresses: str, certificate: str | None = None, **options):
        """Start a host's server, and return the first of them: one for each address.

        With ``certificate`` it has TLS, and shows one for that name.
        """
        if any(":" in address for address in addresses) and not _has_ipv6():
            pytest.skip("There is no IPv6 loopback here.")
        if certificate is not None:
            options["ssl_context"] = self.context(certificate)
        started = [
            self._stack.enter_context(ScriptedServer(host=address, port=self.port, **options))
            for address in addresses
        ]
        self.servers[name] = started[0]
        self.host(name, *addresses)
        return started[0] if len(started) == 1 else started

    def context(self, name: str) -> ssl.SSLContext:
        """Return a server's side of TLS, with a certificate for ``name``."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.certificate = self._authority.issue_cert(name)
        self.certificate.configure_cert(context)
        return context

    def policy(self, domain: str, mode: str, *hosts: str) -> None:
        """Let a domain have an MTA-STS policy, which is known already."""
        self.dns.gives(f"_mta-sts.{domain}", "TXT", '"v=STSv1; id=1;"')
        now = time.time()
        kept = Policy(domain, mode, hosts, 86400, "1")
        PolicyStore().put(
            Stored(
                domain=domain, policy=kept, fetched_at=now, tried_id="1", tried_at=now,
                next_try=now + 3600,
            )
        )  # fmt: skip


def send(*to: str, **kwargs) -> EmailMessage:
    """Queue a mail, or send it now."""
    wishes = {name: kwargs.pop(name) for name in ("require_tls",) if name in kwargs}
    message = EmailMessage("Subject", "Body", "from@sender.example", list(to), **kwargs)
    for name, value in wishes.items():
        setattr(message, name, value)
    message.send()
    return message


def later(seconds: float = 0.0) -> None:
    """Let what waits be due, and what rests be probed; ``seconds`` is how much older all mail is."""
    now = timezone.now()
    due = now - timedelta(seconds=1)
    Delivery.objects.filter(next_attempt_at__gt=now).update(next_attempt_at=due)
    Delivery.objects.filter(parked_at__gt=now).update(parked_at=due)
    Route.objects.filter(paused_until__gt=now).update(paused_until=due)
    for delivery in Delivery.objects.all():
        delivery.age_from -= timedelta(seconds=seconds)
        delivery.save(update_fields=["age_from"])


@cache
def _has_ipv6() -> bool:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        return False
    return True
