from __future__ import annotations

import pytest

from django_smtpx.smtp import sasl
from tests.smtp.talk import LOGIN


def test_plain():
    """PLAIN says all at once, once more to a server that did not listen, and no third time."""
    plain = sasl.Plain(LOGIN)
    assert plain.initial() == b"\0user\0pa55-word!"
    assert plain.respond("") == b"\0user\0pa55-word!"
    assert plain.respond("") is None


@pytest.mark.parametrize("prompt", ["VXNlcm5hbWU6", "", "Username:", "%%%"])
def test_login(prompt):
    """LOGIN's prompts are not interpreted."""
    login = sasl.Login(LOGIN)
    assert login.initial() is None
    assert [login.respond(prompt) for _ in range(3)] == [b"user", b"pa55-word!", None]


@pytest.mark.parametrize(
    ("offered", "allowed", "expected"),
    [
        (["LOGIN", "PLAIN"], (), "PLAIN"),
        (["LOGIN", "PLAIN"], ("login", "plain"), "LOGIN"),
        (["LOGIN"], (), "LOGIN"),
        (["CRAM-MD5"], (), None),
        ([], (), None),
        (["PLAIN"], ("LOGIN",), None),
        (["X"], ("X",), None),
    ],
)
def test_choose(offered, allowed, expected):
    """The caller's order decides, among what both sides have."""
    mechanism = sasl.choose(offered, allowed, LOGIN)
    assert (mechanism.name if mechanism else None) == expected
