"""From a dictionary of OPTIONS to a :class:`Mailer`: pure; every key is known, typed and ranged.

What is wrong is told by a :class:`BadOption` that names the key, the value
(unless it is a secret) and the mend.
"""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from django_smtpx.config import logins, signing, straight, values
from django_smtpx.config.unknown import BadOption, refuse_unknown
from django_smtpx.mailer import Mailer
from django_smtpx.smtp.options import (
    IMPLICIT_TLS_PORT,
    Options,
    Security,
    security_and_port,
)
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_smtpx.smtp import Rule

_MAILER_KEYS = tuple(
    field.name for field in fields(Mailer) if field.name not in ("name", "hosts", "mx")
)
_SESSION_KEYS = (
    "verify",
    "ca_file",
    "ssl_keyfile",
    "ssl_certfile",
    "auth",
    "allow_plaintext_auth",
    "helo",
    "source_address",
    "timeout",
    "eod_timeout",
    "pipelining",
    "chunking",
    "chunking_window",
)

_READERS: dict[str, Callable[[str, Any], Any]] = {
    "host": values.hosts,
    "port": values.integer(1, 65535),
    "username": values.text,
    "password": values.secret,
    "timeout": values.seconds,
    "eod_timeout": values.seconds,
    "use_tls": values.boolean,
    "use_ssl": values.boolean,
    "ssl_keyfile": values.existing_file,
    "ssl_certfile": values.existing_file,
    "fail_silently": values.boolean,
    "mode": values.choice("queue", "now"),
    "transport": values.choice("smtp", "mx"),
    "security": values.choice(*(str(security) for security in Security)),
    "verify": values.boolean,
    "ca_file": values.existing_file,
    "auth": values.mechanisms,
    "oauth_token": values.dotted_path,
    "allow_plaintext_auth": values.boolean,
    "helo": values.helo,
    "source_address": values.ip_address,
    "pipelining": values.boolean,
    "chunking": values.boolean,
    "chunking_window": values.integer(1, 1000),
    "resolver": straight.resolver,
    "mx_port": values.integer(1, 65535),
    "mta_sts": values.boolean,
    "dane": values.boolean,
    "suppression": values.boolean,
    "max_connections": values.integer(1, 10_000),
    "messages_per_connection": values.integer(1, 1_000_000),
    "connection_max_age": values.seconds,
    "idle_timeout": values.seconds_or_zero,
    "rate": values.rate,
    "retry": values.retry,
    "on_unknown": values.choice("retry", "hold"),
    "dkim": signing.keys,
    "dsn": values.boolean,
    "redirect_to": values.addresses,
    "transcript": values.choice("always", "failures", "never"),
}

KNOWN_KEYS = tuple(_READERS)


def parse(
    name: str,
    options: Mapping[str, Any],
    labels: Mapping[str, str] | None = None,
    rules: tuple[Rule, ...] = (),
) -> Mailer:
    """Return the mailer that ``options`` describe; None means that a key is not given.

    ``labels`` has the names under which the user knows keys that come from
    elsewhere (EMAIL_PORT). ``rules`` are the site's own verdict rules. Raises :class:`BadOption`.
    """
    label = _Labels(labels or {})
    given = _read(options, label)
    _refuse_contradictions(given, label)
    logins.refuse_contradictions(given, label)
    rest = {key: given[key] for key in _MAILER_KEYS if key in given}
    shared = {key: given[key] for key in _SESSION_KEYS if key in given}
    if given.get("transport") == "mx":
        mx = straight.mx_options(given, shared, rules)
        return Mailer(name=name, hosts=(), mx=mx, **rest)
    if "host" not in given:
        raise BadOption(
            said("%(host)s must be given: the server to submit mail to.", host=label["host"])
        )
    security, port = _security_and_port(given, label)
    logins.refuse_unusable(given, security, label)
    hosts = tuple(
        Options(
            host=host,
            port=port,
            security=security,
            credential=logins.credential(given),
            transcript=given.get("transcript", "failures"),
            rules=rules,
            **shared,
        )
        for host in given["host"]
    )
    return Mailer(name=name, hosts=hosts, **rest)


class _Labels(dict[str, str]):
    """How the user calls each key: as it is written in OPTIONS, unless it is known otherwise."""

    def __missing__(self, key: str) -> str:
        return repr(key)


def _read(options: Mapping[str, Any], label: _Labels) -> dict[str, Any]:
    refuse_unknown(options, KNOWN_KEYS)
    given = Redacted()
    for key in options:
        if options[key] is not None:
            try:
                given[key] = _READERS[key](label[key], options[key])
            except BadOption as error:
                # Without the reader's frames, whose variables a page of errors would show.
                raise error.with_traceback(None) from None
    return given


class Redacted(dict[str, Any]):
    """Options whose repr (in a traceback, on an error page) shows the keys alone."""

    def __repr__(self) -> str:
        return f"<options {', '.join(map(repr, self))}>"


def _refuse_contradictions(given: Mapping[str, Any], label: _Labels) -> None:
    if given.get("use_tls") and given.get("use_ssl"):
        raise BadOption(
            said(
                "%(use_tls)s and %(use_ssl)s are both True. Set at most one of them: "
                "use_ssl for TLS from the first byte (port 465), use_tls for STARTTLS "
                "(port 587).",
                use_tls=label["use_tls"],
                use_ssl=label["use_ssl"],
            )
        )
    security = given.get("security", "auto")
    for key, meaning in (("use_tls", "starttls"), ("use_ssl", "implicit")):
        if given.get(key) and security not in ("auto", meaning):
            raise BadOption(
                said(
                    "%(option)s is True, which means security=%(meaning)s, but %(security)s "
                    "is %(value)s. Remove one of them.",
                    option=label[key],
                    meaning=repr(meaning),
                    security=label["security"],
                    value=repr(security),
                )
            )
    if "ssl_keyfile" in given and "ssl_certfile" not in given:
        raise BadOption(
            said(
                "%(ssl_keyfile)s is set without %(ssl_certfile)s: a client key needs its "
                "certificate.",
                ssl_keyfile=label["ssl_keyfile"],
                ssl_certfile=label["ssl_certfile"],
            )
        )
    straight.refuse_contradictions(given, label)


def _security_and_port(given: Mapping[str, Any], label: _Labels) -> tuple[Security, int]:
    security = Security(given.get("security", "auto"))
    if given.get("use_ssl"):
        security = Security.IMPLICIT
    elif given.get("use_tls"):
        security = Security.STARTTLS
    resolved, port = security_and_port(
        security,
        given.get("port") or None,
        credentials=logins.credential(given) is not None,
        allow_plaintext_auth=given.get("allow_plaintext_auth", False),
    )
    if port == IMPLICIT_TLS_PORT and security in (Security.STARTTLS, Security.OPPORTUNISTIC):
        cause = label["use_tls"] if given.get("use_tls") else label["security"]
        raise BadOption(
            said(
                "%(port)s is 465, where TLS is spoken from the first byte, but %(cause)s "
                "asks for STARTTLS. Set security='implicit' (or use_ssl=True), or port "
                "587.",
                port=label["port"],
                cause=cause,
            )
        )
    return resolved, port
