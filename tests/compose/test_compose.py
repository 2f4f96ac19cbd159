"""Composition as a whole: addresses, headers, parts and bytes."""

from __future__ import annotations

import copy
import email
import email.message
import email.policy
from email.headerregistry import Address
from email.mime.base import MIMEBase
from email.mime.image import MIMEImage
from email.mime.message import MIMEMessage
from email.mime.multipart import MIMEMultipart
from email.mime.text import MIMEText

import django
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from django.utils.translation import gettext_lazy
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_smtpx.compose import compose
from django_smtpx.smtp.envelope import Envelope
from tests.compose.conftest import MAILER, NOW, WAYS, way

SINCE_6 = django.VERSION >= (6, 0)
PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(256))


@pytest.fixture(autouse=True, scope="module", params=list(WAYS))
def _composed_in_each_way(request):
    """What holds for a mail holds in whatever way it is composed."""
    with way(request.param):
        yield


def mail(
    subject="Subject", body="Body\n", sender="from@example.com", to=("to@example.com",), **more
):
    """Return a message."""
    return EmailMultiAlternatives(subject, body, sender, list(to), **more)


def checked(mail, **fields):
    """Return what became of a message, after looking at its bytes as a server would."""
    from django_smtpx.mailer import Mailer

    result = compose(mail, Mailer(name="default", hosts=MAILER.hosts, **fields), NOW)
    look(result.content)
    return result


def look(content, *, utf8=False):
    """Assert what must hold for the bytes of every mail."""
    assert content.endswith(b"\r\n")
    assert b"\0" not in content
    lines = content.split(b"\r\n")
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 998
    head = content.partition(b"\r\n\r\n")[0]
    assert utf8 or head.isascii()
    for name in (b"bcc", b"resent-bcc"):
        assert not any(line.lower().startswith(name + b":") for line in head.split(b"\r\n"))


def parsed(content):
    """Return the message that a reader sees."""
    return email.message_from_bytes(content, policy=email.policy.default)


def text_of(part):
    """Return the text of a part with the line ends of Python."""
    return (
        part.get_payload(decode=True)
        .decode(part.get_content_charset("ascii"))
        .replace("\r\n", "\n")
    )


# -- recipients and sender -----------------------------------------------------


def test_no_recipients(composed):
    """Without recipients there is nothing to compose."""
    assert composed(mail(to=[])) is None
    assert composed(mail(to=["", None])) is None


def test_recipients():
    """Recipients are bare, in their order, and each is there once."""
    message = mail(
        to=["Bob <bob@example.com>", "al@example.com"],
        cc=["bob@EXAMPLE.com", "Cy <cy@exämple.com>"],
        bcc=["al@example.com", "dee@example.com", "Bob@example.com"],
    )
    result = checked(message)
    assert result.recipients == (
        "bob@example.com", "al@example.com", "cy@xn--exmple-cua.com", "dee@example.com", "Bob@example.com",
    )  # fmt: skip
    read = parsed(result.content)
    assert read["To"] == "Bob <bob@example.com>, al@example.com"
    assert read["Cc"] == "bob@EXAMPLE.com, Cy <cy@xn--exmple-cua.com>"
    assert b"dee@" not in result.content


def test_a_thousand_recipients():
    """A long list is folded and nobody is left out."""
    to = [f"Jürgen {i} <j{i}@example.com>" if i % 2 else f"j{i}@example.com" for i in range(1000)]
    result = checked(mail(to=to))
    assert result.recipients == tuple(f"j{i}@example.com" for i in range(1000))
    addresses = parsed(result.content)["To"].addresses
    assert [one.addr_spec for one in addresses] == list(result.recipients)
    assert addresses[1].display_name == "Jürgen 1"
    lines = result.content.partition(b"\r\n\r\n")[0].split(b"\r\n")
    assert max(map(len, lines)) <= 78


def test_own_recipients():
    """A subclass may say itself who receives."""

    class Own(EmailMessage):
        def recipients(self):
            return ["own@example.com"]

    assert checked(Own("s", "b", "a@b.c", ["x@y.z"])).recipients == ("own@example.com",)


