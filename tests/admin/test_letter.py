"""What the page of a content shows of a mail, and what it says where that is not all."""

from __future__ import annotations

import io

import pytest
from hypothesis import given, settings

from django_smtpx import reading
from django_smtpx.admin import letter
from django_smtpx.admin.letter import MOST_HTML, MOST_TEXT, html_document, read
from tests.reading.test_anything import MAILS

MIXED = b"Content-Type: multipart/mixed; boundary=b\r\n\r\n"
HTML = b"Content-Type: text/html\r\n\r\n"


def letter_of(data):
    """Read a mail."""
    return read(io.BytesIO(data))


@pytest.mark.parametrize(
    ("data", "note"),
    [
        (b"X: " + b"y" * 70_000, "A header is longer than 64.0"),
        (b"hello", "A header ends without an empty line"),
        (MIXED + b"--b\r\n\r\nx\r\n" * 2000, "There are more than 1,000 parts"),
        (MIXED + b"--b\r\n" + (MIXED + b"--b\r\n") * 40, "Parts are nested more than 30 deep"),
        (b"Content-Type: multipart/mixed\r\n\r\nx", "A multipart does not say what divides it"),
        (MIXED + b"--b\r\n\r\nx", "A multipart has no end"),
        (b"Content-Transfer-Encoding: x\r\n\r\nx", "A transfer encoding is unknown"),
        (b"Content-Type: text/plain; charset=x-y\r\n\r\nx", "A charset is unknown"),
        (b"Content-Type: text/html; charset=x-y\r\n\r\nx", "A charset is unknown"),
        (b"\r\n" + b"x" * (MOST_TEXT + 1), "Only the first 256.0\xa0KB of the plain text"),
        (HTML + b"x" * (MOST_HTML + 1), "Only the first 2.0\xa0MB of the HTML"),
    ],
)
def test_notes(data, note, settings):
    """Whatever is odd, or too much, is said in a sentence."""
    settings.USE_THOUSAND_SEPARATOR = True
    assert any(said.startswith(note) for said in letter_of(data).notes)


def test_nothing_to_note():
    """A mail as it should be has no notes."""
    assert letter_of(b"Subject: x\r\n\r\nhello\r\n").notes == ()


def test_every_oddity_has_its_words():
    """Nothing that can be odd is without a sentence."""
    assert set(letter._ODDITIES) == set(reading.Oddity)


def test_texts_share_the_room():
    """All plain texts together are shown up to a size."""
    text = b"--b\r\n\r\n" + b"x" * 100_000 + b"\r\n"
    shown = letter_of(MIXED + text * 5 + b"--b--")
    assert [len(one) for one in shown.texts] == [100_000, 100_000, MOST_TEXT - 200_000]
    assert len(shown.notes) == 1


def test_text_that_fills_the_room():
    """A text behind one that has just had room is said to be missing."""
    text = b"--b\r\n\r\n" + b"x" * MOST_TEXT + b"\r\n"
    assert letter_of(MIXED + text + b"--b--").notes == ()
    shown = letter_of(MIXED + text * 2 + b"--b--")
    assert (len(shown.texts), len(shown.notes)) == (1, 1)


def test_images_that_are_too_much(monkeypatch):
    """Images for which there is no room in the frame are said to be missing."""
    image = b"--b\r\nContent-Type: image/png\r\nContent-ID: <a>\r\n\r\n" + b"x" * 1000 + b"\r\n"
    data = MIXED + b"--b\r\n" + HTML + b"'cid:a'\r\n" + image + b"--b--"
    assert letter_of(data).notes == ()
    assert "data:image/png" in html_document(io.BytesIO(data))
    monkeypatch.setattr(letter, "MOST_IMAGES", 1000)
    assert letter_of(data).notes == (
        "Images are shown up to 1000\xa0bytes; the others are left out.",
    )
    assert html_document(io.BytesIO(data)) == "'cid:a'"


def test_no_html():
    """A mail without HTML has nothing for the frame."""
    data = b"Subject: x\r\n\r\n<b>"
    assert not letter_of(data).has_html
    assert html_document(io.BytesIO(data)) == ""


@settings(max_examples=100, deadline=None)
@given(MAILS)
def test_anything_can_be_shown(data):
    """No mail is so broken that its page is an error."""
    shown = letter_of(data)
    str(shown).encode()
    html_document(io.BytesIO(data)).encode()
