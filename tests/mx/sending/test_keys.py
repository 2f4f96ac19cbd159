"""The published half of a DKIM key (RFC 6376 section 3.6.1)."""

from __future__ import annotations

import base64

import pytest

from django_smtpx.mx.sending import dkim, tags
from tests.mx.sending.zone import Zone

NAME = "s._domainkey.a.test"
DATA = base64.b64encode(b"key").decode()


@pytest.mark.parametrize(
    ("record", "key"),
    [
        (f"v=DKIM1; k=rsa; p={DATA}", ("rsa", b"key", False)),
        (f"p={DATA};", ("rsa", b"key", False)),
        (f"v=DKIM1; h=sha1:SHA256; s=email; t=s:y; n=a note; p={DATA[:2]} \t{DATA[2:]}", ("rsa", b"key", True)),
        (f"v=DKIM1; k=ed25519; s=*; x=unknown; p={DATA}", ("ed25519", b"key", False)),
    ],
)  # fmt: skip
def test_a_key(record, key):
    """What is not known is passed over, and blanks in the key as well."""
    found = dkim.find(Zone({NAME: {"TXT": record}}), NAME)
    assert (found.kind, found.data, found.testing) == key


@pytest.mark.parametrize(
    ("records", "why"),
    [
        ([], f"There is no TXT record at {NAME}"),
        (["p=a", "p=b"], "There are 2 TXT records"),
        ([f"v=DKIM2; p={DATA}"], "begin with v=DKIM1"),
        ([f"p={DATA}; v=DKIM1"], "begin with v=DKIM1"),
        (["v=DKIM1; k=rsa"], "no p="),
        (["v=DKIM1; p="], "revoked"),
        ([f"k=dsa; p={DATA}"], "'dsa', which nobody knows"),
        ([f"h=sha1; p={DATA}"], "does not allow sha256"),
        ([f"s=chat; p={DATA}"], "other services"),
        (["p=ab*d"], "no base64"),
        ([f"p={DATA}; p={DATA}"], "p= twice"),
        (["something else"], "the tag 'something else'"),
    ],
)
def test_what_is_no_key(records, why):
    """The text says where, and what is wrong."""
    with pytest.raises(dkim.BadKey) as caught:
        dkim.find(Zone({NAME: {"TXT": records}}), NAME)
    assert why in str(caught.value)
    assert NAME in str(caught.value)


def test_a_list_of_tags():
    """The last semicolon may be left out, and tags are told by their case."""
    assert tags.parse(" a = 1 ;b= x y;A=2;") == {"a": "1", "b": "x y", "A": "2"}
    with pytest.raises(tags.Malformed):
        tags.parse("a=1; =2")
