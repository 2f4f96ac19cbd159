"""Bytes as text, whatever charset they claim to be in."""

from __future__ import annotations

import codecs
import re

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.:+-]{0,39}", re.ASCII)
# Python's own, for other ends: they raise or warn on what does not fit, or take too long.
_NO_CHARSETS = frozenset(
    {"idna", "mbcs", "oem", "punycode", "raw_unicode_escape", "undefined", "unicode_escape"}
)


def as_text(data: bytes, charset: str) -> tuple[str, bool]:
    """Return ``data`` as text, and whether ``charset`` is known: what is not is taken for UTF-8.

    What does not fit is U+FFFD. No charset is UTF-8, of which ASCII is a part.
    """
    if not charset or charset.lower() in ("ascii", "us-ascii"):
        return data.decode("utf-8", "replace"), True
    if not is_known(charset):
        return data.decode("utf-8", "replace"), False
    # UTF-7 gives halves of characters, which nobody could encode again.
    return data.decode(charset, "replace").encode("utf-8", "replace").decode(), True


def is_known(charset: str) -> bool:
    """Say whether ``charset`` names a charset that text can be in."""
    if not _NAME.fullmatch(charset):
        return False
    try:
        name = codecs.lookup(charset).name
        # Refuses those that make other bytes of bytes: among them are compressions.
        b"a".decode(name, "replace")
    except (LookupError, ValueError):
        return False
    return name.replace("-", "_") not in _NO_CHARSETS
