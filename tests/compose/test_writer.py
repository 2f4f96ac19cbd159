"""What the writer writes reads as Django's own, and it is the writer that writes common mail."""

from __future__ import annotations

import binascii
import email
import email.policy
from datetime import UTC, datetime
from email.header import decode_header, make_header
from email.headerregistry import AddressHeader
from email.mime.image import MIMEImage
from email.utils import getaddresses, parsedate_to_datetime

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.core.mail.utils import DNS_NAME
from django.utils.functional import lazystr
from django.utils.safestring import mark_safe
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from django_smtpx.compose import bodies, compose, content, headers, writer
from django_smtpx.compose.tree import Doubt
from tests.compose.conftest import MAILER, NOW, way

SINCE_6 = django.VERSION >= (6, 0)

# -- what a reader finds -------------------------------------------------------


def unfolded(value):
    """Return a header's value on one line, with its encoded words read."""
    text = str(value).replace("\r\n", "").replace("\n", "")
    return str(make_header(decode_header(text))).strip()


def mailboxes(value):
    """Return names and addresses, which stand side by side before a name is read."""
    if isinstance(value, AddressHeader):
        return [(one.display_name, one.addr_spec) for one in value.addresses]
    text = str(value).replace("\r\n", "").replace("\n", "")
    return [(unfolded(name), address) for name, address in getaddresses([text])]


def header(name, value, part):
    """Return what a header says, but for what is another at each time."""
    lowered = name.lower()
    if lowered == "date":
        return str(value)[-5:]
    if lowered == "message-id" and f"@{DNS_NAME}>" in str(value):
        return "an id of its own"
    if lowered in headers.ADDRESS_NAMES:
        return mailboxes(value)
    if lowered.startswith("content-t") and lowered.endswith("type"):
        parameters = {key: text for key, text in part.get_params() if key != "boundary"}
        return {key.lower(): text for key, text in parameters.items()}
    if lowered == "content-disposition":
        name = part.get_filename()
        return part.get_content_disposition(), name and name.replace("\r", "").replace("\n", "")
    return unfolded(value)


def seen(message, *, encodings=True):
    """Return headers and contents of all parts, in their order."""
    parts = []
    for part in message.walk():
        found = [
            (name, header(name, value, part))
            for name, value in part.items()
            # Django 6 leaves it out, and we set it elsewhere, where there is no body.
            if name != "MIME-Version" and (encodings or name.lower() != "content-transfer-encoding")
        ]
        payload = None if part.is_multipart() else part.get_payload(decode=True)
        if part.get_content_maintype() == "text":
            text = payload.decode(part.get_content_charset("ascii"))
            # The last line of a mail has an end, whether it was given one or not.
            payload = text.replace("\r\n", "\n").replace("\r", "\n").rstrip("\n")
        parts.append((found, payload))
    return parts


def read(data, **options):
    """Return what a reader finds in the bytes of a mail."""
    return seen(email.message_from_bytes(data), **options)


# -- strange mail --------------------------------------------------------------

NICE = "ab XYZ0'!#$%&*+-/^_`{|}~éßΩЖ日本語🎉’–\u0301"
STRANGE = NICE + '.,:;<>()[]@\\"=?\u00a0\u2003\u200b\u00ad\t\n\0\x1c\u2028\ud800'
WORDS = ["Jane", "O'Brien", "Groß", "日本", "x" * 90, "é" * 45, "a.b", "(x)", "=?", "a=", "Re:"]


def texts(most):
    """Return lines of text: words, or characters that no parser minds, or any at all."""
    words = st.lists(st.sampled_from(WORDS), max_size=8).map(" ".join)
    nice = st.text(NICE, max_size=most).map(str.strip)
    return words | nice | words | nice | st.text(STRANGE, max_size=most)


