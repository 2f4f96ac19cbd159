"""Header lines: folded, at most 998 octets long (RFC 5322 section 2.1.1), and ASCII.

Only an address whose local part is not ASCII makes its header UTF-8 (RFC 6532).
Python's own folding is not used where it is known to harm: it puts long words
of structured fields (List-Unsubscribe) into encoded words, and before 3.12.3
the commas between addresses as well.
"""

from __future__ import annotations

import re
import string
from binascii import b2a_base64
from email.header import decode_header, make_header
from email.headerregistry import Address, AddressHeader, BaseHeader, Group
from email.policy import EmailPolicy
from email.policy import default as modern
from email.utils import formataddr
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from email.message import Message

ADDRESS_NAMES = frozenset(
    {
        "from",
        "sender",
        "reply-to",
        "to",
        "cc",
        "resent-from",
        "resent-sender",
        "resent-to",
        "resent-cc",
    }
)
OF_PARTS = ("content-", "mime-version")
MAX_LINE = 998
_COMFORTABLE_LINE = 78
_ENCODED_MAX = 76 - len(" =?utf-8?q??=")
"""Characters of the text within an encoded word, on a line of 76 (RFC 2047 section 2)."""
_ENCODED_MIN = 20
_Q_AS_THEY_ARE = frozenset(
    bytes([byte]) for byte in (string.ascii_letters + string.digits + "!*+-/").encode()
)
_STRUCTURED_NAMES = ADDRESS_NAMES | {
    "authentication-results",
    "autocrypt",
    "date",
    "dkim-signature",
    "in-reply-to",
    "message-id",
    "mime-version",
    "received",
    "references",
    "return-path",
}
_STRUCTURED_PREFIXES = ("arc-", "content-", "list-")

_NAME = re.compile(r"[!-9;-~]+")
_BREAKOUT = re.compile(r"[\r\n\0]")
_FOLD = re.compile(r"\r\n|\r|\n")
_BARE_BREAK = re.compile(r"\n(?![ \t])|\r(?!\n)|\0")
_WORD = re.compile(r"[ \t]*[^ \t]+")
_ENCODED_LOCAL_PART = re.compile(r"(=\?[^?\s]+\?[bqBQ]\?[^?\s]*\?=)(?=@)")


class WirePolicy(EmailPolicy):
    """How a message is written: parts as they are, header lines by :func:`fold`."""

    def header_fetch_parse(self, name: str, value: Any) -> Any:
        """Return a value as it is: the generator asks for types and boundaries again and again."""
        return value if isinstance(value, BaseHeader) else _FOLD.sub("", str(value))

    def fold(self, name: str, value: Any) -> str:
        """Return the header's lines."""
        return fold(name, value) + "\r\n"

    def fold_binary(self, name: str, value: Any) -> bytes:
        """Return the header's lines in UTF-8, which is ASCII for all but what needs SMTPUTF8."""
        return self.fold(name, value).encode()


WIRE = WirePolicy(linesep="\r\n", cte_type="8bit", max_line_length=_COMFORTABLE_LINE)
WIRE_PARAMETERS = EmailPolicy(linesep="\r\n", max_line_length=_COMFORTABLE_LINE)


def refuse_breakout(name: str, value: object) -> None:
    """Raise ``ValueError`` where a header's name or value would end its line."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header.")
    text = str(value)
    if _BREAKOUT.search(text):
        raise ValueError(f"The header {name} must not hold CR, LF or NUL: {text!r}.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError(f"The header {name} holds a lone surrogate: {text!r}.") from None


def decoded(message: Message[Any, Any], name: str) -> str:
    """Return a header's text as a reader sees it, "" where there is none."""
    value = message[name]
    if value is None or isinstance(value, BaseHeader):
        return str(value or "")
    return _decode(_FOLD.sub("", str(value)))


class _Folded(str):
    """A header's value as it is to be written."""

    __slots__ = ()


def settle(message: Message[Any, Any]) -> None:
    """Fold the headers of ``message`` itself, which nobody has folded or signed yet."""
    headers = list(message.raw_items())
    for name, _ in headers:
        del message[name]
    for name, value in headers:
        # The generator adds boundaries to Content-Type; it is folded when it is written.
        message.set_raw(name, value if name.lower() == "content-type" else _settled(name, value))


def without_parts(message: Message[Any, Any]) -> bytes:
    """Return the lines of a settled message's header, but for those about its parts."""
    return b"".join(
        WIRE.fold_binary(name, value)
        for name, value in message.raw_items()
        if not name.lower().startswith(OF_PARTS)
    )


def _settled(name: str, value: Any) -> _Folded:
    if name.lower() in ADDRESS_NAMES and isinstance(value, str):
        value = _with_plain_local_parts(name, value)
    return _Folded(fold(name, value, tidy=True).partition(":")[2].removeprefix(" "))


def _with_plain_local_parts(name: str, value: str) -> Any:
    """Return ``value`` without the encoded words that Django 5.2 makes of non-ASCII local parts.

    RFC 2047 section 5 forbids them there, so no server would know the mailbox.
    """
    plain = _ENCODED_LOCAL_PART.sub(lambda match: _decode(match[1]), value)
    return value if plain == value else modern.header_factory(name, plain)


