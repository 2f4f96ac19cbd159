"""The two modes of TLS, told apart by what a server says first, and the error of the wrong one.

A server of implicit TLS waits for the client's first bytes and answers in TLS
records (RFC 8314 section 3.3); every other one greets in clear (RFC 5321
section 3.1).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from django_smtpx.smtp import failures, verdict
from django_smtpx.smtp.errors import TLSModeMismatch
from django_smtpx.smtp.options import IMPLICIT_TLS_PORT, SMTP_PORT, SUBMISSION_PORT, Security
from django_smtpx.smtp.wording import also, said

if TYPE_CHECKING:
    from django_smtpx.smtp.envelope import Phase
    from django_smtpx.smtp.options import Options

_TLS_RECORD = (b"\x15\x03", b"\x16\x03")
_TLS_RECORD_TYPE = (b"\x15", b"\x16")
_REPLY = re.compile(rb"[2-5](?:[0-9](?:[0-9](?:[ \r\n-].*)?)?)?", re.DOTALL)


def is_tls(data: bytes) -> bool:
    """Whether ``data`` begins as a TLS handshake or alert does."""
    return data.startswith(_TLS_RECORD) or data in _TLS_RECORD_TYPE


def is_reply(data: bytes) -> bool:
    """Whether ``data`` is an SMTP reply, or how one may begin."""
    return _REPLY.fullmatch(data.lstrip(b"\r\n")) is not None


def shown(data: bytes) -> str:
    """Return the first line of what came, as an error may show it."""
    line = data.lstrip(b"\r\n").partition(b"\n")[0].rstrip(b"\r")
    return f"{line[:80]!r}..."[1:] if len(line) > 80 else repr(line)[1:]


def speaks_tls(options: Options, sign: str) -> TLSModeMismatch:
    """Return the error of who awaits a greeting from a server that speaks TLS at once."""
    text = said(
        "Port %(port)s of %(host)s speaks TLS from the first byte (%(sign)s): "
        "set security='implicit' (use_ssl=True)",
        port=options.port,
        host=options.host,
        sign=sign,
    )
    if options.security is Security.STARTTLS and options.port != SUBMISSION_PORT:
        usual = said("STARTTLS is usually spoken on port %(port)s", port=SUBMISSION_PORT)
        text = also((text, usual))
    return _mismatch(options, text, "greeting")


def speaks_plain(options: Options, sign: str) -> TLSModeMismatch:
    """Return the error of who shakes hands with a server that greets in clear first."""
    text = said(
        "Port %(port)s of %(host)s does not speak TLS from the first byte (%(sign)s): "
        "set security='starttls' (use_tls=True)",
        port=options.port,
        host=options.host,
        sign=sign,
    )
    if options.port in (SMTP_PORT, SUBMISSION_PORT):
        usual = said(
            "TLS from the first byte is usually spoken on port %(port)s", port=IMPLICIT_TLS_PORT
        )
        text = also((text, usual))
    return _mismatch(options, text, "connect")


def _mismatch(options: Options, text: str, phase: Phase) -> TLSModeMismatch:
    return TLSModeMismatch(
        failures.with_policy(text, options),
        phase=phase,
        **verdict.TLS_FAILED.fields,
        tls_failure="starttls-not-supported" if phase == "greeting" else "validation-failure",
    )
