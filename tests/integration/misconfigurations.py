"""The table of misconfigurations: what is wrong, and what ``smtpx_check`` says of it.

The page on it in the documentation shows this table: ``python -m tests.integration.misconfigurations``
prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.diagnosis import Step, text
from tests.integration.misconfigured import REFUSED, SENDER, STRANGER
from tests.integration.tools import free_port

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.misconfigured import World

SECRET = "correct-horse-battery"
"""A password that nothing may show."""
TO = "you@lab.test"


@dataclass(frozen=True)
class Case:
    """A misconfiguration: the mailer, and the step, the cause and the mend that are to be told.

    ``arguments`` are those of the command. With ``ok`` nothing fails, and the cause is a note.
    ``ports`` are the other ones of the host that are looked at. ``knock`` is a door that somebody
    else was at just now.
    """

    name: str
    options: Callable[[World], dict[str, Any]]
    step: str
    cause: str
    mend: str = ""
    arguments: tuple[str, ...] = ()
    ok: bool = False
    ports: tuple[str, ...] = ()
    sender: str = SENDER
    knock: str = ""


def login(options: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return options with a user name and the marked password."""
    return {**options, "username": "outbox", "password": SECRET, **changes}


def known(servers: World, door: str, **changes: Any) -> dict[str, Any]:
    """Return options of whom Postfix knows."""
    options = servers.at(door, security="starttls", username=servers.postfix.username)
    return {**options, "password": servers.postfix.password, **changes}


def straight(servers: World, **changes: Any) -> dict[str, Any]:
    """Return options of a mailer that goes straight to domains."""
    resolver = servers.resolver.options(timeout=5, **changes.pop("resolver", {}))
    port = servers.faces["right"].port
    return {
        "transport": "mx",
        "mx_port": port,
        "resolver": resolver,
        "helo": "out.lab.test",
        **changes,
    }


CLEAR = {"security": "none", "allow_plaintext_auth": True}

