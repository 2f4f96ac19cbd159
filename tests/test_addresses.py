"""Addresses as envelopes carry them."""

from __future__ import annotations

from email.headerregistry import AddressHeader

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx.addresses import (
    MAX_LENGTH,
    a_labels,
    addr_spec,
    same_mailbox_key,
    simple_mailbox,
)
from tests.i18n.saying import assert_said


@pytest.mark.parametrize(
    ("text", "bare"),
    [
        ("bob@example.com", "bob@example.com"),
        ("Bob <bob@example.com>", "bob@example.com"),
        ('"Smith, Bob" <bob@example.com>', "bob@example.com"),
        ("Böb Müller <bob@example.com>", "bob@example.com"),
        ("=?utf-8?q?B=C3=B6b?= <bob@example.com>", "bob@example.com"),
        ("bob@example.com (Bob)", "bob@example.com"),
        ("<bob@example.com>", "bob@example.com"),
        ("  bob@example.com ", "bob@example.com"),
        ("b.o+b_!#$%&'*/=?^`{|}~-@example.com", "b.o+b_!#$%&'*/=?^`{|}~-@example.com"),
        ('"bob smith"@example.com', '"bob smith"@example.com'),
        ("bob@[192.0.2.1]", "bob@[192.0.2.1]"),
        ("bob@exämple.com", "bob@xn--exmple-cua.com"),
        ("Böb <bob@exämple.com>", "bob@xn--exmple-cua.com"),
        ("jörg@example.com", "jörg@example.com"),
        ("用户@例子.测试", "用户@xn--fsqu00a.xn--0zwm56d"),
        ("webmaster", "webmaster"),
        ("Site <webmaster>", "webmaster"),
        ("O'Brien@EXAMPLE.com", "O'Brien@EXAMPLE.com"),
    ],
)
def test_addr_spec(text, bare):
    """The bare address comes out of every way to write one."""
    assert addr_spec(text) == bare


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "@",
        "bob@",
        "@example.com",
        "bob@example.com, al@example.com",
        "Smith, Bob <bob@example.com>",
        "bob smith@example.com",
        "bob@exa mple.com",
        "bob@@example.com",
        "bob@example.com\n",
        "bob@example.com\r\nRCPT TO:<eve@example.com>",
        "Bob\r\nBcc: eve@example.com <bob@example.com>",
        "bob\0@example.com",
        "bob\x1b@example.com",
        "bob@exam\x7fple.com",
        "=?utf-8?q?a=0Ab?= <bob@example.com\u2028>",
        "bob@ex\udcc3mple.com",
        '"bob\tsmith"@example.com',
        "bob@" + "ä" * 80 + ".com",
        "bob@ä..com",
        "a" * MAX_LENGTH + "@example.com",
        "group: bob@example.com, al@example.com;",
        "undisclosed-recipients:;",
        "<bob@example.com",
        "None <>",
    ],
)
def test_addr_spec_refuses(text):
    """What is not one valid address is refused with a ValueError."""
    with pytest.raises(ValueError, match=r"Invalid (address|domain)") as caught:
        addr_spec(text)
    assert_said(str(caught.value))


@settings(deadline=None)
@given(st.text(max_size=40))
def test_addr_spec_never_lets_anything_break_out(text):
    """Whatever comes in, what comes out has no control character and no blank outside quotes."""
    try:
        bare = addr_spec(text)
    except ValueError as error:
        assert_said(str(error))
        return
    assert bare
    assert not any(ord(char) < 32 or 127 <= ord(char) < 160 for char in bare)
    assert not {"<", ">"} & set(bare) or bare.startswith('"')


def test_addr_spec_takes_lazy_strings():
    """An address may be anything that has a text, such as a translation."""

    class Lazy:
        def __str__(self):
            return "bob@example.com"

    assert addr_spec(Lazy()) == "bob@example.com"


def test_same_mailbox():
    """The domain is case-blind and the local part is not."""
    assert same_mailbox_key("Bob@EXAMPLE.com") == same_mailbox_key("Bob@example.COM")
    assert same_mailbox_key("Bob@example.com") != same_mailbox_key("bob@example.com")
    assert same_mailbox_key("Webmaster") == "Webmaster"


def test_a_labels():
    """A domain in ASCII stays as it is written."""
    assert a_labels("EXAMPLE.com") == "EXAMPLE.com"
    assert a_labels("straße.de") == "strasse.de"


NAME = st.text("ab Z.,:;<>()[]@\\\"'=?!é日🎉\u00a0\u2028\t\x7f\ud800", max_size=12)


@settings(deadline=None)
@given(NAME, st.sampled_from(["{} <{}>", '"{}" <{}>', "{}<{}>", " {} <{}>"]))
def test_a_mailbox_at_first_sight_is_what_the_parser_finds(name, form):
    """What is taken at first sight, the parser of the standard library reads alike and minds not."""
    text = form.format(name, "j.doe+x@a-b.example")
    found = simple_mailbox(text)
    if found is not None:
        parsed = AddressHeader.value_parser(text)
        assert not parsed.all_defects
        (mailbox,) = parsed.all_mailboxes
        assert found == (mailbox.display_name, mailbox.addr_spec)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("bob@example.com", ("", "bob@example.com")),
        ("Bob <bob@example.com>", ("Bob", "bob@example.com")),
        ('"Smith, Bob" <bob@example.com>', ("Smith, Bob", "bob@example.com")),
        ("Böb O'Brien <bob@example.com>", ("Böb O'Brien", "bob@example.com")),
        ("=?utf-8?q?B=C3=B6b?= <bob@example.com>", None),
        ("bob@exämple.com", None),
        ("A. Bob <bob@example.com>", None),
        ("a" * MAX_LENGTH + "@example.com", None),
        ("Bob <" + "a" * MAX_LENGTH + "@example.com>", None),
    ],
)
def test_a_mailbox_at_first_sight(text, found):
    """Names of words and quoted names are simple; what has to be decoded is not."""
    assert simple_mailbox(text) == found
