"""A certificate judged by TLSA records instead of the authorities that this machine trusts: DANE
for SMTP (RFC 7672; the records are those of RFC 6698, their use that of RFC 7671).

Pure: the records come from whoever has asked the DNS, the certificates from the handshake.
"""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime
from importlib.util import find_spec
from typing import TYPE_CHECKING, NamedTuple

from django_smtpx.smtp import certificates
from django_smtpx.smtp.certificates import Refused
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

DANE_TA = 2
"""The usage of records that name an authority (RFC 7671 section 5.2)."""
DANE_EE = 3
"""The usage of records that name the server's own certificate or key (RFC 7671 section 5.1)."""
CERTIFICATE, PUBLIC_KEY = 0, 1
"""The selectors (RFC 6698 section 2.1.2)."""
FULL, SHA256, SHA512 = 0, 1, 2
"""The matching types (RFC 6698 section 2.1.3); of two digests the higher is the stronger."""

_DIGESTS = {SHA256: hashlib.sha256, SHA512: hashlib.sha512}
_DIGITS_SHOWN = 16

_SEQUENCE, _VERSION = 0x30, 0xA0
_BEFORE_THE_KEY = 5
"""Fields of a certificate between its version and its key (RFC 5280 section 4.1)."""


class TLSA(NamedTuple):
    """A TLSA record: certificate usage, selector, matching type, and what to match with."""

    usage: int
    selector: int
    mtype: int
    data: bytes

    def __str__(self) -> str:
        digits = self.data.hex()
        end = "..." if len(digits) > _DIGITS_SHOWN else ""
        return f"{self.usage} {self.selector} {self.mtype} {digits[:_DIGITS_SHOWN]}{end}"

    def __repr__(self) -> str:
        return f"<TLSA {self}>"

    def of(self, certificate: bytes) -> TLSA:
        """Return the record of this kind that a DER ``certificate`` has; ValueError where it has
        none.
        """
        data = certificate if self.selector == CERTIFICATE else public_key_info(certificate)
        digest = _DIGESTS.get(self.mtype)
        return self._replace(data=digest(data).digest() if digest else data)

    def matches(self, certificate: bytes) -> bool:
        """Whether a DER ``certificate`` is the one meant, or holds the key that is meant."""
        try:
            return self.of(certificate) == self
        except ValueError:
            return False


def available() -> bool:
    """Whether records that name an authority can be used at all: it takes the extra "dane"
    (cryptography), and a Python that tells which certificates a server has sent.
    """
    return certificates.sees_chains() and find_spec("cryptography") is not None


def usable(records: Iterable[TLSA]) -> tuple[TLSA, ...]:
    """Return the records by which a certificate can be judged, in their order.

    For SMTP these are usages 2 and 3 (RFC 7672 section 3.1.3), with known selectors and matching
    types and data that can match something. Those of usage 2 need :func:`available`.
    """
    return tuple(record for record in dict.fromkeys(records) if _is_usable(record))


def _is_usable(record: TLSA) -> bool:
    if record.usage != DANE_EE and not (record.usage == DANE_TA and available()):
        return False
    if record.selector not in (CERTIFICATE, PUBLIC_KEY):
        return False
    if record.mtype == FULL:
        return _is_sequence(record.data)
    digest = _DIGESTS.get(record.mtype)
    return digest is not None and len(record.data) == digest().digest_size


def strongest(records: Sequence[TLSA]) -> tuple[TLSA, ...]:
    """Return the records without those of a digest that is weaker than another one of the same
    usage and selector (RFC 7671 section 9).
    """
    best: dict[tuple[int, int], int] = {}
    for record in records:
        kind = (record.usage, record.selector)
        best[kind] = max(best.get(kind, FULL), record.mtype)
    return tuple(
        record for record in records if record.mtype in (FULL, best[record.usage, record.selector])
    )