@pytest.mark.parametrize(
    ("wish", "sender"),
    [
        (None, "from@example.com"),
        ("bounces@example.com", "bounces@example.com"),
        ("Bounces <b@exämple.com>", "b@xn--exmple-cua.com"),
        ("", ""),
        ("<>", ""),
    ],
)
def test_sender(wish, sender):
    """The envelope sender is the message's wish, or the address that it is from."""
    message = mail(sender="Site <from@example.com>", headers={"From": "Other <other@example.com>"})
    message.envelope_sender = wish
    result = checked(message)
    assert result.sender == sender
    assert result.from_header == "Other <other@example.com>"


def test_local_mailboxes():
    """Addresses without a domain pass, as with Django."""
    result = checked(mail(sender="webmaster", to=["root"]))
    assert (result.sender, result.recipients) == ("webmaster", ("root",))


def test_from_in_idn():
    """IDN domains are A-labels in the envelope and in the headers."""
    result = checked(
        mail(sender="Fö <from@exämple.com>", to=["用户 <user@例子.测试>"], reply_to=["r@ÄÖ.de"])
    )
    assert result.sender == "from@xn--exmple-cua.com"
    assert result.from_header == "Fö <from@xn--exmple-cua.com>"
    read = parsed(result.content)
    assert read["To"].addresses[0] == Address("用户", "user", "xn--fsqu00a.xn--0zwm56d")
    assert read["Reply-To"].addresses[0].domain == "xn--4ca0b.de"


@pytest.mark.parametrize("where", ["sender", "to", "cc", "reply_to"])
def test_smtputf8(where):
    """A non-ASCII local part in a header is sent as it is, which needs SMTPUTF8."""
    address = "Jörg, der Erste <jörg@exämple.com>".replace(",", "")
    kwargs = {where: address if where == "sender" else [address]}
    result = compose(mail(**kwargs), MAILER, NOW)
    look(result.content, utf8=True)
    header = {"sender": "From", "reply_to": "Reply-To"}.get(where, where.title())
    lines = [
        line for line in result.content.split(b"\r\n") if line.startswith(header.encode() + b":")
    ]
    assert lines == [
        f"{header}: =?utf-8?q?J=C3=B6rg_der_Erste?= <jörg@xn--exmple-cua.com>".encode()
    ]
    assert Envelope(result.sender, result.recipients, result.content).needs_smtputf8
    if where != "reply_to":
        assert "jörg@xn--exmple-cua.com" in (result.sender, *result.recipients)


def test_smtputf8_of_a_hidden_recipient():
    """A blind copy to a non-ASCII local part leaves the headers ASCII; the envelope needs SMTPUTF8."""
    result = checked(mail(bcc=["jörg@example.com"]))
    assert result.content.isascii()
    assert Envelope(result.sender, result.recipients, result.content).needs_smtputf8
    assert not Envelope("a@b.c", ["d@e.f"], result.content).needs_smtputf8


# -- what is refused -----------------------------------------------------------

BREAKS = ["\r\nX: y", "\n", "\r", "\0", "\r\n.\r\n"]


@pytest.mark.parametrize("bad", BREAKS)
@pytest.mark.parametrize("where", ["sender", "to", "cc", "bcc", "reply_to", "envelope_sender"])
def test_breaks_in_addresses(where, bad):
    """An address that holds a line end or a NUL is refused, wherever it is."""
    for text in (f"a@example.com{bad}", f"a{bad}@example.com", f"A{bad} <a@example.com>"):
        message = mail()
        if where == "sender":
            message.from_email = text
        else:
            setattr(message, where, text if where == "envelope_sender" else [text])
        with pytest.raises(ValueError):
            compose(message, MAILER, NOW)


@pytest.mark.parametrize("bad", BREAKS)
def test_breaks_in_headers(bad):
    """So is a header, by its name or by its value."""
    for message in (
        mail(subject=f"a{bad}"),
        mail(subject=f"é{bad}é"),
        mail(headers={"X-Any": f"a{bad}b"}),
        mail(headers={f"X-Any{bad}": "a"}),
        mail(headers={"From": f"a{bad}@example.com"}),
        mail(headers={"To": f"a{bad}@example.com"}),
        mail(headers={"Message-ID": f"<a{bad}@example.com>"}),
        mail(headers={"X-Any": gettext_lazy(f"a{bad}b")}),
    ):
        with pytest.raises(ValueError):
            compose(message, MAILER, NOW)