CASES = [
    # -- the way there
    Case(
        "nobody listens",
        lambda s: {**s.at("open"), "port": free_port()},
        "tcp",
        "Nobody listens on port",
        "correct host and port, or start the server",
        ports=("open",),
    ),
    Case(
        "a firewall",
        lambda s: s.at("firewall"),
        "tcp",
        "a firewall drops what goes there",
        "let the firewall, or the provider of this machine, allow it",
        ports=("open",),
    ),
    Case(
        "no route, or no IPv6",
        lambda s: s.at("open", host="2001:db8::1", source_address="::1"),
        "tcp",
        "There is no way to the host",
        "See to the network and its routes (and to IPv6, where the address is one)",
    ),
    Case(
        "a misspelt host",
        lambda s: s.at("open", host="smtp.invalid"),
        "dns",
        "smtp.invalid has no address",
        "Correct host if 'smtp.invalid' is misspelt",
    ),
    Case(
        "a domain that does not exist",
        straight,
        "dns",
        "There is no domain none.lab.test",
        "Correct the domain of the address: it takes no mail",
        ("--to", "you@none.lab.test"),
    ),
    Case(
        "a domain that takes no mail",
        straight,
        "dns",
        "takes no mail: it has a null MX",
        "Correct the domain of the address: it takes no mail",
        ("--to", "you@null.lab.test"),
    ),
    Case(
        "DNSSEC that does not hold",
        straight,
        "dns",
        "answered SERVFAIL (DNSSEC BOGUS",
        "whoever runs forged.lab.test has to mend its DNS",
        ("--to", "you@forged.lab.test"),
    ),
    Case(
        "a resolver that is away",
        lambda s: straight(s, resolver={"port": free_port()}),
        "dns",
        "The DNS gives no usable answer",
        "See that this machine's name servers answer",
        ("--to", "you@right.lab.test"),
    ),
    # -- TLS
    Case(
        "TLS from the first byte on a port of STARTTLS",
        lambda s: s.at("submission", security="implicit"),
        "tls",
        "does not speak TLS from the first byte",
        "Set security='starttls'",
        ports=("smtps",),
    ),
    Case(
        "STARTTLS on a port of TLS",
        lambda s: s.at("smtps", security="starttls"),
        "tls",
        "speaks TLS from the first byte",
        "Set security='implicit'",
    ),
    Case(
        "STARTTLS is not offered",
        lambda s: s.at("open", security="starttls"),
        "tls",
        "the server does not offer STARTTLS",
        "Use another port: port",
        ports=("submission",),
    ),
    Case(
        "TLS 1.0 and nothing later",
        lambda s: s.at("old_tls", security="starttls"),
        "tls",
        "the server speaks TLS 1.1 or older alone",
        "Let the server speak TLS 1.2 or later",
    ),
    Case(
        "a client certificate is wanted",
        lambda s: s.at("known_clients", security="starttls"),
        "ehlo",
        "The server wants a client certificate",
        "Set ssl_certfile and ssl_keyfile",
    ),
    Case(
        "an expired certificate",
        lambda s: s.face("expired"),
        "certificate",
        "does not hold: it expired on",
        "Have the certificate renewed",
    ),
    Case(
        "a certificate for another name",
        lambda s: s.face("other"),
        "certificate",
        "does not hold: it is somebody else's",
        "Set host to a name that the certificate is for",
    ),
    Case(
        "a certificate of an unknown authority",
        lambda s: s.face("unknown"),
        "certificate",
        "does not hold: its authority is not known here",
        "Name the PEM file of the authority in ca_file",
    ),
    Case(
        "a clock that is slow",
        lambda s: s.face("early"),
        "certificate",
        "does not hold: it is valid only from",
        "Set the clock of this machine",
    ),
    # -- who lets nobody in
    Case(
        "blocked at the greeting",
        lambda s: s.at("listed"),
        "ehlo",
        "This machine's address or domain is on a block list",
        "Ask for it to be taken off the list that the reply names",
    ),
    Case(
        "an address that is not let in",
        lambda s: s.face("right", source_address=REFUSED),
        "ehlo",
        "The server refuses this machine",
        "Ask who runs the server to take mail from this machine's address",
    ),
    Case(
        "too many connections",
        lambda s: s.at("hurried"),
        "ehlo",
        "The server wants less mail for now",
        "Set rate, and try again later",
        knock="hurried",
    ),
    Case(
        "a name in EHLO that is none",
        lambda s: s.at("full_names", helo="localhost"),
        "ehlo",
        "The server does not like the name said in EHLO (localhost)",
        "Set helo to the full name of this machine",
    ),
    # -- the login
    Case(
        "a wrong password",
        lambda s: known(s, "submission", password=SECRET),
        "auth",
        "The server refuses the login",
        "Check username and password",
    ),
    Case(
        "a login before TLS",
        lambda s: login(s.at("submission"), **CLEAR),
        "auth",
        "The server offers AUTH only after TLS",
        "Set security='starttls'",
    ),
    Case(
        "no mechanism in common",
        lambda s: known(s, "submission", auth=["CRAM-MD5"]),
        "auth",
        "The two sides have no mechanism of login in common",
        "name one in it that the server offers: PLAIN LOGIN",
    ),
    Case(
        "a login where there is none",
        lambda s: login(s.at("open"), **CLEAR),
        "auth",
        "the server does not offer AUTH",
        "Take out username and password",
    ),
    Case(
        "passwords that Microsoft has switched off",
        lambda s: login(s.at("microsoft"), **CLEAR),
        "auth",
        "Microsoft has switched off logins by password (basic authentication)",
        "Set oauth_token in place of password",
    ),
    Case(
        "an app password that Google wants",
        lambda s: login(s.at("google"), **CLEAR),
        "auth",
        "Google wants an app password in place of the account's own",
        "Make an app password in the Google account",
    ),
    # -- sender and recipient
    Case(
        "TLS is wanted first",
        lambda s: s.at("opensmtpd_tls"),
        "sender",
        "The server wants TLS first",
        "Set security='starttls'",
        ("--to", TO),
    ),
    Case(
        "a sender who must log in",
        lambda s: s.at("not_logged_in"),
        "recipient",
        "The server wants a login first",
        "Set username and password",
        ("--to", TO),
    ),
    Case(
        "a sender that is another's",
        lambda s: known(s, "other_sender"),
        "recipient",
        "This address may not be used as sender here",
        "Set DEFAULT_FROM_EMAIL to an address of the account",
        ("--to", TO),
    ),
    Case(
        "relaying is denied",
        lambda s: s.at("no_relay"),
        "recipient",
        "The server does not take mail for other domains from here",
        "Set username and password for it",
        ("--to", "you@example.net"),
    ),
    Case(
        "relaying is denied by Exim",
        lambda s: s.face("right", source_address=STRANGER),
        "recipient",
        "The server does not take mail for other domains from here",
        "let it trust this machine's address",
        ("--to", TO),
    ),
    Case(
        "no such mailbox",
        lambda s: s.at("known_only"),
        "recipient",
        "There is no such mailbox",
        "Correct the recipient's address",
        ("--to", TO),
    ),
    Case(
        "an address beyond ASCII",
        lambda s: s.at("opensmtpd"),
        "recipient",
        "the server does not offer SMTPUTF8",
        "Use an address in ASCII, or a server that offers SMTPUTF8",
        ("--to", "jürgen@lab.test"),
    ),
    Case(
        "greylisting",
        lambda s: s.at("greylisting"),
        "recipient",
        "The server greylists: it takes the mail at a later try",
        "",
        ("--to", TO),
        ok=True,
    ),
    Case(
        "a mail that is too large",
        lambda s: s.at("small"),
        "message",
        "The mail is larger than the server takes",
        "have the server's limit raised",
        ("--to", TO, "--send"),
    ),
    # -- the sending domain
    Case(
        "SPF that does not name this machine",
        straight,
        "spf",
        "SPF says fail for mail of sender.lab.test",
        "Add ip4:203.0.113.9 to the SPF record of sender.lab.test",
        ("--address", "203.0.113.9"),
        sender="me@sender.lab.test",
    ),
]


def table() -> str:
    """Return the table as the documentation has it."""
    lines = ["| what is wrong | step | what is said of it | what mends it |", "|---|---|---|---|"]
    for case in CASES:
        mend = f"{case.mend} …" if case.mend else "(nothing: a delivery does so)"
        step = text.title(Step(case.step, None))
        lines.append(f"| {case.name} | {step} | {case.cause} … | {mend} |")
    return "\n".join(lines)


if __name__ == "__main__":
    print(table())
