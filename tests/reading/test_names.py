"""Names that files are saved under."""

from __future__ import annotations

import pytest

from django_smtpx.reading import Part, file_name, safe_name


@pytest.mark.parametrize(
    ("given", "safe"),
    [
        ("invoice 17.pdf", "invoice 17.pdf"),
        ("Grüße €.txt", "Grüße €.txt"),
        ("../../../etc/passwd", "passwd"),
        ("C:\\Windows\\evil.exe", "evil.exe"),
        ("a\r\nSet-Cookie: x=1.txt", "aSet-Cookie_ x=1.txt"),
        ('a"; filename="b.html', "a__ filename=_b.html"),
        ("invoice\u202efdp.exe", "invoicefdp.exe"),
        (".htaccess", "htaccess"),
        ("...", ""),
        ("a. . ", "a"),
        ("..", ""),
        ("", ""),
        ("/", ""),
        ("CON", "_CON"),
        ("lpt1.txt", "_lpt1.txt"),
        ("console.txt", "console.txt"),
        ("a\0b", "ab"),
        ("a%2Fb", "a_2Fb"),
        ("x" * 300 + ".pdf", "x" * 77 + ".pdf"),
        ("x" * 300, "x" * 80),
        ("a." + "x" * 300, "a." + "x" * 78),
    ],
)
def test_safe_name(given, safe):
    """A name has no path, nothing that a header or a system takes for something else, and an end."""
    assert safe_name(given) == safe


@pytest.mark.parametrize(
    ("name", "content_type", "given"),
    [
        ("a.pdf", "text/html", "a.pdf"),
        ("", "text/html", "part-3.html"),
        ("..", "image/png", "part-3.png"),
        ("", "application/x-no-such", "part-3.bin"),
    ],
)
def test_file_name(name, content_type, given):
    """A part without a name is called by its number and its type."""
    assert file_name(Part(3, content_type, 0, 0, name=name)) == given
