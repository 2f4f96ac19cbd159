"""What providers document."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from django_smtpx.pace import Caps, caps_for
from django_smtpx.pace.caps import DOCUMENTED


@pytest.mark.parametrize(
    ("host", "caps"),
    [
        ("gmail-smtp-in.l.google.com", Caps(5, 50)),
        ("ASPMX.L.GOOGLE.COM.", Caps(5, 50)),
        ("mta5.am0.yahoodns.net", Caps(None, 20)),
        ("mx1.mail.yahoo.co.jp", Caps(2, 20)),
        ("outlook-com.olc.protection.outlook.com", Caps(5, 50)),
        ("example-com.mail.protection.outlook.com", Caps(5, 50)),
        ("example-com.a-v1.mx.microsoft", Caps(5, 50)),
        ("mx01.mail.icloud.com", Caps(10, 5)),
        ("smtp-in.orange.fr", Caps(2, 100)),
        ("mx00.mail.com", Caps(None, 100)),
    ],
)
def test_a_documented_host(host, caps):
    """A host of a provider that documents its limits has them, in whatever case it is written."""
    assert caps_for(host) == caps


@pytest.mark.parametrize(
    "host",
    [
        "",
        ".",
        "mx.example.com",
        "google.com.example.net",
        "notgoogle.com",
        "hotmail.com",
        "192.0.2.1",
    ],
)
def test_any_other_host(host):
    """About a host that nothing is documented of, nothing is assumed."""
    assert caps_for(host) == Caps()


def test_the_strictest_counts():
    """Where two sources speak of a host, the lower number of each kind counts."""
    assert caps_for("mx1.mxge.comcast.net") == Caps(25, 1000)


def test_each_row_says_something_and_where_it_is_from():
    """A row has a number, a source, and a suffix that names hosts under a domain."""
    for row in DOCUMENTED:
        assert row.provider
        assert row.source.startswith("https://")
        assert row.suffix.startswith(".")
        assert row.suffix == row.suffix.lower()
        numbers = [number for number in (row.connections, row.messages) if number is not None]
        assert numbers
        assert all(number > 0 for number in numbers)


def test_the_rows_are_in_order_and_each_is_there_once():
    """A source says one thing about a suffix, and a reader finds a provider by its name."""
    assert len({(row.suffix, row.source) for row in DOCUMENTED}) == len(DOCUMENTED)
    names = [row.provider.casefold() for row in DOCUMENTED]
    assert names == sorted(names)


def test_the_page_shows_each_row():
    """The documentation has the same rows in the same order, each with its source."""
    page = (Path(__file__).parents[2] / "docs" / "pace.md").read_text(encoding="utf-8")
    table = page.partition("<!-- begin: providers -->")[2].partition("<!-- end: providers -->")[0]
    shown = re.findall(
        r"^\| (.+?) \| `\*(.+?)` \| (.+?) \| (.+?) \| \[.+?\]\((.+?)\) \|$", table, re.MULTILINE
    )
    assert shown == [
        (
            row.provider,
            row.suffix,
            str(row.connections or "–"),
            str(row.messages or "–"),
            row.source,
        )
        for row in DOCUMENTED
    ]