def fold(name: str, value: Any, *, tidy: bool = False) -> str:
    """Return the header's lines, without the last line's end.

    A value that is a plain string came so from a parser, or from a user who
    may have signed it: it stays as it is, unless it is too long or not ASCII,
    or ``tidy`` asks for lines of 78. Raises ``ValueError`` for what cannot be
    a header line.
    """
    if isinstance(value, _Folded):
        return f"{name}: {value}"
    text = _text(name, value)
    if text.isascii():
        loose = isinstance(value, BaseHeader) or tidy
        folded = _folded(name, text, _COMFORTABLE_LINE if loose else MAX_LINE)
    elif isinstance(value, AddressHeader):
        folded = _folded(name, _addresses(value), _COMFORTABLE_LINE)
    elif isinstance(value, BaseHeader) and hasattr(value, "params"):
        folded = value.fold(policy=WIRE_PARAMETERS).removesuffix("\r\n")
    else:
        folded = f"{name}: {_encoded_words(name, text)}"
    if max(map(_octets, folded.split("\r\n"))) > MAX_LINE:
        folded = _unbreakable(name, text)
    return folded


def fold_plain(name: str, text: str) -> str:
    """Return the lines of a text without line ends, without the last line's end.

    A word may be longer than a line may be.
    """
    if text.isascii():
        return _folded(name, text, _COMFORTABLE_LINE)
    return f"{name}: {_encoded_words(name, text)}"


@lru_cache(maxsize=256)
def encoded_phrase(text: str) -> str:
    """Return a display name in encoded words, on one line; a site has few that send much."""
    return _encoded_words("", text).replace("\r\n", "")


def _text(name: str, value: Any) -> str:
    """Return the value as one line of text, or as the lines that it was already folded into."""
    text = str(value)
    if isinstance(value, str) and not isinstance(value, BaseHeader):
        text = _FOLD.sub("\r\n", _without_raw_bytes(text))
        if not text.isascii() or max(map(len, text.split("\r\n"))) > MAX_LINE:
            text = text.replace("\r\n", "")
    if _BARE_BREAK.search(text) or (isinstance(value, BaseHeader) and "\n" in text):
        raise ValueError(f"The header {name} must not hold CR, LF or NUL: {text!r}.")
    return text


def _without_raw_bytes(text: str) -> str:
    """Return ``text`` with bytes above 127 (which a parser keeps as surrogates) as characters."""
    if text.isascii():
        return text
    raw = text.encode("utf-8", "surrogateescape")
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def _folded(name: str, text: str, limit: int) -> str:
    """Fold at blanks, which all stay: taking the line ends out again gives ``text``."""
    line = f"{name}: {text}"
    if len(line) <= limit or "\r\n" in text:
        return line
    words = _WORD.findall(" " + text)
    blanks_behind = (" " + text)[sum(map(len, words)) :]
    lines: list[str] = []
    current = f"{name}:" + "".join(words[:1])
    for word in words[1:]:
        if len(current) + len(word) > limit:
            lines.append(current)
            current = ""
        current += word
    lines.append(current + blanks_behind)
    return "\r\n".join(lines)


def _addresses(value: AddressHeader) -> str:
    return ", ".join(map(_group, value.groups))


def _group(group: Group) -> str:
    members = ", ".join(map(_mailbox, group.addresses))
    if group.display_name is None:
        return members
    return f"{_phrase(group.display_name)}: {members};"


def _mailbox(address: Address) -> str:
    if not address.display_name:
        return address.addr_spec
    return f"{_phrase(address.display_name)} <{address.addr_spec}>"


def _phrase(text: str) -> str:
    if text.isascii():
        return formataddr((text, "x")).removesuffix(" <x>")
    return encoded_phrase(text)


def _encoded_words(name: str, text: str) -> str:
    """Return ``text`` in encoded words, each on a line of its own (RFC 2047 section 2).

    A character is never cut in two, which the RFC forbids in section 5.
    """
    characters = [char.encode() for char in text]
    readable = list(map(_q, characters))
    first = max(_ENCODED_MAX - len(name) - 2, _ENCODED_MIN)
    if sum(map(len, readable)) <= -(-sum(map(len, characters)) // 3) * 4:
        kind, words = "q", _packed(readable, first, _ENCODED_MAX)
    else:
        packed = _packed(characters, first // 4 * 3, _ENCODED_MAX // 4 * 3)
        kind, words = "b", [b2a_base64(one, newline=False) for one in packed]
    return "\r\n ".join([f"=?utf-8?{kind}?{word.decode('ascii')}?=" for word in words])


@lru_cache(maxsize=1024)
def _q(character: bytes) -> bytes:
    """Return a character as the "Q" encoding has it, fit for names, too (RFC 2047 section 5)."""
    if character in _Q_AS_THEY_ARE:
        return character
    return b"_" if character == b" " else b"".join([b"=%02X" % byte for byte in character])


def _packed(pieces: list[bytes], first: int, others: int) -> list[bytes]:
    """Join pieces to as few as there can be, the first of ``first`` octets at most."""
    words: list[bytes] = []
    current, room = b"", first
    for piece in pieces:
        if len(current) + len(piece) > room:
            words.append(current)
            current, room = b"", others
        current += piece
    return [*words, current]


def _unbreakable(name: str, text: str) -> str:
    """Fold a text with a word that is longer than a line; only free text may be encoded."""
    lowered = name.lower()
    if lowered in _STRUCTURED_NAMES or lowered.startswith(_STRUCTURED_PREFIXES):
        raise ValueError(
            f"The header {name} holds a part without blanks that is longer than {MAX_LINE} octets."
        )
    return f"{name}: {_encoded_words(name, text)}"


def _octets(line: str) -> int:
    return len(line) if line.isascii() else len(line.encode())


def _decode(text: str) -> str:
    return str(make_header(decode_header(text)))