@pytest.mark.parametrize("bad", ["\x01", "\x1b", "\x7f"])
def test_controls_in_addresses(bad):
    """Other control characters are refused in addresses."""
    for message in (
        mail(sender=f"A{bad} <a@example.com>"), mail(to=[f"a{bad}@example.com"]), mail(reply_to=[f"A{bad} <a@b.c>"]),
    ):  # fmt: skip
        with pytest.raises(ValueError):
            compose(message, MAILER, NOW)


@pytest.mark.parametrize("bad", ["a@", "a@b@c", "a b@c", "a@b, c@d", "", "@b", "a@b c"])
def test_invalid_addresses(bad):
    """An invalid address is refused as sender, as wish and as recipient."""
    for message in (mail(to=["ok@example.com", bad or " "]), mail(bcc=[bad or " "])):
        with pytest.raises(ValueError, match="Invalid"):
            compose(message, MAILER, NOW)
    if bad:
        message = mail()
        message.envelope_sender = bad
        with pytest.raises(ValueError, match="envelope_sender"):
            compose(message, MAILER, NOW)
        with pytest.raises(ValueError, match="Invalid"):
            compose(mail(sender=bad), MAILER, NOW)


@pytest.mark.parametrize("name", ["", "X Y", "X:", "Xé", " X"])
def test_header_names(name):
    """A name that no header can have is refused."""
    with pytest.raises(ValueError, match="cannot be the name"):
        compose(mail(headers={name: "a"}), MAILER, NOW)


def test_lone_surrogates():
    """Text that no charset has is refused as a ValueError, in every place."""
    for message in (
        mail(subject="\ud800"),
        mail(body="é\udc80"),
        mail(to=["\ud800@b.c"]),
        mail(headers={"X": "\udfff"}),
    ):
        with pytest.raises(ValueError):
            compose(message, MAILER, NOW)
    message = mail()
    message.attach_alternative("<p>\ud8ff</p>", "text/html")
    with pytest.raises(ValueError):
        compose(message, MAILER, NOW)


def test_long_words_in_structured_headers():
    """A word that no line can hold is refused where it cannot be encoded."""
    with pytest.raises(ValueError, match="longer than 998"):
        compose(mail(headers={"References": "<" + "a" * 1000 + "@example.com>"}), MAILER, NOW)


def test_wishes_are_checked(composed):
    """What a message asks for is in the result, and is refused where it must be."""
    message = mail()
    message.tags, message.priority, message.mailer = ["a"], 7, "direct"
    result = composed(message)
    assert (result.tags, result.priority, result.mailer, result.require_tls) == (
        ["a"],
        7,
        "direct",
        False,
    )
    message.send_at = NOW
    assert composed(message).send_at == NOW
    with pytest.raises(ValueError, match="send_at"):
        composed(message, mode="now")


# -- headers -------------------------------------------------------------------


def test_message_id_and_date_are_fixed():
    """What every try sends has one Message-ID and one Date."""
    result = checked(mail())
    read = parsed(result.content)
    assert read.get_all("Message-ID") == [result.message_id]
    assert result.message_id.startswith("<")
    assert len(read.get_all("Date")) == 1
    own = checked(
        mail(headers={"message-id": "<own@example.com>", "Date": "Fri, 01 Jan 2021 00:00:00 +0000"})
    )
    read = parsed(own.content)
    assert (own.message_id, read.get_all("Date")) == (
        "<own@example.com>",
        ["Fri, 01 Jan 2021 00:00:00 +0000"],
    )


def test_a_message_without_them_is_completed():
    """A message of the caller's own making gets what it lacks, and loses its Bcc."""

    class Bare(EmailMessage):
        def message(self, **_):
            made = MIMEText("Hello\n", "plain", "us-ascii")
            del made["MIME-Version"]
            made["Bcc"] = made["Resent-Bcc"] = "hidden@example.com"
            made["Message-ID"] = ""
            return made

    result = checked(Bare("s", "b", "a@b.c", ["d@e.f"]))
    read = parsed(result.content)
    assert result.message_id == read["Message-ID"] != ""
    assert read["Date"].datetime is not None
    assert read["MIME-Version"] == "1.0"
    assert (result.subject, result.from_header) == ("", "")


