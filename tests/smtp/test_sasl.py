from __future__ import annotations

import sys

import pytest

from django_smtpx.smtp import Client, sasl
from django_smtpx.smtp.options import Credential
from tests.smtp.talk import LOGIN

BINDINGS = {"tls-server-end-point": b"hash"}
BEARER = Credential("user", token=str)
EVERY = [*reversed(sasl.MECHANISMS), "GSSAPI"]


def start(name, credential=LOGIN):
    """Return a mechanism for a credential."""
    return sasl.start(name, sasl.Setting(credential=credential))


def test_plain():
    """PLAIN says all at once, once more to a server that did not listen, and no third time."""
    plain = start("PLAIN")
    assert plain.initial() == b"\0user\0pa55-word!"
    assert plain.respond("") == b"\0user\0pa55-word!"
    assert plain.respond("") is None
    assert "more than there is" in plain.problem


@pytest.mark.parametrize("prompt", ["VXNlcm5hbWU6", "", "Username:", "%%%"])
def test_login(prompt):
    """LOGIN's prompts are not interpreted."""
    login = start("LOGIN")
    assert login.initial() is None
    assert [login.respond(prompt) for _ in range(3)] == [b"user", b"pa55-word!", None]


@pytest.mark.parametrize(
    ("offered", "allowed", "credential", "expected"),
    [
        (["LOGIN", "PLAIN"], (), LOGIN, "PLAIN"),
        (["LOGIN", "PLAIN"], ("login", "plain"), LOGIN, "LOGIN"),
        (["LOGIN"], (), LOGIN, "LOGIN"),
        (["LOGIN", "CRAM-MD5"], (), LOGIN, "CRAM-MD5"),
        ([], (), LOGIN, None),
        (["PLAIN"], ("LOGIN",), LOGIN, None),
        (["X"], ("X",), LOGIN, None),
        (EVERY, (), LOGIN, "SCRAM-SHA-512-PLUS"),
        (EVERY, (), BEARER, "OAUTHBEARER"),
        (["XOAUTH2", "PLAIN"], (), BEARER, "XOAUTH2"),
        (["PLAIN"], ("PLAIN", "XOAUTH2"), BEARER, None),
        (["XOAUTH2"], ("PLAIN", "XOAUTH2"), LOGIN, None),
        (["EXTERNAL"], (), LOGIN, None),
        (EVERY, ("EXTERNAL",), LOGIN, "EXTERNAL"),
        (EVERY, ("PLAIN", "EXTERNAL"), Credential(""), "EXTERNAL"),
    ],
)
def test_choose(offered, allowed, credential, expected):
    """The caller's order decides, among what both sides have and the credential fits."""
    name = sasl.choose(offered, allowed, credential, bindings=lambda: BINDINGS)
    assert name == expected


def test_choose_without_a_binding():
    """Without a binding there is no -PLUS; it is not looked for where no -PLUS is offered."""
    assert sasl.choose(EVERY, (), LOGIN, bindings=dict) == "SCRAM-SHA-512"
    assert sasl.choose(["PLAIN"], (), LOGIN, bindings=lambda: 1 / 0) == "PLAIN"


def test_the_order():
    """The order of "auto": what shows no password first, bound to the channel before all."""
    order = []
    while name := sasl.choose(EVERY, (), LOGIN, bindings=lambda: BINDINGS, passed_over=order):
        order.append(name)
    assert order == list(sasl.PASSWORD) == [
        *(f"SCRAM-SHA-{size}-PLUS" for size in ("512", "256", "1")),
        *(f"SCRAM-SHA-{size}" for size in ("512", "256", "1")),
        "CRAM-MD5", "PLAIN", "LOGIN",
    ]  # fmt: skip


def test_without_scramp(monkeypatch):
    """Without scramp "auto" passes SCRAM over, and says so where nothing is left; a name is an
    error at once.
    """
    monkeypatch.setitem(sys.modules, "scramp", None)
    assert sasl.choose(EVERY, (), LOGIN, bindings=lambda: BINDINGS) == "CRAM-MD5"
    assert sasl.needs_scramp(["SCRAM-SHA-1"], (), LOGIN)
    assert not sasl.needs_scramp(["PLAIN"], (), LOGIN)
    assert not sasl.needs_scramp(["SCRAM-SHA-1"], (), BEARER)
    with pytest.raises(ValueError, match=r"pip install 'django-smtpx\[scram\]'"):
        Client("mx.example", username="u", password="p", auth=["scram-sha-256"])


def test_auth_argument():
    """The client takes "auto", one name, or several, in any case."""
    for given, meant in (("auto", ()), ("plain", ("PLAIN",)), (["login"], ("LOGIN",)), ((), ())):
        assert Client("mx.example", auth=given).options.auth == meant


def test_nothing_in_a_repr():
    """No repr shows a secret."""
    setting = sasl.Setting(credential=LOGIN, token="t0ken", bindings=BINDINGS)
    assert not [s for s in ("user", "pa55", "t0ken", "hash") if s in repr(setting)]
