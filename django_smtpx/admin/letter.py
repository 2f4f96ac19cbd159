"""What the page of a content shows: a mail read up to bounds, and what is odd about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from django.template.defaultfilters import filesizeformat
from django.utils.formats import number_format
from django.utils.translation import gettext_lazy as _

from django_smtpx import reading
from django_smtpx.reading import Oddity

if TYPE_CHECKING:
    from django.utils.functional import _StrPromise

    from django_smtpx.reading import Header, Mail, Part

MOST_TEXT = 256 * 1024
"""Bytes of plain text on the page, of all texts together."""
MOST_HTML = 2 * 1024 * 1024
"""Bytes of HTML in the frame, without its images."""
MOST_IMAGES = 8 * 1024 * 1024
"""Characters that the mail's own images take in the frame."""
MOST_SOURCE = 256 * 1024
"""Bytes of source on its page."""

_ODDITIES = {
    Oddity.HEADER_CUT: _(
        "A header is longer than %(header)s: what is behind that is shown as text."
    ),
    Oddity.HEADLESS: _("A header ends without an empty line: what follows is taken for text."),
    Oddity.TOO_MANY: _(
        "There are more than %(parts)s parts, or lines that look like their ends: the rest is in "
        "the source only."
    ),
    Oddity.TOO_DEEP: _(
        "Parts are nested more than %(depth)s deep: what is below that is listed as one file."
    ),
    Oddity.NO_BOUNDARY: _("A multipart does not say what divides it: it is shown as text."),
    Oddity.UNCLOSED: _("A multipart has no end: the mail may have been cut off."),
    Oddity.ENCODING: _("A transfer encoding is unknown: that part is shown as it is."),
    Oddity.CHARSET: _("A charset is unknown: that text is shown as UTF-8."),
}


@dataclass(frozen=True, slots=True)
class File:
    """A row of the list of attachments."""

    number: int
    name: str
    content_type: str
    size: str
    is_inline: bool


@dataclass(frozen=True, slots=True)
class Letter:
    """A mail as its page shows it; the HTML is in a frame of its own."""

    headers: tuple[Header, ...]
    raw_header: str
    texts: tuple[str, ...]
    has_html: bool
    files: tuple[File, ...]
    notes: tuple[str, ...]


def read(file: BinaryIO) -> Letter:
    """Return what the page shows of the mail in ``file``. Raises what reading that raises."""
    mail = reading.scan(file)
    texts, is_cut, all_known = _texts(file, mail)
    odd = set(mail.oddities)
    if not all_known or (mail.html and mail.html.charset and not _known(mail.html)):
        odd.add(Oddity.CHARSET)
    return Letter(
        headers=mail.headers,
        raw_header=reading.legible(mail.raw_header.decode("utf-8", "replace")),
        texts=texts,
        has_html=mail.html is not None,
        files=tuple(_file(part) for part in mail.attachments),
        notes=(*_oddities(odd), *_cuts(mail, text=is_cut)),
    )


def html_document(file: BinaryIO) -> str:
    """Return what the frame shows of the mail in ``file``; "" where it has no HTML."""
    mail = reading.scan(file)
    if mail.html is None:
        return ""
    html = reading.read_text(file, mail.html, MOST_HTML).value
    images = {part.content_id: part for part in mail.parts if part.content_id}
    return reading.document(
        html, images, lambda part: b"".join(reading.decoded(file, part)), MOST_IMAGES
    )


def _texts(file: BinaryIO, mail: Mail) -> tuple[tuple[str, ...], bool, bool]:
    """Return the plain texts, whether they were cut, and whether all their charsets are known."""
    shown: list[str] = []
    left, all_known = MOST_TEXT, True
    for part in mail.texts:
        if left <= 0:
            return tuple(shown), True, all_known
        text = reading.read_text(file, part, left)
        shown.append(reading.legible(text.value))
        all_known = all_known and text.is_known
        if text.is_cut:
            return tuple(shown), True, all_known
        left -= part.size
    return tuple(shown), False, all_known


def _known(part: Part) -> bool:
    return reading.is_known(part.charset)


def _file(part: Part) -> File:
    return File(
        number=part.number,
        name=reading.file_name(part),
        content_type=part.content_type,
        size=filesizeformat(part.size),
        is_inline=part.disposition == "inline" or bool(part.content_id),
    )


def _oddities(odd: set[Oddity]) -> list[str]:
    values = {
        "header": filesizeformat(reading.MOST_HEADER),
        "parts": number_format(reading.MOST_PARTS),
        "depth": number_format(reading.MOST_DEPTH),
    }
    return [str(text) % values for oddity, text in _ODDITIES.items() if oddity in odd]


def _cuts(mail: Mail, *, text: bool) -> list[str]:
    """Say what is too large to be shown as a whole."""
    html = mail.html
    images = sum(part.size for part in mail.parts if part.content_type in reading.IMAGES)
    cuts: tuple[tuple[bool, int, _StrPromise], ...] = (
        (text, MOST_TEXT, _("Only the first %(size)s of the plain text are shown.")),
        (
            html is not None and html.size > MOST_HTML,
            MOST_HTML,
            _("Only the first %(size)s of the HTML are shown."),
        ),
        (
            html is not None and images * 4 // 3 > MOST_IMAGES,
            MOST_IMAGES,
            _("Images are shown up to %(size)s; the others are left out."),
        ),
    )
    return [str(said) % {"size": filesizeformat(most)} for is_cut, most, said in cuts if is_cut]