def test_mime_version_of_attachments_without_a_body():
    """MIME-Version is there for each kind of message, which Django 6 forgets without a body."""
    message = mail(body="")
    message.attach("a.bin", b"\0", "application/octet-stream")
    assert parsed(checked(message).content).get_all("MIME-Version") == ["1.0"]
    message = mail(body="")
    message.attach_alternative("<p>é</p>", "text/html")
    assert parsed(checked(message).content).get_all("MIME-Version") == ["1.0"]


def test_bcc_header():
    """A Bcc header never leaves."""
    try:
        result = checked(mail(headers={"Bcc": "hidden@example.com"}))
    except ValueError:
        assert django.VERSION >= (6, 1)  # which refuses it itself
    else:
        assert b"hidden" not in result.content


def test_lazy_strings():
    """Translations may be given wherever a text is."""
    message = EmailMessage(
        gettext_lazy("Sübject"), gettext_lazy("Bödy"), gettext_lazy("from@example.com"), ["to@example.com"],
        headers={"X-Lazy": gettext_lazy("vàlue")},
    )  # fmt: skip
    message.body = str(message.body)
    result = checked(message)
    assert result.subject == "Sübject"
    assert parsed(result.content)["X-Lazy"] == "vàlue"


def test_long_structured_words_stay_readable():
    """A long link in List-Unsubscribe is not made an encoded word, which no mailbox provider reads."""
    link = "<https://example.com/" + "a" * 300 + ">"
    result = checked(mail(headers={"List-Unsubscribe": link}))
    assert f"List-Unsubscribe: {link}\r\n".encode() in result.content


def test_commas_between_encoded_names():
    """The commas of a folded address list stay outside of the encoded words (CVE-2025-1795)."""
    to = [f'"Müller, Jörg{"ö" * i}" <j{i}@example.com>' for i in range(30)]
    result = checked(mail(to=to, cc=["Plain, Al <al@example.com>".replace(",", "")]))
    addresses = parsed(result.content)["To"].addresses
    assert [one.addr_spec for one in addresses] == [f"j{i}@example.com" for i in range(30)]
    assert addresses[7].display_name == "Müller, Jörg" + "ö" * 7


def test_own_to_header():
    """A To header of the caller's own may be a group, and receives nothing."""
    result = checked(
        mail(to=["a@example.com"], headers={"To": "Gäste: x@exämple.com, y@example.com;"})
    )
    assert result.recipients == ("a@example.com",)
    assert "y@example.com" in parsed(result.content)["To"]
    result = checked(mail(headers={"To": "undisclosed-recipients:;"}))
    assert parsed(result.content)["To"] == "undisclosed-recipients:;"


# What looks like an encoded word is left as it is, and what a reader makes of "=??Q??=" is its own affair.
TEXT = st.text(st.characters(exclude_categories=["Cs", "Cc", "Zl", "Zp"]), max_size=300).filter(
    lambda text: "=?" not in text
)


@settings(deadline=None, max_examples=50)
@given(subject=TEXT)
@example("a" * 5000)
@example("é" * 2000)
@example(" ".join("word" * 30 for _ in range(40)))
@example("ends with blanks    ")
@example("  begins with blanks")
@example(" " * 1500 + "x")
@example("tab\tin it")
@example("=?utf-8?q?caf=C3=A9?= au lait")
@example("")
def test_subjects(subject):
    """A subject of any length comes out as it went in."""
    result = checked(mail(subject=subject))
    expected = "café au lait" if subject.startswith("=?utf-8") else subject
    read = str(
        email.header.make_header(email.header.decode_header(parsed_raw(result.content)["Subject"]))
    )
    assert read.strip(" ") == expected.strip(" ")
    assert result.subject.strip(" ") == expected.strip(" ")


