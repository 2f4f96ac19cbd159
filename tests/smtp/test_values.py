from __future__ import annotations

import io
import os
import pickle
import socket

import pytest

from django_smtpx.smtp import errors
from django_smtpx.smtp.deadline import Deadline
from django_smtpx.smtp.envelope import DSN, Envelope
from django_smtpx.smtp.options import Credential, local_helo_name
from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.states import PHASES, TRANSITIONS, State
from django_smtpx.smtp.transcript import LIMIT, render


def test_envelope():
    """One address is one recipient, and none is an error."""
    assert Envelope("a@b", "c@d", b"").recipients == ("c@d",)
    with pytest.raises(ValueError):
        Envelope("a@b", [], b"")
    assert Envelope("a@b", ["c@d"], b"\xff").needs_8bitmime
    assert Envelope("a@b", ["\u00fc@d"], b"").needs_smtputf8


def test_envelope_content():
    """Bytes of every kind and binary files are contents; what cannot be read twice is none."""
    for given in (bytearray(b"x"), memoryview(b"x")):
        assert Envelope("a@b", ["c@d"], given).content == b"x"
    file = io.BytesIO(b"skipped\r\n\xff")
    file.seek(9)
    assert Envelope("a@b", ["c@d"], file).inspect()[:2] == (3, True)
    for wrong in ("text", io.StringIO("text"), None, 7):
        with pytest.raises(TypeError, match="bytes or a binary file"):
            Envelope("a@b", ["c@d"], wrong)
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb") as pipe, pytest.raises(TypeError, match="read twice"):
        Envelope("a@b", ["c@d"], pipe)
    os.close(writer)


def test_other_recipients():
    """The same envelope for others keeps all the rest."""
    dsn = DSN(notify=("NEVER",))
    one = Envelope("a@b", ["c@d"], b"x", ident=7, dsn=dsn, require_tls=True)
    other = one.to(["e@f", "g@h"])
    assert other == Envelope("a@b", ["e@f", "g@h"], b"x", ident=7, dsn=dsn, require_tls=True)
    assert one.recipients == ("c@d",)


@pytest.mark.parametrize(
    ("wrong", "word"),
    [
        ({"ret": "ALL"}, "ret must be"),
        ({"notify": ("success",)}, "notify holds 'success'"),
        ({"notify": ("NEVER", "DELAY")}, "stands alone"),
        ({"envid": "x" * 101}, "up to 100"),
        ({"envid": "a\nb"}, "printable"),
        ({"envid": "\u00fc"}, "ASCII"),
    ],
)
def test_bad_dsn(wrong, word):
    """What no command can say is refused where it is written."""
    with pytest.raises(ValueError, match=word):
        DSN(**wrong)


@pytest.mark.parametrize(
    ("reply", "enhanced", "text"),
    [
        (Reply(550, ("5.1.1 no", "5.1.1 user", "5.1.10 x")), "5.1.1", "no\nuser\n5.1.10 x"),
        (Reply(250, ("5.1.1 odd",)), "", "5.1.1 odd"),
        (Reply(250, ("2.0.0",)), "2.0.0", ""),
    ],
)
def test_reply(reply, enhanced, text):
    """The enhanced code counts where its class agrees, and is no part of the text then."""
    assert (reply.enhanced_code, reply.text) == (enhanced, text)
    assert str(reply).startswith(str(reply.code))


def test_helo_name(monkeypatch):
    """Without a full name an address literal is said."""
    monkeypatch.setattr(socket, "getfqdn", lambda: "mx.example")
    assert local_helo_name.__wrapped__() == "mx.example"
    monkeypatch.setattr(socket, "getfqdn", lambda: "localhost")
    monkeypatch.setattr(socket, "gethostbyname", lambda name: "192.0.2.1")
    assert local_helo_name.__wrapped__() == "[192.0.2.1]"

    def unknown(name):
        raise OSError

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    assert local_helo_name.__wrapped__() == "[127.0.0.1]"


def test_no_secret_in_repr():
    """A credential shows neither its name nor its password."""
    assert repr(Credential("user", "secret")) == "Credential()"


def test_errors_pickle():
    """Every class of error keeps its fields through pickle."""
    for cls in vars(errors).values():
        if isinstance(cls, type) and issubclass(cls, errors.SMTPError):
            error = pickle.loads(
                pickle.dumps(
                    cls(
                        "text",
                        phase="eod",
                        code=550,
                        content_sent="all",
                        tls_failure="tlsa-invalid",
                    )
                )
            )
            assert error.tls_failure == "tlsa-invalid"
            assert (type(error), error.phase, error.code, str(error)) == (cls, "eod", 550, "text")


def test_table_is_whole():
    """Every command has a phase, and every state but the ends has a way out."""
    assert set(TRANSITIONS) == set(PHASES)
    left = {state for states in TRANSITIONS.values() for state in states}
    assert left == set(State) - {State.TLS, State.CLOSED}


def test_deadline():
    """A deadline comes once."""
    assert Deadline(0).passed
    assert Deadline(0).left == 0
    assert not Deadline(60).passed


def test_transcript_is_bounded():
    """The middle of a long transcript is left out."""
    entries = [(1.0, "S:", Reply(250, ("x" * 1000, "end"))), (2.0, "-", "note")] * 100
    text = render(0.0, entries)
    assert len(text) <= LIMIT
    assert "characters left out" in text
    assert text.startswith("   1.000 S: 250-xxx")
    assert text.endswith("   2.000 - note")
