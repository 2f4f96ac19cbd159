"""The public half of a DKIM key, as it stands in the DNS (RFC 6376 section 3.6)."""

from __future__ import annotations

import base64
from binascii import Error as Base64Error
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from django_smtpx.mx.sending import tags
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.mx.answers import Answer

HASH = "sha256"
"""What signatures are made with (RFC 8301 section 3.1)."""

_KINDS = ("rsa", "ed25519")


class Texts(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``."""


class BadKey(ValueError):
    """There is no key there that a receiver could use; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PublicKey:
    """A key: ``data`` is DER of its kind, or for ``ed25519`` its 32 bytes (RFC 8463 section 4).

    ``testing`` asks receivers to treat mail as if it were not signed at all.
    """

    kind: str
    data: bytes
    testing: bool = False


def find(resolver: Texts, name: str) -> PublicKey:
    """Return the key at ``name`` (``selector._domainkey.domain``).

    Raises :class:`BadKey` where there is none to use, and
    :class:`~django_smtpx.smtp.errors.ResolveError` where nobody can say.
    """
    answer = resolver.txt(name)
    if not answer.records:
        raise BadKey(said("There is no TXT record at %(name)s", name=name))
    if len(answer.records) > 1:
        # What comes of several is undefined (section 3.6.2.2): it is one or the other.
        raise BadKey(
            said(
                "There are %(count)s TXT records at %(name)s, and one is allowed",
                count=len(answer.records),
                name=name,
            )
        )
    try:
        return parse(answer.records[0])
    except (tags.Malformed, BadKey) as error:
        raise BadKey(
            said("The TXT record at %(name)s is of no use: %(error)s", name=name, error=error)
        ) from error


def parse(record: str) -> PublicKey:
    """Return the key in a record. Raises :class:`BadKey` and :class:`.tags.Malformed`."""
    found = tags.parse(record)
    if found.get("v", "DKIM1") != "DKIM1" or (next(iter(found), "v") != "v" and "v" in found):
        raise BadKey(said("it does not begin with v=DKIM1"))
    if "p" not in found:
        raise BadKey(said("it has no p=, which would be the key"))
    if not found["p"]:
        raise BadKey(said("its p= is empty: the key is revoked"))
    kind = found.get("k", "rsa").lower()
    if kind not in _KINDS:
        raise BadKey(said("its k= is %(kind)s, which nobody knows", kind=repr(kind)))
    if HASH not in _listed(found, "h", HASH):
        raise BadKey(said("its h= does not allow %(hash)s", hash=HASH))
    if not {"*", "email"} & set(_listed(found, "s", "*")):
        raise BadKey(said("its s= is for other services than mail"))
    try:
        data = base64.b64decode("".join(found["p"].split()), validate=True)
    except (Base64Error, ValueError):
        raise BadKey(said("its p= is no base64: it is damaged, or cut off")) from None
    return PublicKey(kind=kind, data=data, testing="y" in _listed(found, "t", ""))


def _listed(found: dict[str, str], tag: str, default: str) -> list[str]:
    return [one.strip().lower() for one in found.get(tag, default).split(":")]