PLAIN = st.sampled_from(["jane", "j.doe+x", "o'brien", "j" * 60]).map("{}@example.com".format)
STRANGERS = st.sampled_from(
    ["jörg@example.com", "j@exämple.com", "<j@example.com>", "x", "a@b, c@d"]
)
ADDRESSES = st.one_of(
    PLAIN,
    st.builds("{} <{}>".format, texts(12), PLAIN),
    st.builds('"{}" <{}>'.format, texts(12), PLAIN),
    st.builds('"{}, {}" <{}>'.format, texts(5), texts(5), PLAIN),
    st.one_of(PLAIN, PLAIN, STRANGERS),
)
LINES = texts(60) | st.sampled_from(
    ["x" * 78, "x" * 79, "x" * 998, "x" * 999, "é " * 500, "From a"]
)
BODIES = st.builds(
    lambda lines, end, last: end.join(lines) + last,
    st.lists(LINES, max_size=8),
    st.sampled_from(["\n", "\n", "\r\n", "\r", "\x0c"]),
    st.sampled_from(["", "\n", " ", "\n\n"]),
)
NAMES = st.sampled_from(
    [
        *("X-A", "X-B", "x-a", "List-Unsubscribe", "References", "Message-ID", "Reply-To", "From"),
        *("To", "Sender", "Date", "Content-Language", "Subject"),
    ]
)
VALUES = st.one_of(
    texts(40),
    st.sampled_from(["<" + "u" * 300 + ">", "<a@b.c>", "j@example.com", "<a@b> " * 30 + "<c@d>"]),
)
FILENAMES = st.one_of(
    st.none(),
    st.sampled_from(
        ["a.txt", "a b (1).pdf", "é.txt", "日" * 40 + ".pdf", "x" * 80, "a'b%41.c", ""]
    ),
    texts(12),
)
TYPES = [
    "text/plain",
    "text/csv",
    "application/pdf",
    "image/png",
    "application/json",
    "Text/X",
    "a",
]
PARTS = st.tuples(
    FILENAMES, st.binary(max_size=130) | BODIES, st.sampled_from(TYPES)
)  # fmt: skip


@st.composite
def mails(draw):
    """Return a message, which may be strange in each of its places."""
    kind = draw(st.sampled_from([EmailMessage, EmailMultiAlternatives, EmailMultiAlternatives]))
    wrap = draw(st.sampled_from([str, str, mark_safe, lazystr]))
    several = st.lists(ADDRESSES, max_size=2)
    message = kind(
        wrap(draw(texts(60))),
        mark_safe(draw(BODIES)),
        draw(ADDRESSES),
        draw(st.lists(ADDRESSES, min_size=1, max_size=3)),
        cc=draw(several),
        bcc=draw(several),
        reply_to=draw(several),
        headers=draw(st.dictionaries(NAMES, VALUES, max_size=2)),
    )
    if kind is EmailMultiAlternatives:
        for body in draw(st.lists(BODIES, max_size=2)):
            message.attach_alternative(body, "text/html")
    message.attachments = draw(st.lists(PARTS, max_size=2))
    return message


@settings(deadline=None, max_examples=80)
@given(mails())
def test_what_is_written_reads_as_composed_by_django(message):
    """In whatever way a mail is composed, a reader finds the same in it, header by header."""
    try:
        found = writer.write(message)
    except Doubt:
        return
    with way("all by Django"):
        slow = content.write(message, (), ())
    # Before 6.0 Django is in two minds about what a line is.
    assert read(found.content, encodings=SINCE_6) == read(slow.content, encodings=SINCE_6)
    assert found.subject == slow.subject
    sender = email.message_from_bytes(found.content)["From"]
    assert mailboxes(found.from_header) == mailboxes(sender)
    own = message.message()
    if not SINCE_6:
        own = email.message_from_bytes(own.as_bytes())
    assert read(found.content, encodings=False) == seen(own, encodings=False)
    assert max(map(len, found.content.split(b"\r\n"))) <= 998
    assert found.content.isascii()
    assert b"\0" not in found.content
    assert found.content.count(b"\r\n") == found.content.count(b"\n") == found.content.count(b"\r")


@settings(deadline=None, max_examples=40)
@given(mails())
def test_a_strange_header_leaves_the_parts_to_the_writer(message):
    """A header that Django composed, above parts that it did not, reads as all by Django."""
    with way("the header by Django"):
        try:
            writer.parts(message)
            found = content.write(message, (), ())
        except (Doubt, ValueError, AttributeError, TypeError):
            return
    with way("all by Django"):
        assert read(found.content, encodings=SINCE_6) == read(
            content.write(message, (), ()).content, encodings=SINCE_6
        )


# -- what is written -----------------------------------------------------------


def mail(*, kind=EmailMultiAlternatives, **fields):
    """Return a message that nobody doubts, but for some fields of its own."""
    message = kind("Subject", "Body\n", "Shop <shop@example.com>", ["jane@example.com"])
    for name, value in fields.items():
        setattr(message, name, value)
    return message


def with_html(text="<p>Hi</p>\n" * 300):
    """Return a message with an alternative in HTML."""
    message = mail()
    message.attach_alternative(mark_safe(text), "text/html")
    return message


def with_attachment(filename="invoice.pdf", data=b"%PDF" * 900, kind="application/pdf"):
    """Return a message with an attachment."""
    message = with_html()
    message.attach(filename, data, kind)
    return message


