"""Signatures in front of a mail, by whoever may sign for a domain (RFC 6376).

dkimpy writes them. The hash of the body is taken here, piece by piece and once for all keys:
dkimpy would have the body in memory several times over.

relaxed/relaxed, since relays fold header lines anew and cut blanks off the ends of lines. No
``l=``: what is appended to a mail would count as signed (RFC 6376 section 8.2).
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from django_smtpx.mailer import DKIMKey

OVERSIGNED = (
    "from",
    "to",
    "cc",
    "subject",
    "date",
    "message-id",
    "reply-to",
    "in-reply-to",
    "references",
    "mime-version",
    "content-type",
    "content-transfer-encoding",
)
"""Signed once more than they are there: who adds one, which some readers would show instead,
breaks the signature (RFC 6376 sections 5.4.2 and 8.15). None that lists and forwarders add."""

SIGNED = (
    "sender",
    "content-id",
    "content-description",
    "content-disposition",
    "content-language",
    "auto-submitted",
    "feedback-id",
    "importance",
    "list-id",
    "list-help",
    "list-unsubscribe",
    "list-unsubscribe-post",
    "list-subscribe",
    "list-post",
    "list-owner",
    "list-archive",
    "resent-date",
    "resent-from",
    "resent-sender",
    "resent-to",
    "resent-cc",
    "resent-message-id",
    "tls-required",
)
"""Signed where they are there: RFC 6376 section 5.4.1, RFC 8058 section 4 (one click), RFC 8689."""

_CANONICALIZATION = b"relaxed/relaxed"
_BLOCK = 1 << 18
"""Bytes of a body that are looked at together."""
_BLANKS_BEHIND = re.compile(rb"(?<![ \t])[ \t]++(?=\r\n|\Z)")
_BLANKS = re.compile(rb"[ \t]{2,}|\t")


def sign(content: bytes, keys: Sequence[DKIMKey], now: datetime) -> bytes:
    """Return ``content`` with a signature of each key in front, the first one on top.

    ``content`` is as it will be sent, with CRLF line ends. It is there twice for a moment. Raises
    ``ValueError`` that names the key where it cannot be signed.
    """
    if not keys:
        return content
    end = content.find(b"\r\n\r\n") + 2
    header = content[:end]
    body_hash = hash_of_body(content, end + 2)
    signatures = [_signature(header, body_hash, key, now) for key in keys]
    return b"".join((*signatures, content))


def hash_of_body(content: bytes, start: int) -> bytes:
    """Return the SHA-256 of the body that begins at ``start``, relaxed (RFC 6376 section 3.4.4)."""
    hashed = hashlib.sha256()
    waiting, anything = 0, False
    while start < len(content):
        end = content.find(b"\r\n", start + _BLOCK) + 2
        block = content[start : end if end > 1 else len(content)]
        start += len(block)
        if b" " in block or b"\t" in block:
            block = _BLANKS.sub(b" ", _BLANKS_BEHIND.sub(b"", block))
        lines = block.rstrip(b"\r\n")
        if lines:
            # Line ends that no other line follows are no part of it, but for the last one.
            hashed.update(b"\r\n" * waiting)
            hashed.update(lines)
            waiting, anything = 0, True
        waiting += (len(block) - len(lines)) // 2
    hashed.update(b"\r\n" if anything else b"")
    return hashed.digest()


def names_to_sign(present: Iterable[str]) -> list[str]:
    """Return the names for ``h=``, in lower case, for the header fields that are there."""
    counts = Counter(name.lower() for name in present)
    names = [name for name in OVERSIGNED for _ in range(counts[name] + 1)]
    return names + [name for name in SIGNED for _ in range(counts[name])]


def _signature(header: bytes, body_hash: bytes, key: DKIMKey, now: datetime) -> bytes:
    """Return the lines of a signature."""
    trouble: object
    try:
        return _written(header, body_hash, key, now)
    except Exception as error:  # noqa: BLE001 (what dkimpy minds, and what it does not foresee)
        trouble = error
    # Not while it is handled: the frames behind it know the key.
    raise ValueError(
        said(
            "The mail cannot be signed with the DKIM key %(name)s: %(trouble)s",
            name=key.name,
            trouble=trouble,
        )
    )


def _written(header: bytes, body_hash: bytes, key: DKIMKey, now: datetime) -> bytes:
    import dkim
    from dkim.canonicalization import CanonicalizationPolicy

    algorithm = key.algorithm.encode("ascii")
    signer = dkim.DKIM(header + b"\r\n", signature_algorithm=algorithm)
    signer.hasher = hashlib.sha256
    names = names_to_sign(name.decode("ascii") for name, _ in signer.headers)
    tags = [
        (b"v", b"1"),
        (b"a", algorithm),
        (b"c", _CANONICALIZATION),
        (b"d", key.domain.encode("ascii")),
        (b"s", key.selector.encode("ascii")),
        (b"t", b"%d" % now.timestamp()),
        (b"h", " : ".join(names).encode("ascii")),
        (b"bh", base64.b64encode(body_hash)),
        # What it is filled with decides where the line is folded.
        (b"b", b"0" * 60),
    ]
    policy = CanonicalizationPolicy.from_c_value(_CANONICALIZATION)
    fields = [name.encode("ascii") for name in names]
    value: bytes = signer.gen_header(tags, fields, policy, b"DKIM-Signature", _usable(key).key)
    return b"DKIM-Signature: " + value


class _Usable:
    """A key as dkimpy signs with it; its repr shows nothing of it."""

    __slots__ = ("key",)

    def __init__(self, key: Any) -> None:
        self.key = key


@lru_cache(maxsize=64)
def _usable(key: DKIMKey) -> _Usable:
    if key.algorithm == "rsa-sha256":
        from dkim.crypto import parse_pem_private_key

        return _Usable(parse_pem_private_key(key.secret.encode("ascii")))
    from nacl.encoding import Base64Encoder
    from nacl.signing import SigningKey

    return _Usable(SigningKey(key.secret.encode("ascii"), encoder=Base64Encoder))


def is_half_of(key: DKIMKey, public: bytes) -> bool:
    """Whether what is signed with ``key`` verifies by ``public``: DER, or an Ed25519 key's bytes.

    Raises ``ValueError`` where that is no public key of this kind.
    """
    own = _usable(key).key
    if key.algorithm != "rsa-sha256":
        return bytes(own.verify_key) == public
    theirs = _rsa_public(public)
    return all(own[part] == theirs[part] for part in ("modulus", "publicExponent"))


def rsa_bits(public: bytes) -> int:
    """Return the length of an RSA key, of its public half. Raises ``ValueError``."""
    return _rsa_public(public)["modulus"].bit_length()


def _rsa_public(public: bytes) -> dict[str, int]:
    from dkim.crypto import parse_public_key

    try:
        found: dict[str, int] = parse_public_key(public)
    except Exception as error:
        raise ValueError(said("it is no RSA key")) from error
    return found