def parsed_raw(content):
    """Return the message with its headers unfolded and nothing else."""
    raw = email.message_from_bytes(content)
    for name in raw:
        raw.replace_header(name, str(raw[name]).replace("\r\n", "").replace("\n", ""))
    return raw


@settings(deadline=None, max_examples=40)
@given(
    st.lists(
        TEXT.filter(lambda text: '"' not in text and "\\" not in text), min_size=1, max_size=12
    )
)
def test_display_names(names):
    """Whatever people call themselves, their addresses come out of the header."""
    to = [f'"{name}" <p{at}@example.com>' for at, name in enumerate(names)]
    if "=?" in "".join(names):
        return  # Python's parser may find an encoded word in it, and refuse what that holds
    result = checked(mail(to=to))
    found = [one.addr_spec for one in parsed(result.content)["To"].addresses]
    assert found == [f"p{at}@example.com" for at in range(len(names))]


# -- parts ---------------------------------------------------------------------


def leaves(content):
    """Return the parts that hold something, and check how they are encoded."""
    return [part for part in parsed(content).walk() if not part.is_multipart()]


def encodings(content):
    """Return the transfer encoding of every part."""
    return {
        str(part.get("Content-Transfer-Encoding", "7bit")).lower()
        for part in parsed(content).walk()
    }


BODY = st.text(st.characters(exclude_categories=["Cs"]), max_size=400)


@settings(deadline=None, max_examples=80)
@given(body=BODY, html=BODY)
@example("a" * 5000, "é" * 5000)
@example("From here\n.\n..\n\r\n", "\x00")
@example("a\rb\nc\r\nd", " trailing \t\n=\n")
@example("é\x0c\x1c\x85\u2028x", "é\x00\r\n")
@example("x" * 998, "x" * 999)
@example("é\n" * 3, "日本語" * 300)
def test_bodies(body, html):
    """Any text arrives as it was, but for the kind of its line ends, and in seven bits."""
    message = mail(body=body)
    message.attach_alternative(html, "text/html")
    message.attach("a.txt", body + "x", "text/plain")
    result = checked(message)
    assert result.content.isascii()
    assert encodings(result.content) <= {"7bit", "quoted-printable", "base64"}
    wanted = [*([body] if body else []), html, body + "x"]
    for part, text in zip(leaves(result.content), wanted, strict=True):
        same_text(text_of(part), text)


def same_text(found, given):
    """Assert that two texts are the same lines."""
    normal = given.replace("\r\n", "\n").replace("\r", "\n")
    assert found.replace("\r", "\n").rstrip("\n") == normal.rstrip("\n")


@settings(deadline=None, max_examples=25)
@given(st.binary(max_size=3000))
def test_binary_attachments(data):
    """Bytes arrive as they were."""
    message = mail()
    message.attach("a.bin", data, "application/octet-stream")
    result = checked(message)
    assert leaves(result.content)[1].get_payload(decode=True) == data


@pytest.mark.parametrize(
    "encoding", ["utf-8", "iso-8859-1", "utf-16", "shift_jis", "us-ascii", None]
)
def test_charsets(encoding):
    """A message in another charset is sound too."""
    message = mail(body="Zeile\n" * 3 if encoding in ("us-ascii", "shift_jis") else "Ä" * 1500)
    message.encoding = encoding
    result = checked(message)
    assert result.content.isascii()


@pytest.mark.parametrize(
    "filename",
    ["a.txt", "é.txt", "a b.txt", 'q"uote.txt', "x" * 300 + ".txt", "日" * 100 + ".txt", None],
)
def test_filenames(filename):
    """Names of attachments arrive."""
    message = mail()
    message.attach(filename, b"data", "application/octet-stream")
    (_, part) = leaves(checked(message).content)
    assert part.get_filename() == filename


@pytest.mark.parametrize("bad", ["a\nb.txt", "a\r\nX: y", "a\0", "é\nb"])
def test_filenames_that_break_out(bad):
    """A name with a line end is refused."""
    message = mail()
    message.attach(bad, b"data", "application/octet-stream")
    try:
        result = compose(message, MAILER, NOW)
    except ValueError:
        return
    assert bad == "é\nb"  # Django 5.2 encodes it, and no line is broken
    look(result.content)