COMMON = {
    "text": mail,
    "no body": lambda: mail(body=""),
    "a plain EmailMessage": lambda: mail(kind=EmailMessage),
    "HTML beside": with_html,
    "long lines of HTML": lambda: with_html("<p>Hi</p>" * 300),
    "HTML alone": lambda: mail(content_subtype="html"),
    "no text beside HTML": lambda: mail(body="", alternatives=with_html().alternatives),
    "an attachment": with_attachment,
    "an attachment without a name": lambda: with_attachment(None),
    "a text attachment": lambda: with_attachment("a.csv", "a;b\né;ß\n", "text/csv"),
    "a calendar": lambda: with_attachment("a.ics", "BEGIN:VCALENDAR\r\n", "text/calendar"),
    "a long name": lambda: with_attachment("Rechnung " * 9 + ".pdf"),
    "a name in Japanese": lambda: with_attachment("請求書" * 12 + ".pdf"),
    "not ASCII": lambda: mail(subject="Grüße aus Köln", body="Schöne Grüße\n", to=["Jürgen <j@a.de>"]),
    "emoji": lambda: mail(subject="🎉" * 60, body="🎉\n"),
    "a lazy subject": lambda: mail(subject=lazystr("Willkommen")),
    "names with commas": lambda: mail(to=['"Doe, Jane" <j@example.com>'] * 40, cc=["O'B <o@a.de>"]),
    "bcc": lambda: mail(bcc=["hidden@example.com"]),
    "headers": lambda: mail(
        reply_to=["help@example.com"],
        extra_headers={
            "List-Unsubscribe": "<https://example.com/" + "u" * 100 + ">",
            "X-Campaign": "Grüße",
            "Message-ID": "<1.2@example.com>",
            "References": " ".join(["<a@example.com>"] * 12),
        },
    ),
    "a From of its own": lambda: mail(extra_headers={"From": "Other <other@example.com>"}),
}  # fmt: skip


@pytest.mark.parametrize("name", COMMON)
def test_common_mail_is_written(name, monkeypatch):
    """Django composes none of the mail that sites send most."""
    monkeypatch.setattr(content, "_composed", None)
    found = compose(COMMON[name](), MAILER, NOW)
    monkeypatch.undo()
    with way("all by Django"):
        assert read(found.content) == read(compose(COMMON[name](), MAILER, NOW).content)


@pytest.mark.parametrize(
    ("fields", "redirect_to"),
    [
        ({"to": ["Jürgen <j@exämple.com>"]}, ()),
        ({"from_email": "webmaster"}, ()),
        ({"extra_headers": {"Date": "Fri, 01 Jan 2021 00:00:00 +0000"}}, ()),
        ({"subject": "=?utf-8?q?caf=C3=A9?="}, ()),
        ({}, ("dev@example.org",)),
    ],
)
def test_a_strange_header_costs_the_header_alone(fields, redirect_to, monkeypatch):
    """Its parts are written all the same, and Django sees none of them."""
    message = with_attachment()
    for name, value in fields.items():
        setattr(message, name, value)
    intended = message.to if redirect_to else ()
    with way("all by Django"):
        slow = content.write(message, redirect_to, intended)
    monkeypatch.setattr(content.parts, "mend", None)
    found = content.write(message, redirect_to, intended)
    assert read(found.content) == read(slow.content)
    assert (found.subject, found.from_header) == (slow.subject, slow.from_header)


class Overriding(EmailMessage):
    """A message that composes itself."""

    def message(self, **options):
        """Return what Django composes."""
        return super().message(**options)


def patched():
    """Return a message with a method of its own."""
    message = mail()
    message._add_attachments = message._create_attachments = lambda msg: msg
    return message


IN_DOUBT = {
    "message() of a subclass": lambda: mail(kind=Overriding),
    "a hook of an object": patched,
    "a charset": lambda: mail(encoding="iso-8859-1"),
    "a subtype": lambda: mail(mixed_subtype="related"),
    "a part that is made": lambda: mail(attachments=[MIMEImage(b"\x89PNG\r\n\x1a\n", "png")]),
    "a message in it": lambda: mail(attachments=[("a.eml", b"Subject: a\n\nb\n", "message/rfc822")]),
    "a parameter of a type": lambda: mail(attachments=[("a", "b", "text/plain; charset=latin-1")]),
    "text in bytes": lambda: mail(attachments=[("a.txt", b"b", "text/plain")]),
    "a name with a quote": lambda: with_attachment('a".pdf'),
    "a name with a line end": lambda: with_attachment("a\r\nb"),
    "a NUL": lambda: mail(body="a\0"),
    "a lone surrogate": lambda: mail(body="é\ud800"),
    "a header's name": lambda: mail(extra_headers={"X Y": "a"}),
    "a header about the parts": lambda: mail(extra_headers={"Content-Language": "en"}),
}  # fmt: skip


