"""A copy of a stored mail: a new one whose header and body are those of the first."""

from __future__ import annotations

import re
from datetime import timedelta
from uuid import uuid4

import pytest
from django.core.mail import EmailMessage
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx import returnpaths
from django_smtpx.compose import COPY_OF, compose, copied
from django_smtpx.compose.copies import with_fields
from django_smtpx.config import secret_keys, signing
from django_smtpx.mailer import Mailer
from django_smtpx.models import Message
from django_smtpx.smtp.options import Options, Security
from tests.compose.conftest import HOSTS, NOW
from tests.signing import ed25519_option, verified

LATER = NOW + timedelta(days=2)
MAILER = Mailer(name="default", hosts=HOSTS)
ODD = b" folded\r\nX-Date: 1\r\nDated: 2\r\nno colon \xff\r\nSubject: \xe4\x00\r\n"
NEW = {"DKIM-Signature": None, "Message-ID": "Message-ID: <new@x>", "Date": "Date: now"}


def original(email=None, mailer=MAILER, **values):
    """Return the row and the content of a mail as it was composed."""
    email = email or EmailMessage("Hello", "Böse\n.dots\n", "from@example.com", ["a@example.com"])
    mail = compose(email, mailer, NOW)
    row = Message(
        uuid=mail.uuid,
        mailer=mailer.name,
        envelope_sender=mail.sender,
        from_header=mail.from_header,
        subject=mail.subject,
        priority=mail.priority,
        tags=mail.tags,
        metadata=mail.metadata,
        expires_at=mail.expires_at,
        require_tls=mail.require_tls,
        idempotency_key=mail.idempotency_key,
    )
    for name, value in values.items():
        setattr(row, name, value)
    return row, mail.content


def header_of(content):
    """Return the header fields of a content, in their order, by lower-case name."""
    block = content.partition(b"\r\n\r\n")[0]
    fields = re.split(rb"\r\n(?![ \t])", block)
    return [
        (name.decode().lower(), value) for name, _, value in (f.partition(b":") for f in fields)
    ]


def without_identity(content):
    """Return a content without what a copy has of its own."""
    return with_fields(content, {"Message-ID": None, "Date": None, "DKIM-Signature": None})


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        # In their places, whatever the spelling, and folded lines with them.
        (
            b"Subject: a\r\nMESSAGE-ID:\r\n <old@x>\r\nTo: b\r\ndate : then\r\n\tand when\r\n\r\nB\r\n",
            b"Subject: a\r\nMessage-ID: <new@x>\r\nTo: b\r\nDate: now\r\n\r\nB\r\n",
        ),
        # Each signature goes, with all of its lines.
        (
            b"DKIM-Signature: v=1;\r\n b=a\r\n\tdef\r\nDKIM-Signature: v=1\r\nDate: then\r\n\r\nB",
            b"Date: now\r\nMessage-ID: <new@x>\r\n\r\nB",
        ),
        # What is missing stands at the end.
        (
            b"Subject: a\r\n\r\nB\r\n",
            b"Subject: a\r\nMessage-ID: <new@x>\r\nDate: now\r\n\r\nB\r\n",
        ),
        # One too many goes.
        (
            b"Date: 1\r\nDate: 2\r\nMessage-ID: <o@x>\r\n\r\n",
            b"Date: now\r\nMessage-ID: <new@x>\r\n\r\n",
        ),
        # Names that only begin alike, and odd lines and bytes, stay.
        (
            ODD + b"\r\n\xff",
            ODD + b"Message-ID: <new@x>\r\nDate: now\r\n\r\n\xff",
        ),
        # No header, no body, nothing at all.
        (
            b"\r\nDate: in the body\r\n",
            b"Message-ID: <new@x>\r\nDate: now\r\n\r\nDate: in the body\r\n",
        ),
        (b"Subject: a\r\n", b"Subject: a\r\nMessage-ID: <new@x>\r\nDate: now\r\n\r\n"),
        (b"Subject: a", b"Subject: a\r\nMessage-ID: <new@x>\r\nDate: now\r\n\r\n"),
        (b"", b"Message-ID: <new@x>\r\nDate: now\r\n\r\n"),
        # A body that looks like a header is none.
        (
            b"Date: then\r\n\r\nDate: 3\r\n\r\nMessage-ID: 4\r\n",
            b"Date: now\r\nMessage-ID: <new@x>\r\n\r\nDate: 3\r\n\r\nMessage-ID: 4\r\n",
        ),
    ],
)
def test_fields_are_replaced(content, expected):
    """What is named is replaced or taken out, and nothing else is touched."""
    assert with_fields(content, NEW) == expected


@given(
    st.lists(st.binary(max_size=12).map(lambda line: line.translate(None, b"\r\n")), max_size=8),
    st.binary(max_size=40),
)
def test_what_is_not_named_stays_byte_for_byte(lines, body):
    """Whatever the lines of a header are, those of other fields are the same, in their order."""
    lines = [line for line in lines if line]
    content = b"".join(line + b"\r\n" for line in lines) + b"\r\n" + body
    assert with_fields(content, {}) == content
    changed = with_fields(content, {"Date": "Date: now"})
    assert changed.endswith(b"\r\n\r\n" + body)
    assert with_fields(changed, {"Date": None}) == with_fields(content, {"Date": None})