def test_nothing_at_all():
    """An empty message is a message."""
    result = checked(EmailMessage("", "", None, ["to@example.com"]))
    assert result.subject == ""
    assert text_of(parsed(result.content)).strip() == ""


def test_html_only():
    """A message may be HTML alone."""
    message = EmailMessage("s", "<p>é</p>", "a@b.c", ["d@e.f"])
    message.content_subtype = "html"
    read = parsed(checked(message).content)
    assert (read.get_content_type(), text_of(read).strip()) == ("text/html", "<p>é</p>")


def attach(message, part):
    """Attach a part, though Django 6 would rather have another kind."""
    message.attachments.append(part)


def test_inline_images():
    """An image with a Content-ID keeps it."""
    image = MIMEImage(PNG, "png")
    image.add_header("Content-ID", "<logo>")
    message = mail()
    message.attach_alternative('<img src="cid:logo">', "text/html")
    attach(message, image)
    part = leaves(checked(message).content)[-1]
    assert (part["Content-ID"], part.get_payload(decode=True)) == ("<logo>", PNG)


def test_related_parts():
    """A MIMEPart of the modern kind is taken as it is, where Django takes it."""
    if not SINCE_6:
        return
    part = email.message.MIMEPart()
    part.set_content(PNG, maintype="image", subtype="png", disposition="inline", cid="<logo>")
    message = mail(attachments=[part])
    found = leaves(checked(message).content)[-1]
    assert (found["Content-ID"], found.get_payload(decode=True)) == ("<logo>", PNG)


class Parsed(MIMEBase):
    """A part that came from bytes, of a class that Django takes as an attachment."""

    def __init__(self, policy=email.policy.compat32):
        email.message.Message.__init__(self, policy)


def from_bytes(data):
    """Return a part from its bytes."""
    return email.message_from_bytes(data, _class=Parsed)


def eight_bit(text="naïve\n", subtype="plain"):
    """Return a part that the user has made in 8 bits."""
    part = MIMEBase("text", subtype, charset="utf-8")
    part.set_payload(text.encode())
    part["Content-Transfer-Encoding"] = "8bit"
    return part


def test_parts_that_the_user_supplies_in_8_bits():
    """They stay as they are, and so the mail needs 8BITMIME; what Django made beside them is 7-bit."""
    message = mail(body="Bödy\n")
    part = eight_bit()
    attach(message, part)
    before = part.as_bytes()
    result = checked(message)
    assert "naïve\r\n".encode() in result.content
    assert "Bödy".encode() not in result.content
    assert Envelope("a@b.c", ["d@e.f"], result.content).needs_8bitmime
    assert not Envelope("a@b.c", ["d@e.f"], result.content).needs_smtputf8
    assert parsed(result.content)["Content-Transfer-Encoding"] == "8bit"
    assert part.as_bytes() == before


@pytest.mark.parametrize("payload", ["é" * 600 + "\n", "a" * 999, "nul\0byte"])
def test_parts_that_no_line_can_hold(payload):
    """A part of the user's is encoded where it could not be sent, and the user's object is not touched."""
    message = mail()
    part = eight_bit(payload)
    attach(message, part)
    result = checked(message)
    assert text_of(leaves(result.content)[1]).rstrip("\n") == payload.rstrip("\n")
    assert part["Content-Transfer-Encoding"] == "8bit"


def test_binary_parts():
    """BINARYMIME is not to be had, so such a part is encoded."""
    part = MIMEBase("application", "x-any")
    part.set_payload(PNG)
    part["Content-Transfer-Encoding"] = "binary"
    message = mail()
    attach(message, part)
    assert leaves(checked(message).content)[1].get_payload(decode=True) == PNG


@pytest.mark.parametrize("encoding", ["base64", "quoted-printable"])
def test_encoded_parts_with_long_lines(encoding):
    """A part that is encoded already, but in lines that are too long, is encoded better."""
    part = MIMEBase("text", "plain", charset="us-ascii")
    part.set_payload("QUJD" * 400 if encoding == "base64" else "ABC" * 400)
    part["Content-Transfer-Encoding"] = encoding
    message = mail()
    attach(message, part)
    result = checked(message)
    assert text_of(leaves(result.content)[1]).rstrip() == "ABC" * 400