@pytest.mark.parametrize("name", IN_DOUBT)
def test_what_is_not_plain_is_left_to_django(name):
    """Where somebody's own code or an unusual part has a say, nothing is written."""
    with pytest.raises(Doubt):
        writer.write(IN_DOUBT[name]())


def test_djangos_methods_may_be_replaced(monkeypatch):
    """Who has put another method in the place of Django's is heard."""
    monkeypatch.setattr(EmailMessage, "message", Overriding.message)
    with pytest.raises(Doubt):
        writer.write(mail())


@pytest.mark.parametrize(
    ("name", "value"), [("EMAIL_USE_LOCALTIME", True), ("DEFAULT_CHARSET", "iso-8859-1")]
)
def test_djangos_settings_are_heard(name, value, settings):
    """A Date in local time, and another charset, are Django's to write."""
    setattr(settings, name, value)
    with pytest.raises(Doubt):
        writer.write(mail())
    with pytest.raises(Doubt):
        writer.parts(mail())


def test_the_date_is_now():
    """It is the time of composing, in UTC."""
    before = datetime.now(UTC).replace(microsecond=0)
    found = email.message_from_bytes(writer.write(mail()).content)["Date"]
    assert found.endswith("+0000" if SINCE_6 else "-0000")
    assert before <= parsedate_to_datetime(found).replace(tzinfo=UTC) <= datetime.now(UTC)


def test_boundaries_are_not_to_be_guessed():
    """No two multiparts have the same boundary."""
    mails = [email.message_from_bytes(writer.write(with_attachment()).content) for _ in range(9)]
    found = {part.get_boundary() for one in mails for part in one.walk() if part.is_multipart()}
    assert len(found) == 18


# -- pieces --------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(st.text(NICE + "é=_?\n\r\t .", max_size=900) | BODIES)
@example("")
@example("a \r\nb\t\n.\n\n.")
@example("é" * 120_000)
@example("a\n" * 200_000 + "b")
@example(("é" * 20 + "\n") * 12_000)
@example(("é" + "x" * 90 + "\n") * 5_000 + "é ")
def test_a_text_is_one_in_each_encoding(text):
    """Whatever its encoding, a text comes out of it, in lines of 76 or of what 7bit may have."""
    assume("\ud800" not in text)
    body = bodies.of_text(text)
    out = bodies.BytesIO()
    bodies.write(body, out)
    head = f"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: {body.encoding}"
    part = email.message_from_bytes(head.encode() + b"\r\n\r\n" + out.getvalue())
    found = part.get_payload(decode=True).decode().replace("\r\n", "\n")
    given = text.replace("\r\n", "\n").replace("\r", "\n")
    assert found == (given if given.endswith("\n") or not SINCE_6 else given + "\n")
    longest = max(map(len, out.getvalue().split(b"\r\n")))
    assert longest <= (bodies._MAX_7BIT_LINE if body.encoding == "7bit" else 76)


@settings(deadline=None, max_examples=40)
@given(st.binary(max_size=300) | st.integers(0, 3).map(lambda more: b"x" * (bodies._BLOCK + more)))
def test_base64_is_in_lines_of_76(data):
    """Each line but the last has 76 characters, over the border of a block as well."""
    out = bodies.BytesIO()
    bodies.write(bodies.of_bytes(data), out)
    lines = out.getvalue().split(b"\r\n")
    assert lines.pop() == b""
    assert all(len(line) == 76 for line in lines[:-1])
    assert bodies.binascii.a2b_base64(b"".join(lines)) == data


@settings(deadline=None, max_examples=60)
@given(
    st.text(NICE + "=?_ ", min_size=1, max_size=200), st.sampled_from(["Subject", "X-" + "n" * 80])
)
def test_encoded_words_are_short_and_whole(text, name):
    """Each is of 75 characters at most, and no character is cut in two (RFC 2047 sections 2, 5)."""
    assume(not text.isascii())
    folded = headers.fold_plain(name, text)
    words = folded.removeprefix(f"{name}: ").split("\r\n ")
    assert "".join(str(make_header(decode_header(word))) for word in words) == text
    assert max(map(len, words)) <= 75
    assert all(len(line) <= 76 for line in folded.split("\r\n")[1:])


# -- what is reckoned instead of tried -----------------------------------------


@settings(max_examples=300)
@given(st.lists(st.sampled_from([b"a" * 70, b"ab", b" ", b"\t", b".", b"=", b"\n", b"\xc3\xa9"])))
@example([b" \n"] * 40)
@example([b"a" * 73, b"=" * 80, b" "])
def test_quoted_printable_is_never_longer_than_reckoned(pieces):
    """What is called readable without being encoded would be readable when encoded, too."""
    data = b"".join(pieces)
    assert len(binascii.b2a_qp(data)) <= bodies._longest_readable(data)
