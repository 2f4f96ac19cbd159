"""A mail's HTML as a document that is safe to show in a sandbox, and leads nowhere.

What runs, loads or sends is for the browser to refuse: the response's Content-Security-Policy says
so. Nothing here tries to know what a browser makes of broken HTML. What no policy has a word for is
taken from the text itself, whatever stands around it: links, which a click would follow inside the
frame, and ``dns-prefetch`` without one; frames and the like, for which Chromium opens a connection
before it asks the policy. And images that came with the mail are put in.
"""

from __future__ import annotations

import base64
import re
from html import unescape
from typing import TYPE_CHECKING
from urllib.parse import unquote

if TYPE_CHECKING:
    from collections.abc import Callable

    from django_smtpx.reading.structure import Part

# Names of elements and attributes cannot be written in another way: character references do not
# count in them.
_ELEMENT = re.compile(
    r"<(?=(?:applet|base|embed|fencedframe|frame|frameset|iframe|link|meta|object|portal)"
    r"[\t\n\f\r />])",
    re.IGNORECASE | re.ASCII,
)
# What stays are links within the document.
_LINK = re.compile(
    r"""href(?=[\t\n\f\r ]*=)(?![\t\n\f\r ]*=[\t\n\f\r ]*["']?#)""", re.IGNORECASE | re.ASCII
)
# Those could tell somebody that they were followed, and an animation could make others.
_ATTRIBUTE = re.compile(
    r"""(?<=[\t\n\f\r /"'])(?=(?:ping|attributename)[\t\n\f\r ]*=)""", re.IGNORECASE | re.ASCII
)
_IMAGE = re.compile(r"""cid:([^\s"'<>()]{1,1000})""", re.IGNORECASE | re.ASCII)

IMAGES = frozenset({"image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp"})
"""What is taken into the document: none that could hold anything but pixels."""


def document(html: str, images: dict[str, Part], read: Callable[[Part], bytes], most: int) -> str:
    """Return ``html`` without ways to elsewhere, and with ``images`` (by Content-ID) in place.

    A link's address becomes its title, so that it can be read. ``read`` returns an image's bytes;
    all of them together take at most ``most`` characters, each time that one is shown counted anew.
    """
    quiet = _ATTRIBUTE.sub("data-", _LINK.sub("title", _ELEMENT.sub("<x-", html)))
    return _IMAGE.sub(_Placed(images, read, most), quiet)


class _Placed:
    """Puts images in place of references to them, while there is room."""

    def __init__(self, images: dict[str, Part], read: Callable[[Part], bytes], room: int) -> None:
        self._images = images
        self._read = read
        self._room = room
        self._known: dict[int, str] = {}

    def __call__(self, reference: re.Match[str]) -> str:
        part = self._images.get(unquote(unescape(reference[1])))
        if part is None or part.content_type not in IMAGES:
            return reference[0]
        if part.size <= self._room:
            found = self._known.get(part.number) or self._read_as_data(part)
            if len(found) <= self._room:
                self._known[part.number] = found
                self._room -= len(found)
                return found
        return reference[0]

    def _read_as_data(self, part: Part) -> str:
        data = base64.b64encode(self._read(part)).decode()
        return f"data:{part.content_type};base64,{data}"
