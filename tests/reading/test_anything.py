"""Whatever the bytes, they are read, within bounds, and nothing raises."""

from __future__ import annotations

import io

from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx import reading

# What a mail is made of, so that made-up ones have some structure.
TOKENS = (
    b"\r\n", b"\n", b"\r", b"\r\n\r\n", b"--", b"--b", b"--b--", b"--b\r\n", b"b", b" ", b"\t", b";", b"=", b'"', b"'",
    b"Content-Type: multipart/mixed; boundary=b\r\n", b'Content-Type: multipart/digest; boundary="b"\r\n',
    b"Content-Type: text/plain; charset=utf-7\r\n", b"Content-Type: text/html; charset=utf-16\r\n",
    b"Content-Type: message/rfc822\r\n", b"Content-Type: text/plain; charset=", b"idna", b"unicode_escape", b"bz2",
    b"Content-Transfer-Encoding: base64\r\n", b"Content-Transfer-Encoding: quoted-printable\r\n",
    b"Content-Disposition: attachment; filename*0*=utf-8''a; filename*1=b; filename*=c\r\n",
    b"Content-Disposition: inline; filename=", b"Content-ID: <a@b>\r\n", b"Subject: ", b"=?utf-8?b?4oKs?=",
    b"=?utf-7?q?+2AA-?=", b"=?x?q?=ZZ?=", b"+2AA-", b"\xff\xfe", b"\x00", b"\x80", "\u202e€".encode(), b"=3D", b"=", b"QUJD", b"QQ==",
)  # fmt: skip
MAILS = st.lists(st.sampled_from(TOKENS) | st.binary(max_size=6), max_size=40).map(b"".join)


@settings(max_examples=200, deadline=None)
@given(MAILS)
def test_anything_is_read(data):
    """Each part lies within the mail, behind the one before it, and can be shown and saved."""
    file = io.BytesIO(data)
    mail = reading.scan(file)
    place = 0
    for number, part in enumerate(mail.parts, 1):
        assert part.number == number
        assert place <= part.start <= part.end <= len(data)
        place = part.end
        text = reading.read_text(file, part, 100)
        reading.legible(text.value).encode()
        assert len(b"".join(reading.decoded(file, part))) <= part.end - part.start
        name = reading.file_name(part)
        assert name.encode()
        assert not set(name) & set('/\\\r\n\0"')
    for header in mail.headers:
        (header.name + header.value).encode()
    assert len(mail.texts) + len(mail.attachments) + (mail.html is not None) == len(mail.parts)