def test_unknown_encodings():
    """A transfer encoding that nobody knows is left alone."""
    part = MIMEBase("text", "plain")
    part.set_payload("x")
    part["Content-Transfer-Encoding"] = "x-uuencode"
    message = mail()
    attach(message, part)
    assert "x-uuencode" in encodings(checked(message).content)


def test_text_without_a_charset():
    """A part whose text nobody has encoded is refused with a word about it."""
    part = MIMEBase("text", "plain")
    part.set_payload("é")
    message = mail()
    attach(message, part)
    with pytest.raises(ValueError, match="without a charset"):
        compose(message, MAILER, NOW)


def test_headers_of_parts_in_8_bits():
    """8-bit bytes in a part's header become encoded words."""
    raw = (
        "Content-Type: text/plain\nContent-Description: naïve\nX-Latin: ".encode()
        + b"na\xefve\n\nx\n"
    )
    message = mail()
    attach(message, from_bytes(raw))
    result = checked(message)
    part = leaves(result.content)[1]
    assert (part["Content-Description"], part["X-Latin"]) == ("naïve", "naïve")
    assert result.content.isascii()


SIGNED = b"""\
Content-Type: multipart/signed; micalg=pgp-sha256; protocol="application/pgp-signature";\r
\tboundary="b"\r
\r
--b\r
Content-Type: text/plain; charset=utf-8; a="%s"\r
Content-Transfer-Encoding: 8bit\r
\r
na\xc3\xafve \r
--b\r
Content-Type: application/pgp-signature\r
\r
sig\r
--b--\r
""" % (b"x" * 200)


def test_signed_parts():
    """What is signed leaves byte by byte as it was signed."""
    message = mail()
    attach(message, from_bytes(SIGNED))
    result = checked(message)
    assert SIGNED.partition(b"\r\n\r\n")[2] in result.content


def test_signed_messages():
    """A message() that signs the whole is not spoilt either."""

    class Signed(EmailMultiAlternatives):
        def message(self):
            inner = super().message()
            outer = MIMEMultipart("signed", boundary="b")
            for name in ("Subject", "From", "To", "Date", "Message-ID"):
                outer[name] = str(inner[name])
                del inner[name]
            outer.attach(inner)
            outer.attach(MIMEBase("application", "pgp-signature"))
            return outer

    result = compose(Signed("Sübject", "Bödy\n", "a@b.c", ["d@e.f"]), MAILER, NOW)
    assert "Bödy\r\n".encode() in result.content
    assert result.subject == "Sübject"


def test_old_overrides_of_message():
    """A message() of the kind that Django had before 6.0 still composes 7-bit mail."""

    class Old(EmailMessage):
        def message(self):
            made = super().message()
            made["X-Old"] = "yes"
            return made

    message = Old("s", "Bödy " * 300, "a@b.c", ["d@e.f"])
    attach(message, eight_bit())
    message.attach("é.txt", "ätt", "text/plain")
    result = checked(message)
    assert parsed(result.content)["X-Old"] == "yes"
    assert "naïve".encode() in result.content
    assert text_of(leaves(result.content)[0]).strip() == ("Bödy " * 300).strip()
    assert "ätt".encode() not in result.content


@pytest.mark.parametrize("kind", ["django", "stdlib", "modern", "bytes", "text", "mime"])
def test_attached_messages(kind):
    """A message may be attached in each form that Django takes."""
    inner = mail(subject="Ïnner", body="Bödy\n")
    given = {
        "django": lambda: inner,
        "stdlib": lambda: email.message_from_bytes(inner.message().as_bytes()),
        "modern": lambda: parsed(inner.message().as_bytes()),
        "bytes": lambda: inner.message().as_bytes(),
        "text": lambda: inner.message().as_bytes().decode(),
        "mime": lambda: MIMEMessage(email.message_from_bytes(inner.message().as_bytes())),
    }[kind]()
    message = mail(body="Öuter\n")
    if kind == "mime":
        attach(message, given)
    else:
        message.attach("inner.eml", given, "message/rfc822")
    result = checked(message)
    (holder,) = (
        part
        for part in parsed(result.content).walk()
        if part.get_content_type() == "message/rfc822"
    )
    (found,) = holder.get_payload()
    assert str(found["Subject"]) == "Ïnner"
    assert text_of(found).strip() == "Bödy"
    label = "7bit" if result.content.isascii() else "8bit"
    if kind == "django":
        assert label == "7bit"
    if kind != "mime":
        assert str(holder.get("Content-Transfer-Encoding", "7bit")) == label