def verify(
    chain: Sequence[bytes], records: Iterable[TLSA], names: Sequence[str], *, now: float
) -> None:
    """Judge the certificates that a server has sent, in DER and its own first, by ``records``.

    One that names the server's own certificate or key asks for nothing else: neither for names nor
    for dates (RFC 7672 section 3.1.1). One that names an authority asks for a chain to it that
    holds ``now`` (a Unix time), and for one of the reference ``names`` (section 3.1.2). Raises
    :class:`Refused`.
    """
    wanted = strongest(usable(records))
    if not chain:
        raise Refused(said("the server showed none"), "tlsa-invalid")
    own = chain[0]
    if any(record.usage == DANE_EE and record.matches(own) for record in wanted):
        return
    authorities = [record for record in wanted if record.usage == DANE_TA]
    mismatch = Refused(_mismatch(own, wanted), "tlsa-invalid")
    if not authorities:
        raise mismatch
    # It takes cryptography, which the server's own certificate does not.
    from django_smtpx.smtp import chains

    anchors = chains.Anchors(
        matches=lambda certificate: any(record.matches(certificate) for record in authorities),
        certificates=_in_full(authorities, CERTIFICATE),
        keys=_in_full(authorities, PUBLIC_KEY),
    )
    if not chains.verify(chain, anchors, names, datetime.fromtimestamp(now, UTC)):
        raise mismatch


def _in_full(records: Iterable[TLSA], selector: int) -> tuple[bytes, ...]:
    return tuple(
        record.data for record in records if (record.selector, record.mtype) == (selector, FULL)
    )


def _mismatch(own: bytes, records: Sequence[TLSA]) -> str:
    shown: dict[TLSA, None] = {}
    for record in records:
        try:
            shown[record.of(own)._replace(usage=DANE_EE)] = None
        except ValueError:
            continue
    wanted = ", ".join(map(str, records))
    authority = any(record.usage == DANE_TA for record in records)
    own_records = ", ".join(map(str, shown)) or said("not known")
    if authority:
        return said(
            "neither it nor a chain that came with it matches its TLSA records "
            "(%(wanted)s; its own are %(own)s)",
            wanted=wanted,
            own=own_records,
        )
    return said(
        "it matches no TLSA records (%(wanted)s; its own are %(own)s)",
        wanted=wanted,
        own=own_records,
    )


# -- the bytes of a certificate ------------------------------------------------------------------


def public_key_info(certificate: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a DER certificate, byte by byte as it stands there.

    A library that reads and writes it anew may write it otherwise, and refuses kinds of keys that
    it does not know; the digest is over what stands there. Raises ValueError.
    """
    _, start, end = _element(certificate, 0, len(certificate), _SEQUENCE)
    _, at, end = _element(certificate, start, end, _SEQUENCE)
    tag, _, after = _element(certificate, at, end)
    if tag == _VERSION:
        at = after
    for _ in range(_BEFORE_THE_KEY):
        _, _, at = _element(certificate, at, end)
    _, _, after = _element(certificate, at, end, _SEQUENCE)
    return certificate[at:after]


def _element(data: bytes, at: int, end: int, expected: int | None = None) -> tuple[int, int, int]:
    """Return tag, start of the content and end of the DER element at ``at``, which is to end by
    ``end``.
    """
    if at + 2 > end:
        raise ValueError("A certificate ends amid a field")
    tag, length, start = data[at], data[at + 1], at + 2
    if length > 0x80:
        start += length - 0x80
        length = int.from_bytes(data[at + 2 : start])
    elif length == 0x80:
        raise ValueError("A certificate has a field without a length")
    if start + length > end or expected not in (None, tag):
        raise ValueError("A certificate is not made as it has to be")
    return tag, start, start + length


def _is_sequence(data: bytes) -> bool:
    try:
        return _element(data, 0, len(data), _SEQUENCE)[2] == len(data)
    except ValueError:
        return False
