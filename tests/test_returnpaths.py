"""Return paths with tokens: whose they are, and that nobody else makes one."""

from __future__ import annotations

from uuid import UUID, uuid4

import pytest
from django.core.mail import EmailMessage
from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx import returnpaths
from django_smtpx.compose import compose
from django_smtpx.config import secret_keys
from django_smtpx.pacing import envelope_key
from django_smtpx.returnpaths import Forged, filled, message_of, without_token
from tests.compose.conftest import MAILER, NOW

KEYS = ("current", "former")
TEMPLATE = "bounce+{uuid}@example.com"


def sent(path):
    """Return a composed message with this envelope sender."""
    message = EmailMessage("Subject", "Body", "from@example.com", ["to@example.com"])
    message.envelope_sender = path
    return compose(message, MAILER, NOW)


def test_a_message_gets_a_path_of_its_own():
    """The token is the message's, in letters that survive any server."""
    one = sent(TEMPLATE)
    local, _, domain = one.sender.partition("@")
    assert domain == "example.com"
    assert local.startswith("bounce+")
    assert len(local) == 49
    assert local == local.lower()
    assert message_of([one.sender], secret_keys()) == one.uuid
    assert message_of([one.sender.upper()], secret_keys()) == one.uuid
    assert sent(TEMPLATE).sender != one.sender


@pytest.mark.parametrize(
    "path",
    ["{uuid}@example.com", "b-{uuid}-x@example.com", "b@{uuid}.example.com", "Shop <b={uuid}@example.com>"],
)  # fmt: skip
def test_it_may_stand_anywhere(path):
    """Before, behind or instead of other characters."""
    one = sent(path)
    assert "{" not in one.sender
    assert message_of([one.sender], secret_keys()) == one.uuid


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("bounce+{id}@example.com", "the unknown placeholder {id}: use {uuid}"),
        ("bounce+{}@example.com", "the unknown placeholder {}: use {uuid}"),
        ("{uuid}+{UUID}@example.com", "the unknown placeholder {UUID}"),
        ("b" * 23 + "{uuid}@example.com", "more than 64 characters before the @"),
        ("{uuid}{uuid}@example.com", "more than 64 characters before the @"),
        ("bounce {uuid}@example.com", "Invalid address"),
    ],
)
def test_what_cannot_be_one(path, told):
    """It is a ValueError that names it."""
    with pytest.raises(ValueError, match="envelope_sender: ") as caught:
        sent(path)
    assert told in str(caught.value)


def test_longest():
    """64 characters are allowed before the @."""
    assert len(sent("b" * 22 + "{uuid}@example.com").sender.partition("@")[0]) == 64


def test_a_brace_alone_is_a_character():
    """RFC 5322 allows it in a local part."""
    assert sent("a{b@example.com").sender == "a{b@example.com"


def test_former_keys_are_believed(settings):
    """A key that was changed still finds what it has signed, as long as it is a fallback."""
    uuid = uuid4()
    path = filled(TEMPLATE, uuid, ["former"])
    assert message_of([path], KEYS) == uuid
    with pytest.raises(Forged):
        message_of([path], ["current"])
    settings.SECRET_KEY = "current"
    settings.SECRET_KEY_FALLBACKS = ["former"]
    assert secret_keys() == KEYS
    assert message_of([sent(TEMPLATE).sender], ["current"]) is not None


def test_without_a_key(settings):
    """A site without a SECRET_KEY is told so."""
    from django.core.exceptions import ImproperlyConfigured

    settings.SECRET_KEY = ""
    with pytest.raises(ImproperlyConfigured, match="SECRET_KEY"):
        secret_keys()


def test_several_addresses():
    """One good token is enough; none at all is no forgery."""
    uuid = uuid4()
    good, bad = filled(TEMPLATE, uuid, KEYS), filled(TEMPLATE, uuid, ["other"])
    assert message_of(["shop@example.com", bad, good], KEYS) == uuid
    assert message_of(["shop@example.com", "", "@"], KEYS) is None
    assert message_of([], KEYS) is None


@settings(deadline=None)
@given(st.uuids(), st.integers(0, 41), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_any_change_is_seen(uuid, at, letter):
    """A token with another letter is no token, or (of spare bits) that of the same message."""
    token = filled("{uuid}@x", uuid, KEYS).partition("@")[0]
    changed = f"{token[:at]}{letter}{token[at + 1 :]}@x"
    try:
        assert message_of([changed], KEYS) == uuid
    except Forged:
        assert letter != token[at]
    else:
        assert letter == token[at] or at == 25


def test_a_token_says_nothing_without_the_key():
    """Another salt, another key or another message make another one."""
    first, second = UUID(int=1), UUID(int=2)
    made = {filled(TEMPLATE, uuid, [key]) for uuid in (first, second) for key in KEYS}
    assert len(made) == 4
    assert len({path[7:33] for path in made}) == 2


def test_what_rests_with_a_sender_rests_for_all_its_paths():
    """A refused sender is one route, and not one for each message."""
    keys = {envelope_key(sent(TEMPLATE).sender) for _ in range(3)}
    assert keys == {"MAIL FROM <bounce+{uuid}@example.com>"}
    assert without_token("shop@example.com") == "shop@example.com"
    assert returnpaths.PLACEHOLDER in without_token(sent(TEMPLATE).sender)
