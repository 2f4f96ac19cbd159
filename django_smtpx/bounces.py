"""Reports of what became of a mail later (RFC 3464): read strictly, and judged like any reply.

Anybody can send one, so nothing here trusts it: sizes and counts are limited, only the parts of the
outermost multipart are looked at, and whatever is odd is a :class:`NotAReport` that says how.
"""

from __future__ import annotations

import base64
import quopri
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.parser import BytesHeaderParser
from email.utils import getaddresses, parsedate_to_datetime
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp import Result
from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.verdict import FINAL_ACTIONS, judge_reply

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from email.message import Message

    from django_smtpx.smtp import Rule
    from django_smtpx.smtp.envelope import Phase

MOST_BYTES = 1024 * 1024
"""Bytes of a mail that are looked at: what is returned of the mail itself is of no interest."""
MOST_RECIPIENTS = 200
"""Of one report: twice as many as this package names in one transaction."""
COMMAND = "DSN"
"""What stands for the verb in an attempt that a report tells of: none of ours led to it."""

FAILED = "failed"
DELAYED = "delayed"
DELIVERED = frozenset({"delivered", "relayed", "expanded"})

_MOST_HEADER = 256 * 1024
_MOST_PARAMETERS = 2000
_MOST_BOUNDARY = 200
_MOST_PARTS = 20
_MOST_ADDRESS = 320
_MOST_TEXT = 4000
_MOST_HOST = 255
_STATUS_TYPES = frozenset({"message/delivery-status", "message/global-delivery-status"})
_RETURN_PATHS = ("delivered-to", "x-original-to", "envelope-to", "x-envelope-to", "to")

_GAP = re.compile(r"\n[ \t]*\n\s*")
_FIELD = re.compile(r"([!-9;-~]+)[ \t]*:[ \t]*(.*)", re.DOTALL)
_WORD = re.compile(r"[a-z]+")
_STATUS = re.compile(r"(?<![\w.])[245]\.\d{1,3}\.\d{1,3}(?![\w.])", re.ASCII)
_CODE = re.compile(r"([245]\d\d)(?=[ -]|$)", re.ASCII)
_XTEXT = re.compile(r"\+([0-9A-F]{2})")
_UTF8_ESCAPE = re.compile(r"\\x\{([0-9A-Fa-f]{1,6})\}")


class NotAReport(ValueError):
    """A mail that is none, or one that cannot be read; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fate:
    """What a report says of one recipient.

    ``action`` is "failed", "delayed", "delivered", "relayed" or "expanded", ``status`` an enhanced
    code ("" for none). ``code`` (None for none) and ``text`` are what a server answered, in lines;
    ``host`` is that server, or else who reports.
    """

    recipients: tuple[str, ...]
    action: str
    status: str
    code: int | None = None
    text: str = field(default="", repr=False)
    host: str = ""
    last_try_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A report: to whom it came, the final one first, when, from whom, and what it says."""

    addresses: tuple[str, ...]
    sent_at: datetime | None
    reporter: str
    fates: tuple[Fate, ...]


# -- reading ---------------------------------------------------------------------


def read(data: bytes) -> Report:
    """Return the report in a mail. Raises :class:`NotAReport`, and nothing else."""
    if data.startswith(b"From "):
        # What an MTA writes in front of a mail that it hands to a command (mbox).
        data = data.partition(b"\n")[2]
    header, body = _cut(data[:MOST_BYTES].replace(b"\r\n", b"\n"))
    outer = _headers(header)
    kind, parameters = _type_of(outer)
    if kind != "multipart/report":
        raise NotAReport(f"it is no report, but {_short(kind)}")
    about = parameters.get("report-type", "delivery-status").lower()
    if about not in ("delivery-status", "global-delivery-status"):
        raise NotAReport(f"it is a report of another kind ({_short(about)})")
    boundary = parameters.get("boundary", "").rstrip()
    if not 0 < len(boundary) <= _MOST_BOUNDARY:
        raise NotAReport("it is damaged: it has no boundary between its parts")
    groups = list(_groups(_status_part(body, boundary)))
    about_all = groups[0] if groups else {}
    reporter = _host(about_all.get("reporting-mta", ""))
    told = [one for one in groups if "final-recipient" in one or "original-recipient" in one]
    if not told:
        raise NotAReport("it is damaged: it names no recipient")
    if len(told) > MOST_RECIPIENTS:
        raise NotAReport(f"it names more than {MOST_RECIPIENTS} recipients")
    return Report(
        addresses=tuple(_addresses(outer)),
        sent_at=_moment(_text_of(outer, "date")),
        reporter=reporter,
        fates=tuple(_fate(one, reporter) for one in told),
    )


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Return a header and what is below it, which begins at the first empty line."""
    if data.startswith(b"\n"):
        return b"", data[1:]
    header, _, body = data.partition(b"\n\n")
    if len(header) > _MOST_HEADER:
        raise NotAReport("its header is too long")
    return header, body


def _headers(header: bytes) -> Message:
    return BytesHeaderParser().parsebytes(header + b"\n\n")


def _text_of(headers: Message, name: str) -> str:
    return str(headers.get(name, ""))


def _type_of(headers: Message) -> tuple[str, dict[str, str]]:
    """Return a content's type and its parameters, in lower case but for their values."""
    if len(_text_of(headers, "content-type")) > _MOST_PARAMETERS:
        raise NotAReport("it is damaged: its Content-Type is too long")
    try:
        found: Any = headers.get_params([], unquote=True)
        parameters = {
            str(name).lower(): value if isinstance(value, str) else str(value[2])
            for name, value in found[1:]
        }
    except Exception:  # noqa: BLE001 (its parser raises whatever odd values lead to)
        raise NotAReport("it is damaged: its Content-Type cannot be read") from None
    return headers.get_content_type(), parameters


