"""Reverse paths that say which message came back: pure, and not to be made up by others.

In ``bounce+{uuid}@example.com`` the placeholder becomes a token: the message's UUID, and a keyed
MAC of it. It is of letters and digits of one case, since local parts are lower-cased on the way.
"""

from __future__ import annotations

import base64
import hmac
import re
from binascii import Error as Base32Error
from typing import TYPE_CHECKING
from uuid import UUID

from django.utils.crypto import salted_hmac

from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

PLACEHOLDER = "{uuid}"

_SALT = "django_smtpx.returnpaths"
_OF_UUID = 26
_MAC_BYTES = 10
_LENGTH = 42
"""Characters of a token: 26 of the UUID, 16 of the MAC, which is of 80 bits."""
_LOCAL_PART_MOST = 64
"""Octets of a local part (RFC 5321 section 4.5.3.1.1)."""

_ANY_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_TOKEN = re.compile(rf"(?<![A-Za-z0-9])[a-z2-7]{{{_LENGTH}}}(?![A-Za-z0-9])")


class Forged(ValueError):
    """There is what looks like a token, and no key of ours made it."""


def filled(template: str, uuid: UUID, keys: Sequence[str | bytes]) -> str:
    """Return ``template`` with the message's token for ``{uuid}``.

    The first of ``keys`` makes it. Raises ``ValueError`` for another placeholder, and for a local
    part that is too long with the token in it.
    """
    for name in _ANY_PLACEHOLDER.findall(template):
        if f"{{{name}}}" != PLACEHOLDER:
            raise ValueError(
                said(
                    "%(path)s has the unknown placeholder {%(name)s}: use {uuid}.",
                    path=repr(template),
                    name=name,
                )
            )
    path = template.replace(PLACEHOLDER, _token(uuid, keys[0]))
    local = path.rpartition("@")[0].rpartition("<")[2]
    if len(local) > _LOCAL_PART_MOST:
        raise ValueError(
            said(
                "%(path)s has more than %(most)s characters before the @, "
                "of which the token takes %(length)s. Write less around {uuid}.",
                path=repr(template),
                most=_LOCAL_PART_MOST,
                length=_LENGTH,
            )
        )
    return path


def message_of(addresses: Iterable[str], keys: Sequence[str | bytes]) -> UUID | None:
    """Return which message one of ``addresses`` says that it was the reverse path of.

    Any of ``keys`` may have made the token. None where there is no token; :class:`Forged` where
    there are some, and none is good.
    """
    found = False
    for address in addresses:
        for match in _TOKEN.finditer(address.lower()):
            found = True
            uuid = _read(match[0], keys)
            if uuid is not None:
                return uuid
    if found:
        raise Forged("its return path has a token that this site did not make")
    return None


def without_token(address: str) -> str:
    """Return a reverse path with the placeholder for its token: what all messages share."""
    return _TOKEN.sub(PLACEHOLDER, address)


def _token(uuid: UUID, key: str | bytes) -> str:
    parts = map(base64.b32encode, (uuid.bytes, _mac(uuid, key)))
    return "".join(part.decode("ascii").rstrip("=") for part in parts).lower()


def _mac(uuid: UUID, key: str | bytes) -> bytes:
    made = salted_hmac(_SALT, uuid.hex, secret=key, algorithm="sha256")
    return made.digest()[:_MAC_BYTES]


def _read(token: str, keys: Sequence[str | bytes]) -> UUID | None:
    upper = token.upper()
    try:
        uuid = UUID(bytes=base64.b32decode(f"{upper[:_OF_UUID]}======"))
        mac = base64.b32decode(upper[_OF_UUID:])
    except (Base32Error, ValueError):
        return None
    return uuid if any(hmac.compare_digest(mac, _mac(uuid, key)) for key in keys) else None
