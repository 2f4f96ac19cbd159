from __future__ import annotations

import pytest

from django_smtpx.smtp.capabilities import Capabilities
from django_smtpx.smtp.reply import Reply


def test_all():
    """Keywords are case-blind, and each known one has its field."""
    able = Capabilities.from_reply(
        Reply(
            250,
            (
                "mx PIPELINING",
                "pipelining",
                "SIZE 1000",
                "8bitmime",
                "StartTLS",
                "SMTPUTF8",
                "ENHANCEDSTATUSCODES",
                "AUTH plain Login",
                "X-OTHER a b",
                "?",
                "",
                "DSN ",
                "chunking",
                "BINARYMIME",
                "REQUIRETLS",
            ),
        )
    )
    assert able.pipelining
    assert able.eight_bit_mime
    assert able.starttls
    assert able.smtputf8
    assert able.enhanced_status_codes
    assert able.size
    assert able.size_limit == 1000
    assert able.auth == ("PLAIN", "LOGIN")
    assert able.keywords["X-OTHER"] == "a b"
    assert able.dsn
    assert able.chunking
    assert able.binarymime
    assert able.requiretls


def test_first_line_is_no_keyword():
    """The line that greets is not taken for an extension."""
    assert Capabilities.from_reply(Reply(250, ("PIPELINING",))) == Capabilities(keywords={})


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (("AUTH=LOGIN",), ("LOGIN",)),
        (("AUTH=LOGIN PLAIN", "AUTH PLAIN CRAM-MD5"), ("LOGIN", "PLAIN", "CRAM-MD5")),
        (("AUTH",), ()),
    ],
)
def test_auth(lines, expected):
    """The legacy spelling counts, and several lines add up."""
    assert Capabilities.from_reply(Reply(250, ("mx", *lines))).auth == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("LIMITS RCPTMAX=100 MAILMAX=5 RCPTDOMAINMAX=1", (100, 1, 5)),
        ("limits mailmax=7", (None, None, 7)),
        ("LIMITS", (None, None, None)),
        ("LIMITS RCPTMAX=0 MAILMAX=-1 RCPTDOMAINMAX=x OTHER=5", (None, None, None)),
        ("LIMITS RCPTMAX=12345678", (None, None, None)),
    ],
)
def test_limits(value, expected):
    """A limit is a number from 1 to 999999, and anything else limits nothing (RFC 9422)."""
    able = Capabilities.from_reply(Reply(250, ("mx", value)))
    assert (able.rcpt_max, able.rcpt_domain_max, able.mail_max) == expected


@pytest.mark.parametrize("value", ["SIZE", "SIZE 0", "SIZE many", "SIZE -5", "SIZE " + "9" * 30])
def test_size_without_limit(value):
    """SIZE without a sensible number offers the parameter, and no limit."""
    able = Capabilities.from_reply(Reply(250, ("mx", value)))
    assert able.size
    assert able.size_limit is None
