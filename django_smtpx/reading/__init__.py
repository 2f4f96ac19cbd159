"""A stored mail as people read it: its header fields, its texts, its HTML, its attachments.

Whoever had this site send something wrote these bytes, so nothing here trusts them, and nothing
raises on them: what is damaged is shown as far as it can be, with an :class:`Oddity` that says so.
:func:`scan` goes through a file once and keeps no body, only where each begins and ends;
:func:`decoded` reads one then, block by block. So a mail of 50 MB takes no more memory than a small
one. Pure Python, without Django.
"""

from django_smtpx.reading.charsets import as_text, is_known
from django_smtpx.reading.decoding import Text, decoded, legible, read_text
from django_smtpx.reading.frame import IMAGES, document
from django_smtpx.reading.headers import Header
from django_smtpx.reading.names import file_name, safe_name
from django_smtpx.reading.structure import (
    MOST_DEPTH,
    MOST_HEADER,
    MOST_PARTS,
    Mail,
    Oddity,
    Part,
    scan,
)

__all__ = [
    "IMAGES",
    "MOST_DEPTH",
    "MOST_HEADER",
    "MOST_PARTS",
    "Header",
    "Mail",
    "Oddity",
    "Part",
    "Text",
    "as_text",
    "decoded",
    "document",
    "file_name",
    "is_known",
    "legible",
    "read_text",
    "safe_name",
    "scan",
]
