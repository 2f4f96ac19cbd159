from __future__ import annotations

import pytest

from django_smtpx.mx.answers import MX, Answer
from django_smtpx.smtp.errors import ResolveError


def hosts(answer):
    """Return the hosts of an answer's records."""
    return [one.host for one in answer.records]


# -- mail exchangers -----------------------------------------------------------------------------


def test_exchangers_by_preference(responder, resolver):
    """The most preferred one comes first, in lower case, and a host counts once."""
    responder.gives(
        "example.com",
        "MX",
        "20 B.example.com.",
        "10 a.example.com.",
        "30 a.example.com.",
        "20 _c-1.example.org.",
    )
    assert resolver.mx("Example.COM.") == Answer(
        name="example.com",
        canonical="example.com",
        records=(
            MX(10, "a.example.com"),
            MX(20, "_c-1.example.org"),
            MX(20, "b.example.com"),
        ),
    )


def test_null_mx(responder, resolver):
    """A domain that takes no mail says so, with whatever preference (RFC 7505 section 3)."""
    responder.gives("example.com", "MX", "0 .")
    responder.gives("example.org", "MX", "10 .")
    assert resolver.mx("example.com").records == (MX(0, ""),)
    assert resolver.mx("example.org").records == (MX(10, ""),)


def test_a_null_mx_beside_others(responder, resolver):
    """Where there are real ones, it is none."""
    responder.gives("example.com", "MX", "0 .", "10 a.example.com.")
    assert resolver.mx("example.com").records == (MX(10, "a.example.com"),)


@pytest.mark.parametrize(
    "host",
    [
        "192.0.2.1.",
        r"mail\.example.com.",
        r"ma\032il.example.com.",
        r"\000.example.com.",
        r"\195\188.example.com.",
        "-mail.example.com.",
        "mail-.example.com.",
        "*.example.com.",
        "7.",
    ],
)
def test_what_is_no_host(responder, resolver, host):
    """A record that names no host is left out; where there are no others, nobody guesses."""
    responder.gives("example.com", "MX", f"5 {host}", "10 a.example.com.")
    responder.gives("example.org", "MX", f"5 {host}")
    assert hosts(resolver.mx("example.com")) == ["a.example.com"]
    with pytest.raises(ResolveError) as caught:
        resolver.mx("example.org")
    assert "MX of example.org: no record names a host" in str(caught.value)
    assert f"5 {host[:-1]!r}" in str(caught.value)


def test_no_exchanger(responder, resolver):
    """A name without MX exists, and one that does not exist is another matter."""
    responder.gives("example.com", "MX")
    responder.gives("example.org", "MX", rcode="NXDOMAIN")
    assert resolver.mx("example.com") == Answer(name="example.com", canonical="example.com")
    assert resolver.mx("example.org") == Answer(
        name="example.org", canonical="example.org", exists=False
    )


@pytest.mark.parametrize(
    "name", ["", "a..example.com", "x" * 64 + ".com", "a." * 127 + "com", "ex ample.com", "ü.de"]
)
def test_what_cannot_be_a_name(responder, resolver, name):
    """Nothing can be called so in the DNS, and nobody is asked."""
    assert not resolver.mx(name).exists
    assert responder.asked == []
