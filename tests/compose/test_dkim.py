"""Signatures: what they cover, that they hold over what a server receives, and that no key shows."""

from __future__ import annotations

import base64
import copy
import hashlib
import pickle
import re
import traceback
import tracemalloc

import dkim as dkimpy
import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives
from dkim.canonicalization import Relaxed
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_smtpx.compose import compose, dkim
from django_smtpx.config import signing
from django_smtpx.mailer import DKIMKey, Mailer
from django_smtpx.models import Message
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import ScriptedServer, deliver, real_queue
from tests.compose.conftest import HOSTS, NOW, WAYS, way
from tests.signing import (
    ed25519_key,
    ed25519_option,
    relaxed_body,
    rsa_key,
    rsa_option,
    verified,
    verified_word_for_word,
)

BOTH = [rsa_option(), ed25519_option()]
KEYS = signing.keys("'dkim'", BOTH)
MAILER = Mailer(name="default", hosts=HOSTS, dkim=KEYS)

LONG = "Subject " + "with many words that make it longer than a line may comfortably be " * 8
PARTS = [
    "Body",
    "",
    "\n\n\n",
    ".\n..\n.dot\n",
    "blank lines behind\n\n\n\n",
    "\n\nand before",
    "blanks  within \t and behind   \nlast \t",
    "é ü 漢字 \N{GRINNING FACE}\n",
    "x" * 3000,
    "From here\n>From there\n",
]


@pytest.fixture(autouse=True)
def _close_sessions():
    yield
    default_pool.close()


def mail(subject="Subject", body="Body\n", sender="from@example.com", **more):
    """Return a message."""
    return EmailMultiAlternatives(subject, body, sender, ["to@example.com"], **more)


def signed(message, mailer=MAILER):
    """Return the bytes of a composed message."""
    return compose(message, mailer, NOW).content


def tags(content):
    """Return the tags of the topmost signature."""
    _, value = next(one for one in dkimpy.DKIM(content).headers if one[0] == b"DKIM-Signature")
    pairs = (tag.split(b"=", 1) for tag in value.split(b";"))
    return {name.strip().decode(): re.sub(rb"\s", b"", text).decode() for name, text in pairs}


@pytest.mark.parametrize("name", list(WAYS))
def test_whoever_composes_it_a_mail_is_signed(name):
    """Each key's signature is good, the first key's on top, in whatever way a mail is written."""
    with way(name):
        content = signed(mail(headers={"X-One": "1"}))
    assert verified(content) == [True, True]
    assert content.startswith(b"DKIM-Signature: v=1; a=rsa-sha256; ")
    assert content.count(b"DKIM-Signature:") == 2
    assert max(map(len, content.split(b"\r\n"))) <= 78


def test_what_a_signature_says():
    """It is relaxed/relaxed, of the time of composition, without l=, x= and i=."""
    found = tags(signed(mail()))
    assert found["c"] == "relaxed/relaxed"
    assert (found["d"], found["s"], found["a"]) == ("example.com", "r1", "rsa-sha256")
    assert int(found["t"]) == NOW.timestamp()
    assert found.keys().isdisjoint({"l", "x", "i"})


def test_what_is_signed():
    """What is there is signed as often as it is, and what nobody may add once more."""
    names = tags(
        signed(
            mail(
                cc=["cc@example.com"],
                headers={
                    "List-Unsubscribe": "<https://example.com/u>",
                    "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
                    "Sender": "s@example.com",
                    "X-Own": "1",
                },
            )
        )
    )["h"].split(":")
    for name in ("from", "to", "cc", "subject", "date", "message-id", "mime-version"):
        assert names.count(name) == 2, name
    assert names.count("content-type") == names.count("content-transfer-encoding") == 2
    # It is not there, and none may be added.
    assert names.count("reply-to") == names.count("in-reply-to") == 1
    assert names.count("sender") == names.count("list-unsubscribe") == 1
    assert names.count("list-unsubscribe-post") == 1
    assert not {"x-own", "received", "return-path", "bcc", "dkim-signature"}.intersection(names)


@pytest.mark.parametrize(
    "added",
    [b"From: evil@example.net", b"Subject: Other", b"Reply-To: evil@example.net", b"Cc: x@x.com"],
)
def test_what_is_added_breaks_it(added):
    """A second From, or a Reply-To where there was none, is found."""
    content = signed(mail())
    assert verified(added + b"\r\n" + content) == [False, False]


@pytest.mark.parametrize("name", [b"Received: from a by b", b"Sender: l@x.com", b"List-Id: <l>"])
def test_what_relays_and_lists_add_does_not(name):
    """A trace, or what a list says of itself, leaves the signatures good."""
    assert verified(name + b"\r\n" + signed(mail())) == [True, True]


def test_a_changed_body_breaks_it():
    """A text that was appended is found: there is no l=."""
    assert verified(signed(mail()) + b"Buy this.\r\n") == [False, False]


