from __future__ import annotations

import pytest

from django_smtpx.smtp import names


@pytest.mark.parametrize(
    ("name", "reference", "expected"),
    [
        ("mx.example.com", "mx.example.com", True),
        ("MX.Example.COM", "mx.example.com", True),
        ("mx.example.com.", "mx.example.com", True),
        ("mx.example.com", "MX.example.com.", True),
        ("mx.example.com", "example.com", False),
        ("example.com", "mx.example.com", False),
        ("mx.example.com\0.evil.example", "mx.example.com", False),
        ("*.example.com", "mx.example.com", True),
        ("*.example.com", "*.example.com", True),
        ("*.example.com", "xn--mx-xka.example.com", True),
        ("*.example.com", "example.com", False),
        ("*.example.com", "a.mx.example.com", False),
        ("*.example.com", ".example.com", False),
        ("m*.example.com", "mx.example.com", False),
        ("*x.example.com", "mx.example.com", False),
        ("mx.*.com", "mx.example.com", False),
        ("*.*.com", "mx.example.com", False),
        ("*.com", "example.com", False),
        ("*", "localhost", False),
        ("localhost", "localhost", True),
        ("", "", False),
        (".", ".", False),
        ("", "mx", False),
        ("mx..com", "mx..com", False),
        ("mx.ex\u00e4mple.com", "mx.ex\u00e4mple.com", False),
        ("mx.example.com", "mx.\u212aexample.com", False),
    ],
)
def test_matches(name, reference, expected):
    """A name stands for itself, and a wildcard for one label at the front (RFC 9525)."""
    assert names.matches(name, reference) is expected


@pytest.mark.parametrize(
    ("references", "expected"),
    [
        (["mx.example.com"], True),
        (["a.example", "mx.example.com"], True),
        (["a.example"], False),
        (["192.0.2.1"], True),
        (["2001:DB8:0::1"], True),
        (["192.0.2.2"], False),
        (["192.0.2.3"], False),
        ([], False),
    ],
)
def test_is_for(references, expected):
    """One name is enough; an address has to stand there as an address."""
    dns = ["mx.example.com", "192.0.2.3"]
    ips = ["192.0.2.1", "2001:db8::1\n", "strange"]
    assert names.is_for(dns, ips, references) is expected


@pytest.mark.parametrize(
    ("name", "parent", "expected"),
    [
        ("mx.example.com", "example.com", True),
        ("mx.example.com", ".Example.com", True),
        ("example.com", "example.com", True),
        ("*.example.com", "example.com", True),
        ("badexample.com", "example.com", False),
        ("com", "example.com", False),
        ("mx.example.com", "", True),
        ("mx.example.com", ".", True),
    ],
)
def test_is_below(name, parent, expected):
    """Whole labels count, from the end."""
    assert names.is_below(name, parent) is expected
