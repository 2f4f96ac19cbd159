"""``python -m django_smtpx.smtp check``: the diagnosis of a server, without Django.

The exit code is 0 when no step fails, 1 when one does, and 2 for arguments that make no sense.
"""

from __future__ import annotations

import argparse
import getpass
import json
import os
import sys
from ipaddress import IPv6Address
from typing import TYPE_CHECKING

from django_smtpx.smtp import commands
from django_smtpx.smtp.client import Client
from django_smtpx.smtp.diagnosis import Diagnosis, Trial, configuration, text, try_host
from django_smtpx.smtp.options import Security

if TYPE_CHECKING:
    from collections.abc import Sequence

PASSWORD = "SMTP_PASSWORD"  # noqa: S105 (the name of a variable)
"""The environment variable that has the password: an argument could be read by everybody."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Look, print, and return the exit code."""
    parser = _parser()
    given = parser.parse_args(arguments)
    try:
        options = _client(given).options
        trial = Trial(sender=_sender(given), recipient=given.to)
    except ValueError as error:
        parser.error(str(error))
    steps = (configuration(options), *try_host(options, trial))
    diagnosis = Diagnosis("", options.host, options.port, steps)
    shown = json.dumps(diagnosis.as_dict(), indent=2) if given.json else _text(diagnosis)
    sys.stdout.write(f"{shown}\n")
    if diagnosis.ok:
        return 0
    sys.stderr.write(f"Failed: {text.named(diagnosis)}\n")
    return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m django_smtpx.smtp")
    tools = parser.add_subparsers(required=True, metavar="check")
    check = tools.add_parser(
        "check",
        help="say what stands between this machine and a server that takes its mail",
        description="One line a step with what was seen, and where it fails why, and what to do. "
        "Nothing is sent.",
    )
    add = check.add_argument
    add("server", metavar="HOST[:PORT]", help="port 465, 587, else 25, by --security")
    add("--security", choices=[str(one) for one in Security], default=str(Security.AUTO))
    add("--no-verify", action="store_true", help="take any certificate")
    add("--ca-file", metavar="FILE", help="further authorities (PEM)")
    add("--helo", default="", metavar="NAME", help="the name said in EHLO (this machine's)")
    add(
        "--user",
        metavar="NAME",
        help=f"log in; the password is {PASSWORD} in the environment, or is asked for",
    )
    add("--allow-plaintext-auth", action="store_true", help="log in without TLS, too")
    add("--from", dest="sender", default="", metavar="ADDR", help="the sender (the user's name)")
    add("--to", default="", metavar="ADDR", help="ask whether the server takes mail to there")
    add("--json", action="store_true", help="the same values for a program")
    return parser


def _place(server: str) -> tuple[str, int | None]:
    """Return host and port of ``host``, ``host:port``, ``::1`` or ``[::1]:port``."""
    try:
        return str(IPv6Address(server.strip("[]"))), None
    except ValueError:
        pass
    host, colon, port = server.rpartition(":")
    if not colon:
        return server, None
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        raise ValueError(f"{server!r} is no HOST[:PORT]")
    return host.strip("[]"), int(port)


def _client(given: argparse.Namespace) -> Client:
    """Return the client, which has not connected yet. Raises ``ValueError``."""
    host, port = _place(given.server)
    return Client(
        host,
        port,
        security=given.security,
        verify=not given.no_verify,
        ca_file=given.ca_file,
        helo=given.helo,
        username=given.user,
        password=_password() if given.user else None,
        allow_plaintext_auth=given.allow_plaintext_auth,
    )


def _password() -> str:
    password = os.environ.get(PASSWORD)
    return getpass.getpass() if password is None else password


def _sender(given: argparse.Namespace) -> str:
    """Return who sends to ``--to``. Raises ``ValueError`` for addresses that nobody could say."""
    if not given.to:
        return ""
    sender: str = given.sender or (given.user or "")
    if "@" not in sender:
        raise ValueError("--to needs --from: the address that mail would come from")
    for address in (sender, given.to):
        if "@" not in address:
            raise ValueError(f"{address!r} is no address")
    commands.mail(sender, smtputf8=not sender.isascii())
    commands.rcpt(given.to, smtputf8=not given.to.isascii())
    return sender


def _text(diagnosis: Diagnosis) -> str:
    lines = [line for step in diagnosis.steps for line in text.lines(step)]
    return "\n".join([f"{diagnosis.host} port {diagnosis.port}", *lines])


if __name__ == "__main__":
    sys.exit(main())
