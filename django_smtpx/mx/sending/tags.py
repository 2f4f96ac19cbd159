"""Lists of ``tag=value`` (RFC 6376 section 3.2), as the records of DKIM and DMARC are."""

from __future__ import annotations

import re

from django_smtpx.smtp.wording import said

_TAG = re.compile(r"\s*([A-Za-z][A-Za-z0-9_]*)\s*=\s*(.*?)\s*", re.DOTALL)


class Malformed(ValueError):
    """It is no such list."""


def parse(record: str) -> dict[str, str]:
    """Return the values by their tags, in their order. Raises :class:`Malformed`."""
    found: dict[str, str] = {}
    parts = record.split(";")
    if not parts[-1].strip():
        parts.pop()
    for part in parts:
        match = _TAG.fullmatch(part)
        if match is None:
            raise Malformed(said("it has the tag %(tag)s", tag=repr(part.strip()[:80])))
        if match[1] in found:
            raise Malformed(said("it has %(name)s= twice", name=match[1]))
        found[match[1]] = match[2]
    return found
