"""Names for files that are safe to save under, on any system."""

from __future__ import annotations

import mimetypes
import re
import unicodedata
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from django_smtpx.reading.structure import Part

_LONGEST = 80  # characters: some take three bytes, and a file system has room for 255
_LONGEST_ENDING = 12
_FORBIDDEN = re.compile(r'[<>:"/\\|?*%;]')
# Windows opens a device by these, whatever the ending.
_DEVICES = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)", re.IGNORECASE | re.ASCII)


def file_name(part: Part) -> str:
    """Return the name to save ``part`` under: its own, made safe, or one by its number and type."""
    name = safe_name(part.name)
    if name:
        return name
    ending = mimetypes.guess_extension(part.content_type, strict=True) or ".bin"
    return f"part-{part.number}{ending}"


def safe_name(text: str) -> str:
    """Return ``text`` as a file's name without a path; "" where nothing is left of it.

    Without control and format characters (those that turn "exe.fdp" around among them), without
    what a shell, a header or a file system takes for something else, and not too long.
    """
    last = re.split(r"[/\\]", text)[-1]
    kept = "".join(char for char in last if unicodedata.category(char)[0] != "C")
    name = " ".join(_FORBIDDEN.sub("_", kept).split()).strip(". ")
    if _DEVICES.match(name):
        name = f"_{name}"
    stem, dot, ending = name.rpartition(".")
    if dot and len(ending) <= _LONGEST_ENDING:
        return f"{stem[: _LONGEST - len(ending)]}.{ending}"
    return name[:_LONGEST]
