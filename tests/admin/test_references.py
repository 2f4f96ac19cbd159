"""Where codes and rules are documented."""

from __future__ import annotations

import re
from dataclasses import replace
from urllib.parse import urlsplit

import pytest

from django_smtpx.admin import references
from django_smtpx.smtp.rules.table import RULES

RFC = re.compile(r"https://www\.rfc-editor\.org/rfc/rfc\d{3,5}\.html(#section-\d+(\.\d+)*)?")


def is_good(reference):
    """Say whether a reference leads to a page over HTTPS, without anything odd in it."""
    parts = urlsplit(reference.url)
    plain = not (parts.username or parts.password or parts.port)
    return (
        parts.scheme == "https"
        and "." in (parts.hostname or "")
        and plain
        and not re.search(r"[\s\"'<>`{}|\\^]", reference.url)
    )


@pytest.mark.parametrize(
    ("code", "url"),
    [
        (550, "https://www.rfc-editor.org/rfc/rfc5321.html#section-4.2.3"),
        (421, "https://www.rfc-editor.org/rfc/rfc5321.html#section-4.2.3"),
        (571, "https://www.rfc-editor.org/rfc/rfc5321.html#section-4.2.1"),
        (535, "https://www.rfc-editor.org/rfc/rfc4954.html#section-6"),
        (556, "https://www.rfc-editor.org/rfc/rfc7504.html#section-4"),
    ],
)
def test_codes(code, url):
    """A code leads to where its meaning stands, one that no RFC has to that of its digits."""
    assert references.for_code(code).url == url


@pytest.mark.parametrize(
    ("code", "title"),
    [
        ("5.1.1", "RFC 3463 section 3.2"),
        ("4.0.0", "RFC 3463 section 3.1"),
        ("4.2.2", "RFC 3463 section 3.3"),
        ("5.7.1", "RFC 3463 section 3.8"),
        ("5.7.8", "RFC 4954 section 6"),
        ("5.7.26", "RFC 7372 section 3.4"),
        ("5.7.27", "RFC 7505 section 4.1"),
        ("5.1.10", "RFC 7505 section 4.2"),
        ("5.7.133", "IANA"),
        ("5.4.316", "IANA"),
        ("5.9.1", "IANA"),
    ],
)
def test_enhanced_codes(code, title):
    """An enhanced code leads to its definition, and to the registry where it came later."""
    assert references.for_enhanced_code(code).title == title


@pytest.mark.parametrize("code", ["", "550", "5.1", "3.1.1", "5.1.1.1", "x"])
def test_what_is_no_code(code):
    """What is no enhanced code leads nowhere."""
    assert references.for_enhanced_code(code) is None


def test_no_code():
    """No reply, no reference."""
    assert references.for_code(None) is None


def test_every_reference_is_a_good_address():
    """Each rule that has one leads to a page over HTTPS, most do, and RFCs to their sections."""
    found = {rule.id: references.for_rule(rule.id) for rule in RULES}
    known = [reference for reference in found.values() if reference is not None]
    assert len(known) > 0.9 * len(found)
    codes = [references.for_code(code) for code in range(400, 600)]
    details = [
        references.for_enhanced_code(f"5.{subject}.{detail}")
        for subject in range(10)
        for detail in range(40)
    ]
    for reference in (*known, *codes, *details):
        assert is_good(reference), reference
        assert not reference.title.startswith("RFC") or RFC.fullmatch(reference.url), reference


def test_the_sites_own_rules():
    """A rule of the site's own comes first, and leads only where nobody on the way can write."""
    own = replace(RULES[0], id="house-rule", source="https://wiki.example.com/mail")
    assert references.for_rule("house-rule", [own]).title == "wiki.example.com"
    for source in ("http://wiki.example.com/", "javascript:alert(1)", "the wiki", "https://"):
        assert references.for_rule("house-rule", [replace(own, source=source)]) is None
    assert references.for_rule("nobody-knows") is None