def test_it_is_signed_last():
    """What redirect_to does, and that a Bcc is gone, is what the signature is about."""
    mailer = Mailer(name="default", hosts=HOSTS, dkim=KEYS, redirect_to=("staging@example.com",))
    content = signed(mail(bcc=["secret@example.com"], headers={"TLS-Required": "No"}), mailer)
    assert b"To: staging@example.com" in content
    assert b"Bcc" not in content
    assert verified(content) == [True, True]
    assert "tls-required" in tags(content)["h"].split(":")
    assert verified(content.replace(b"staging@", b"other@")) == [False, False]


def test_a_signature_of_the_users_own_stays():
    """Ours come before it, and do not cover it."""
    theirs = "v=1; a=rsa-sha256; d=example.net; s=x; h=from; bh=; b="
    content = signed(mail(headers={"DKIM-Signature": theirs}))
    assert content.count(b"DKIM-Signature:") == 3
    assert [dkimpy.DKIM(content).verify(at, dnsfunc=_of(content)) for at in range(2)] == [True] * 2


def _of(_content):
    from tests.signing import published

    return published


def test_an_address_beyond_ascii():
    """A header in UTF-8, which SMTPUTF8 is needed for, is signed as it is."""
    assert verified(signed(mail(sender="jürgen@example.com"))) == [True, True]


def test_without_keys_nothing_changes():
    """Signing is off by default."""
    content = b"From: a@example.com\r\n\r\nBody\r\n"
    assert dkim.sign(content, (), NOW) is content


def test_a_mail_that_cannot_be_signed(monkeypatch, django_db_blocker):
    """The error names the key, and holds nothing of it; nothing was stored yet."""

    def fail(*_args, **_kwargs):
        raise RuntimeError("no entropy")

    monkeypatch.setattr(dkimpy.DKIM, "gen_header", fail)
    with pytest.raises(
        ValueError, match=r"the DKIM key r1\._domainkey\.example\.com: no entropy"
    ) as caught:
        signed(mail())
    assert caught.value.__context__ is None
    _shows_no_key(caught.value)


@pytest.mark.django_db(transaction=True)
def test_nothing_is_stored_that_could_not_be_signed(monkeypatch):
    """send() raises, in either mode, and there is no row."""
    monkeypatch.setattr(dkimpy.DKIM, "gen_header", None)
    for mode in ("queue", "now"):
        with (
            real_queue(host="127.0.0.1", port=1, dkim=BOTH, mode=mode),
            pytest.raises(ValueError, match=r"r1\._domainkey"),
        ):
            mail().send()
    assert not Message.objects.exists()


# -- keys are secrets ----------------------------------------------------------


def _shows_no_key(error):
    """Assert that a traceback with all variables has no line of a key."""
    told = "".join(traceback.TracebackException.from_exception(error, capture_locals=True).format())
    for secret in _secrets():
        assert secret not in told


def _secrets():
    numbers = rsa_key().private_numbers()
    lines = [line for one in BOTH for line in one["private_key"].splitlines() if "--" not in line]
    return [
        *lines,
        str(numbers.d),
        str(numbers.p),
        base64.b64encode(ed25519_key().private_bytes_raw()).decode(),
    ]


def test_a_key_has_no_repr_and_is_not_pickled():
    """Neither a mailer's repr nor a pickle has it, and two of the same key are the same."""
    for secret in _secrets():
        assert secret not in repr(MAILER)
        assert secret not in repr(dkim._usable(KEYS[0])) + repr(dkim._usable(KEYS[1]))
    for one in (KEYS[0], MAILER):
        with pytest.raises(TypeError, match="not pickled"):
            pickle.dumps(one)
        with pytest.raises(TypeError, match="not pickled"):
            copy.deepcopy(one)
    assert signing.keys("'dkim'", BOTH) == KEYS
    assert KEYS[0] == DKIMKey("example.com", "r1", "rsa-sha256", KEYS[0].secret)


# -- the hash of the body ------------------------------------------------------

PIECES = st.lists(
    st.sampled_from(
        [
            b"",
            b" ",
            b"\t",
            b"a",
            b"  ",
            b"x y",
            b" \t",
            b".",
            b"end ",
            b"\x80\xff",
            b"\x0b",
            b"\x0c ",
        ]
    ),
    max_size=6,
).map(b"".join)
BODIES = st.lists(PIECES, max_size=8).map(b"\r\n".join)


def test_the_second_verifier_sees_changes():
    """What the tests verify with finds another header, another body and another signature."""
    content = signed(mail())
    assert verified_word_for_word(content) == [True, True]
    for old, new in (
        (b"Subject: Subject", b"Subject: Other"),
        (b"Body", b"Else"),
        (b" b=", b" b=AAAA"),
    ):
        assert verified_word_for_word(content.replace(old, new)) == [False, False]


