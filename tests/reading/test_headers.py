"""Header fields, encoded words and parameters."""

from __future__ import annotations

import pytest

from django_smtpx.reading.headers import decoded_words, fields, parameters


def test_fields():
    """Fields are unfolded, in their order, and what is no field is left out."""
    block = b"Subject: one\r\n two\r\nX-A : b:c \r\nnonsense\r\nTo: \xc3\xa9\nX-A: d\r\n"
    assert fields(block) == [
        ("Subject", "one two"),
        ("X-A", "b:c"),
        ("To", "é"),
        ("X-A", "d"),
    ]


@pytest.mark.parametrize(
    ("text", "decoded"),
    [
        ("plain", "plain"),
        ("=?utf-8?q?Gr=C3=BC=C3=9Fe?=", "Grüße"),
        ("=?UTF-8?B?R3LDvMOfZQ==?=", "Grüße"),
        ("=?utf-8?b?R3LD?= =?utf-8?b?vMOfZQ==?=", "Grüße"),
        ("a =?utf-8?q?b?= =?utf-8?q?c?= d", "a bc d"),
        ("=?utf-8?q?b?= x =?utf-8?q?c?=", "b x c"),
        ("=?iso-8859-1*de?q?=FC_=FC?=", "ü ü"),
        ("=?no-such?q?a?=", "a"),
        ("=?utf-8?b?R?=", ""),
        ("=?utf-8?q?=ZZ?=", "=ZZ"),
        ("=?utf-8?x?a?=", "=?utf-8?x?a?="),
        ("=?utf-8?q?open", "=?utf-8?q?open"),
    ],
)
def test_words(text, decoded):
    """Encoded words are decoded, neighbours as one, and what is none stays."""
    assert decoded_words(text) == decoded


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("text/plain", {}),
        ("text/plain; charset=utf-8; Format=flowed", {"charset": "utf-8", "format": "flowed"}),
        (r'a; name="x\"y;z"', {"name": 'x"y;z'}),
        ('a; name="open', {"name": "open"}),
        ('a; name="=?utf-8?q?=C3=BC?="', {"name": "ü"}),
        ("a; name*=utf-8''%C3%BC%20x", {"name": "ü x"}),
        ("a; name*0=b; name*1=c", {"name": "bc"}),
        ("a; name*1*=%C3%9F; name*0*=utf-8''%C3%BC; name*2=%", {"name": "üß%"}),
        ("a; name*=c; name*0*=utf-8''b; name*1=d; name=plain", {"name": "cd"}),
        ("a; name*=broken", {"name": "broken"}),
        ("a; =x; ; b", {}),
        ("a; b=1; b=2", {"b": "1"}),
    ],
)
def test_parameters(value, found):
    """Parameters are read as senders write them, and nothing about them raises."""
    assert parameters(value) == found


def test_many_parameters():
    """A hundred parameters are read, and no more."""
    assert len(parameters("a" + "".join(f"; p{number}=x" for number in range(1000)))) == 100
