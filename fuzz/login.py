"""The target of the logins: a server that challenges as it likes, and one that plays along."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from django_smtpx.smtp import sasl
from django_smtpx.smtp.options import Credential
from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.sasl import scram
from fuzz.source import read

if TYPE_CHECKING:
    from fuzz.source import Choices

NAMES = tuple(
    name for name in sasl.MECHANISMS if sasl.scram_installed() or not name.startswith("SCRAM")
)
CREDENTIALS = (
    Credential("user", "pa55-word!"),
    Credential("us,er=x", "gehe\u00efm\u2026w\u00f6rt"),
    Credential("user\ud800", "pa55\udfffword"),
    Credential("u\x01ser\0", "p\0ss\x07word"),
    Credential("\u0627\u0031", "\u0627\u0031"),
    Credential("", "pa55-word!"),
    Credential("user\ud800", "pa55-word!"),
    Credential("u" * 400, "p" * 400),
)
BINDINGS = ({}, {"tls-server-end-point": b"\1" * 32}, {"tls-unique": b"", "other": b"x"})
TOKEN = "tok3n-tok3n-tok3n"  # noqa: S105 (nobody's)
ROUNDS = 6


def login(data: bytes) -> None:
    """Every mechanism comes to an end, believes nobody without proof, and tells no secret."""
    before = scram.MAX_ITERATIONS
    # Half a second of sums for one input would be most of a run.
    scram.MAX_ITERATIONS = 2 * scram.MIN_ITERATIONS
    try:
        _login(*read(data))
    finally:
        scram.MAX_ITERATIONS = before


def _login(said: bytes, choices: Choices) -> None:
    name = choices.one_of(NAMES)
    setting = sasl.Setting(
        credential=choices.one_of(CREDENTIALS),
        host="mx.example",
        port=587,
        token=TOKEN,
        bindings=choices.one_of(BINDINGS),
        downgrade_flag=choices.flag(),
    )
    try:
        mechanism = sasl.start(name, setting)
        initial = mechanism.initial()
    except (sasl.Unusable, UnicodeEncodeError) as error:
        # A caller shows the text of the first, and only that of the first.
        assert not isinstance(error, sasl.Unusable) or setting.credential.password not in str(error)
        return
    assert initial is None or isinstance(initial, bytes)
    proved = _exchange(mechanism, initial or b"", said.splitlines()[:ROUNDS], choices)
    _end(mechanism, proved)


def _exchange(
    mechanism: sasl.Mechanism, initial: bytes, lines: list[bytes], choices: Choices
) -> bool:
    """Challenge it with each line; return whether the server has shown what it knows."""
    nonce = initial.rpartition(b"r=")[2]
    rest = [b"more", b"", b"more", b"and more", b"", b"more"]
    for answers, line in enumerate([*lines, *rest]):
        act = choices.below(4)
        right = act == 3 and len(mechanism.secrets) == 2 and not mechanism.problem
        if right:
            line = b"v=" + mechanism.secrets[1].encode()  # noqa: PLW2901
        elif act != 1:
            line = line.replace(b"NONCE", nonce)  # noqa: PLW2901
        text = line.decode("utf-8", "backslashreplace")
        challenge = text if act == 1 else base64.b64encode(line).decode()
        response = mechanism.respond(challenge)
        _check_problem(mechanism)
        assert response is None or isinstance(response, bytes)
        if response is None:
            assert not right
            return False
        assert answers < 4, "it goes on and on"
        if right:
            return True
    raise AssertionError("it never comes to an end")


def _end(mechanism: sasl.Mechanism, proved: bool) -> None:  # noqa: FBT001
    believed = mechanism.believes("2.7.0 v=AAAA dj1BQUFB ok")
    if mechanism.name.startswith("SCRAM"):
        assert believed == proved
        assert believed != mechanism.impostor
    _check_problem(mechanism)
    for code in (535, 501, 504, 454):
        for text in ("", "5.7.8 channel binding", "no"):
            remedy = mechanism.remedy(Reply(code, (text,)))
            assert remedy is None or isinstance(remedy, sasl.Remedy)


def _check_problem(mechanism: sasl.Mechanism) -> None:
    assert len(mechanism.problem) < 500
    assert mechanism.problem.isprintable()