@settings(deadline=None, max_examples=300)
@given(body=BODIES, block=st.integers(0, 9))
@example(body=b"", block=1)
@example(body=b"\r\n", block=1)
@example(body=b" \r\n\t\r\n", block=1)
def test_the_hash_is_that_of_dkimpy(body, block):
    """Cut anywhere, a body has the hash that dkimpy, and the RFC, have for the whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(dkim, "_BLOCK", block)
        found = dkim.hash_of_body(b"H: 1\r\n\r\n" + body, 8)
    assert found == hashlib.sha256(Relaxed.canonicalize_body(_whole(body))).digest()
    assert found == hashlib.sha256(relaxed_body(body)).digest()


def _whole(body):
    """Put an end behind: dkimpy forgets blanks behind the last line where no line end follows."""
    return body if body.endswith(b"\r\n") or not body else body + b"\r\n"


def test_a_large_mail_is_there_twice_at_most():
    """Beside what was composed there is the result, and blocks of it."""
    content = (
        b"From: a@example.com\r\n\r\n" + b"some words in a line of a large mail \r\n" * 500_000
    )
    tracemalloc.start()
    try:
        assert len(dkim.sign(content, KEYS[1:], NOW)) > len(content)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(content) * 1.3


def test_blanks_cost_no_more_than_other_bytes():
    """A line of nothing but blanks is gone through once, not once for each of them."""
    body = (b" " * 990 + b"x\r\n") * 2000
    assert dkim.hash_of_body(body, 0) == hashlib.sha256(b" x\r\n" * 2000).digest()


# -- over the wire -------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("keywords", [(), ("CHUNKING", "8BITMIME")], ids=["DATA", "BDAT"])
@pytest.mark.parametrize("mode", ["queue", "now"])
def test_what_a_server_receives_verifies(keywords, mode):
    """Dots, blank lines, long headers and all alphabets arrive under good signatures."""
    with ScriptedServer(keywords=keywords) as server:
        options = {"host": server.host, "port": server.port, "dkim": BOTH, "mode": mode}
        with real_queue(**options):
            for body in PARTS:
                mail(LONG, body).send()
                mail(
                    "Sübject",
                    body,
                    "Jürgen <from@example.com>",
                    attachments=[
                        ("ä.bin", b"\0\xff" * 90, "application/octet-stream"),
                        ("a.txt", body, "text/plain"),
                    ],
                ).send()
            if mode == "queue":
                deliver()
        received = server.wait_for(2 * len(PARTS))
    assert {one.verb for one in received} == {"BDAT" if keywords else "DATA"}
    for verify in (verified, verified_word_for_word):
        assert [verify(one.content) for one in received] == [[True, True]] * len(received)
    assert all(one.content.isascii() for one in received)


@pytest.mark.django_db(transaction=True)
def test_a_large_content_is_signed(settings, tmp_path):
    """One that is kept in a file, and read as it leaves, arrives under good signatures."""
    settings.STORAGES = {
        **settings.STORAGES,
        "mail": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": str(tmp_path)},
        },
    }
    settings.SMTPX_CONTENT_STORAGE = "mail"
    settings.SMTPX_CONTENT_INLINE_MAX = 1000
    with ScriptedServer() as server, real_queue(host=server.host, port=server.port, dkim=BOTH):
        mail(attachments=[("a.bin", bytes(range(256)) * 4000, "application/octet-stream")]).send()
        deliver()
        (received,) = server.wait_for(1, timeout=30)
    assert len(received.content) > 1_000_000
    assert verified(received.content) == [True, True]


STRANGE = st.text(
    st.characters(exclude_characters="\r\n\0", exclude_categories=("Cs",)), max_size=80
)
TEXTS = st.text(st.sampled_from("a .\t\n\r éß漢=?-\x0b\x0c\x85\u2028"), max_size=60)


@settings(deadline=None, max_examples=60)
@given(subject=STRANGE, extra=STRANGE, body=TEXTS, html=TEXTS, attached=st.binary(max_size=40))
@example(subject=" ", extra="\x0c", body=" ", html="\n", attached=b"")
@example(subject="x" * 900, extra="v=1; b=abc", body=".\n", html="", attached=b"\r\n.\r\n")
def test_strange_mail_is_signed_like_any(subject, extra, body, html, attached):
    """Whatever can be composed at all has good signatures."""
    message = mail(subject, body, headers={"In-Reply-To": "<a@b>", "Feedback-ID": extra})
    message.attach_alternative(html, "text/html")
    message.attach("a.bin", attached, "application/octet-stream")
    try:
        plain = compose(message, Mailer(name="default", hosts=HOSTS), NOW)
    except ValueError:
        return
    assert plain.recipients == ("to@example.com",)
    assert verified(signed(message)) == [True, True]


def test_a_part_that_the_user_gave_in_eight_bits_stays_as_it_is():
    """It is signed over the bytes that leave; a relay may then not encode it anew."""
    from email.mime.base import MIMEBase

    part = MIMEBase("application", "octet-stream")
    part.set_payload("é".encode().decode("ascii", "surrogateescape"))
    part["Content-Transfer-Encoding"] = "8bit"
    message = EmailMessage("Subject", "Body", "from@example.com", ["to@example.com"])
    message.attachments.append(part)
    content = signed(message)
    assert not content.isascii()
    assert verified(content) == [True, True]