def test_reports():
    """A delivery report can be attached."""
    report = from_bytes(
        b"Content-Type: message/delivery-status\n\nReporting-MTA: dns; a\n\nFinal-Recipient: rfc822; b\n"
    )
    message = mail()
    attach(message, report)
    assert b"Final-Recipient: rfc822; b" in checked(message).content


# -- redirection ---------------------------------------------------------------


def test_redirect():
    """Every recipient is replaced, and the intended ones are kept in sight."""
    message = mail(to=["Bob <bob@example.com>"], cc=["cy@example.com"], bcc=["jörg@exämple.com"])
    message.metadata = {"order": 5}
    result = checked(message, redirect_to=("dev@example.org", "ops@example.org"))
    intended = ["bob@example.com", "cy@example.com", "jörg@xn--exmple-cua.com"]
    assert result.recipients == ("dev@example.org", "ops@example.org")
    assert result.metadata == {"order": 5, "smtpx_intended_to": intended}
    read = parsed(result.content)
    assert read["To"] == "dev@example.org, ops@example.org"
    assert read["Cc"] is None
    assert read["X-Smtpx-Intended-To"].split(", ") == intended
    assert message.metadata == {"order": 5}


def test_redirect_of_many(composed):
    """A long list of intended recipients is folded."""
    result = checked(
        mail(to=[f"u{i}@example.com" for i in range(500)]), redirect_to=("dev@example.org",)
    )
    assert len(parsed(result.content)["X-Smtpx-Intended-To"].split(", ")) == 500
    assert composed(mail(to=[]), redirect_to=("dev@example.org",)) is None


def test_redirect_does_not_need_smtputf8_for_whom_it_replaces():
    """Whoever is replaced does not make the mail need SMTPUTF8."""
    result = checked(mail(to=["jörg@example.com"]), redirect_to=("dev@example.org",))
    assert not Envelope(result.sender, result.recipients, result.content).needs_smtputf8


# -- the caller's object -------------------------------------------------------


def test_the_message_is_not_changed(composed):
    """The caller's message is as it was, and composes to the same again but for what is unique."""
    message = mail(
        to=["a@example.com"], cc=["b@example.com"], bcc=["c@example.com"], headers={"X-A": "b"}
    )
    message.attach("a.txt", "ä", "text/plain")
    message.metadata = {"a": [1]}
    before = copy.deepcopy({k: v for k, v in vars(message).items() if k != "connection"})
    composed(message, redirect_to=("dev@example.org",))
    assert {k: v for k, v in vars(message).items() if k != "connection"} == before


def test_repr_holds_no_content(composed):
    """A composed mail in a traceback does not show what it says."""
    assert "secret" not in repr(composed(mail(body="secret")))


def test_line_ends_that_the_user_supplied_become_crlf():
    """A multipart that is none keeps its lines as they are; they go out as lines all the same."""
    import email.message

    from django.core.mail import EmailMessage
    from django.utils import timezone

    from django_smtpx.compose import compose
    from django_smtpx.mailer import Mailer

    broken = email.message.Message()
    broken["Content-Type"] = 'multipart/mixed; boundary="B"'
    broken.set_payload("Hi there,\nthis is no part.\r")
    message = EmailMessage("S", "B", "a@example.com", ["b@example.com"])
    message.attach("mail", broken, "message/rfc822")
    composed = compose(message, Mailer(name="m", hosts=()), timezone.now())
    assert b"Hi there,\r\nthis is no part.\r\n" in composed.content
    assert composed.content.count(b"\n") == composed.content.count(b"\r\n")
    assert composed.content.count(b"\r") == composed.content.count(b"\r\n")