def test_a_copy_is_a_new_mail_with_the_same_bytes():
    """Another UUID, Message-ID and Date; the rest of the header and the body as they were."""
    row, content = original(
        EmailMessage("Hé", "Böse\n.\n", "from@example.com", ["a@example.com"], bcc=["b@x.example"]),
        idempotency_key="once",
        priority=3,
        tags=["invoice"],
        metadata={"order": 7},
    )
    copy = copied(row, content, ["c@example.com", "c@EXAMPLE.com"], MAILER, LATER)
    assert copy.uuid != row.uuid
    assert copy.recipients == ("c@example.com",)
    assert without_identity(copy.content) == without_identity(content)
    old, new = dict(header_of(content)), dict(header_of(copy.content))
    assert [name for name, _ in header_of(copy.content)] == [n for n, _ in header_of(content)]
    assert new["message-id"].decode().strip() == copy.message_id
    assert new["message-id"] != old["message-id"]
    assert new["date"] == b" Tue, 24 Nov 2026 12:00:00 -0000"
    assert copy.metadata == {"order": 7, COPY_OF: str(row.uuid)}
    assert row.metadata == {"order": 7}
    assert (copy.sender, copy.subject, copy.priority) == ("from@example.com", "Hé", 3)
    assert (copy.tags, copy.idempotency_key, copy.send_at) == (["invoice"], None, None)


@pytest.mark.parametrize("keys", [(), ("ed25519",)])
def test_a_copy_is_signed_by_its_mailer_alone(keys):
    """The old signature is of another Message-ID: it goes, and the mailer's own keys sign anew."""
    signs = signing.keys("'dkim'", [ed25519_option()])
    row, content = original(mailer=Mailer(name="default", hosts=HOSTS, dkim=signs))
    assert content.startswith(b"DKIM-Signature")
    mailer = Mailer(name="other", hosts=HOSTS, dkim=signs if keys else ())
    copy = copied(row, content, ["a@example.com"], mailer, LATER)
    signatures = [name for name, _ in header_of(copy.content) if name == "dkim-signature"]
    assert len(signatures) == len(keys)
    if keys:
        assert verified(copy.content)
    assert without_identity(copy.content) == without_identity(content)


def test_a_copy_is_redirected_like_any_mail():
    """By redirect_to no address of the original is reached, and who was meant is on record."""
    row, content = original(
        EmailMessage("S", "B", "from@example.com", ["a@example.com"], cc=["b@example.com"])
    )
    mailer = Mailer(name="default", hosts=HOSTS, redirect_to=("team@site.example",))
    copy = copied(row, content, ["a@example.com", "b@example.com"], mailer, LATER)
    assert copy.recipients == ("team@site.example",)
    assert copy.metadata["smtpx_intended_to"] == ["a@example.com", "b@example.com"]
    header = dict(header_of(copy.content))
    assert header["to"] == b" team@site.example"
    assert "cc" not in header
    assert header["x-smtpx-intended-to"] == b" a@example.com, b@example.com"
    again = copied(
        Message(uuid=uuid4(), metadata=copy.metadata), copy.content, ["x@y.example"], MAILER, LATER
    )
    assert "smtpx_intended_to" not in again.metadata


@pytest.mark.parametrize(
    ("expires_at", "kept"),
    [(None, None), (LATER + timedelta(1), LATER + timedelta(1)), (LATER, None), (NOW, None)],
)
def test_an_expiry_to_come_is_kept(expires_at, kept):
    """What is worthless later is so in a copy; one that is over would let nothing go."""
    row, content = original(expires_at=expires_at)
    assert copied(row, content, ["a@example.com"], MAILER, LATER).expires_at == kept


def test_bounces_of_a_copy_find_the_copy():
    """A reverse path with a token gets one of the copy; any other stays as it is."""
    email = EmailMessage("S", "B", "from@example.com", ["a@example.com"])
    email.envelope_sender = "bounce+{uuid}@example.com"
    row, content = original(email)
    copy = copied(row, content, ["a@example.com"], MAILER, LATER)
    assert copy.sender != row.envelope_sender
    assert returnpaths.message_of([copy.sender], secret_keys()) == copy.uuid
    for path in ("", "x" * 42 + "@example.com", row.envelope_sender):
        other, _ = original(envelope_sender=path)
        assert copied(other, content, ["a@example.com"], MAILER, LATER).sender == path


def test_what_the_mailer_cannot_give_is_refused():
    """A mail that asks for verified TLS is not copied to a mailer that verifies nothing."""
    plain = Mailer(
        name="plain", hosts=(Options(host="a", port=25, security=Security.NONE, verify=False),)
    )
    row, content = original(require_tls=True)
    with pytest.raises(ValueError, match="verifies no certificate"):
        copied(row, content, ["a@example.com"], plain, LATER)