def _addresses(headers: Message) -> Iterator[str]:
    """Yield to whom the mail came, as the MTA that took it recorded that, and as it says itself."""
    for name in _RETURN_PATHS:
        for value in headers.get_all(name, [])[:5]:
            text = str(value)[: 2 * _MOST_ADDRESS]
            for _, address in getaddresses([text]):
                if "@" in address:
                    yield address


def _status_part(body: bytes, boundary: str) -> str:
    """Return the text of the part that is for machines."""
    line = re.compile(
        rb"^--" + re.escape(boundary.encode("utf-8", "replace")) + rb"(--)?[ \t]*(?:\n|\Z)",
        re.MULTILINE,
    )
    found = []
    for match in line.finditer(body):
        found.append(match)
        if match[1] or len(found) > _MOST_PARTS:
            break
    starts = [match.end() for match in found if not match[1]]
    ends = [match.start() for match in found[1:]] + [len(body)]
    for start, end in zip(starts, ends, strict=False):
        header, part = _cut(body[start:end])
        headers = _headers(header)
        if _type_of(headers)[0] in _STATUS_TYPES:
            return _decoded(part, _text_of(headers, "content-transfer-encoding"))
    raise NotAReport("it is damaged: it has no part message/delivery-status")


def _decoded(part: bytes, encoding: str) -> str:
    """Return a part's text; only those of RFC 6533 may be encoded, and some others are."""
    kind = encoding.strip().lower()
    if kind == "quoted-printable":
        part = quopri.decodestring(part)
    elif kind == "base64":
        try:
            part = base64.b64decode(part)
        except ValueError:
            raise NotAReport("it is damaged: its base64 cannot be read") from None
    return part.decode("utf-8", "replace").replace("\r\n", "\n").replace("\0", "")


def _groups(text: str) -> Iterator[dict[str, str]]:
    """Yield groups of fields, the first of each name, in lower case; folds stay line ends."""
    for group in _GAP.split(text.strip()):
        fields: dict[str, str] = {}
        for line in re.split(r"\n(?![ \t])", group):
            match = _FIELD.match(line)
            if match is not None:
                fields.setdefault(match[1].lower(), match[2].strip()[:_MOST_TEXT])
        yield fields


def _fate(fields: dict[str, str], reporter: str) -> Fate:
    status = _STATUS.search(fields.get("status", ""))
    enhanced = status[0] if status else ""
    kind, answer = _typed(fields.get("diagnostic-code", ""))
    code, text = _answer(answer) if kind in ("smtp", "lmtp", "esmtp") else (None, _flat(answer))
    named = (fields.get("original-recipient", ""), fields.get("final-recipient", ""))
    recipients = dict.fromkeys(spelling for value in named for spelling in _mailbox(value))
    return Fate(
        recipients=tuple(recipients),
        action=_action(fields.get("action", ""), enhanced),
        status=enhanced,
        code=code,
        text=text,
        host=_host(fields.get("remote-mta", "")) or reporter,
        last_try_at=_moment(fields.get("last-attempt-date", "")),
    )


def _action(value: str, status: str) -> str:
    word = _WORD.match(value.strip().lower())
    known = (FAILED, DELAYED, *DELIVERED)
    if word is not None and word[0] in known:
        return word[0]
    if not value and status[:1] in ("4", "5"):
        return FAILED if status[0] == "5" else DELAYED
    raise NotAReport(f"it is damaged: it has no action that is known, but {_short(value)!r}")


def _typed(value: str) -> tuple[str, str]:
    """Return the type of a value and the rest: "smtp; 550 no" (RFC 3464 section 2.1.2)."""
    kind, found, rest = value.partition(";")
    return (kind.strip().lower(), rest.strip()) if found else ("", value.strip())


def _mailbox(value: str) -> Iterator[str]:
    """Yield an address as it stands there, and what it is without escapes."""
    kind, address = _typed(value)
    if kind not in ("", "rfc822", "utf-8"):
        return
    if not address.startswith('"'):
        address = address.partition(" ")[0]
    address = address.removeprefix("<").removesuffix(">")
    if not 0 < len(address) <= _MOST_ADDRESS:
        return
    yield address
    if kind == "utf-8":
        yield _UTF8_ESCAPE.sub(_character, address)
    else:
        # Some leave an original recipient as ORCPT has it (RFC 3461 section 4).
        yield _XTEXT.sub(lambda match: chr(int(match[1], 16)), address)


def _character(match: re.Match[str]) -> str:
    number = int(match[1], 16)
    return chr(number) if number < 0x110000 and not 0xD800 <= number < 0xE000 else match[0]


def _answer(text: str) -> tuple[int | None, str]:
    """Return the code of an answer, and its lines without it."""
    flat = _flat(text)
    found = _CODE.match(flat)
    if found is None:
        return None, flat
    lines = re.split(rf"\s*(?<![\w.]){found[1]}(?:[ -]|$)", flat)
    return int(found[1]), "\n".join(line.strip() for line in lines if line.strip())


def _flat(text: str) -> str:
    return " ".join(text.split())


def _host(value: str) -> str:
    """Return the name of a server: "dns; mx.example.com (192.0.2.1)"."""
    _, name = _typed(value)
    return (name.split() or [""])[0][:_MOST_HOST]


def _moment(value: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(_flat(value)[:200])
        return (found if found.tzinfo else found.replace(tzinfo=UTC)).astimezone(UTC)
    except (ValueError, OverflowError, TypeError, IndexError):
        return None


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:60]}…"


# -- judging ---------------------------------------------------------------------

_EXPIRED = frozenset({"4.4.7", "5.4.7"})
_ABOUT_RECIPIENT = ("1.", "2.")
_RCPT_CODES = frozenset({550, 551, 553, 556})
_SEVERITY = {FAILED: 5, DELAYED: 4}


def judged(fate: Fate, recipient: str, own: Sequence[Rule] = ()) -> Result:
    """Return what a report says, as if the server that it quotes had said so to us.

    ``own`` are the site's own rules. What has failed there has failed for good, whatever the
    words: somebody else has tried for long enough.
    """
    reply = _reply(fate)
    enhanced = reply.enhanced_code or fate.status
    phase = _phase(enhanced, fate.code)
    said: dict[str, Any] = {
        "recipient": recipient,
        "phase": phase,
        "command": COMMAND,
        "code": fate.code,
        "enhanced_code": enhanced,
        "reply": reply.text,
        "host": fate.host,
    }
    if fate.action in DELIVERED:
        return Result(outcome="sent", category="ok", action="none", **said)
    if fate.action == FAILED and fate.status in _EXPIRED:
        return Result(outcome="failed", category="expired", action="fail", **said)
    verdict = judge_reply(phase, reply, host=fate.host, relay=False, own=own)
    said.update(category=verdict.category, rule=verdict.rule)
    if verdict.category == "domain_unknown" and fate.code is None:
        # No server said so: it is what the reporter found in the DNS.
        said["phase"] = "resolve"
    if fate.action == DELAYED:
        return Result(outcome="deferred", action="retry", **said)
    action = verdict.action if verdict.action in FINAL_ACTIONS else "fail"
    return Result(outcome="failed", action=action, **said)


def _reply(fate: Fate) -> Reply:
    """Return the answer that the report quotes, or one that says what its status does.

    Its own enhanced code comes first: reporters write 5.0.0 where they have not looked.
    """
    severity = _SEVERITY.get(fate.action, 2)
    code = fate.code or severity * 100 + 50
    reply = Reply(code, tuple(fate.text.split("\n")))
    vague = not fate.status or fate.status.endswith(".0.0")
    if reply.enhanced_code and (vague or reply.enhanced_code == fate.status):
        return reply
    if not fate.status or int(fate.status[0]) != reply.severity:
        return reply
    return Reply(code, (f"{fate.status} {reply.lines[0]}".strip(), *reply.lines[1:]))


def _phase(enhanced: str, code: int | None) -> Phase:
    """Return where it was most likely decided: reports do not say which command was refused."""
    if enhanced and not enhanced.endswith(".0.0"):
        return "rcpt" if enhanced[2:].startswith(_ABOUT_RECIPIENT) else "eod"
    return "rcpt" if code in _RCPT_CODES else "eod"
