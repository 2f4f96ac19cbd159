"""What a message asks for through its attributes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import IntEnum
from types import SimpleNamespace

import pytest
from django.utils.translation import gettext_lazy
from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx.compose import wishes
from django_smtpx.mailer import Mailer
from django_smtpx.smtp.options import Options, Security
from tests.compose.conftest import NOW

HOUR = timedelta(hours=1)


def server(security, *, verify=True):
    """Return a server's options."""
    return Options(host="mx.example", port=587, security=security, verify=verify)


def read(*, mode="queue", security=Security.STARTTLS, **attributes):
    """Return the wishes of a message with some attributes."""
    mailer = Mailer(name="default", hosts=(server(security),), mode=mode)
    return wishes.read(SimpleNamespace(**attributes), mailer, now=NOW)


NOTHING = {
    "priority": 0, "send_at": None, "expires_at": None, "tags": [], "metadata": {},
    "idempotency_key": None, "mailer": None, "require_tls": False,
}  # fmt: skip


def test_no_wishes():
    """A message without attributes asks for nothing, and None is no wish."""
    assert read() == NOTHING
    assert read(**dict.fromkeys(NOTHING)) == NOTHING
    assert read(require_tls=False, mode="now") == NOTHING


def test_all_wishes():
    """What is asked for comes out under the same names."""
    wished = {
        "priority": -5, "send_at": NOW + HOUR, "expires_at": NOW + 2 * HOUR, "tags": ["a", "é"],
        "metadata": {"a": [1, 2.5, None, True, {"b": "c"}]}, "idempotency_key": "k" * 255, "mailer": "direct",
        "require_tls": True,
    }  # fmt: skip
    assert read(**wished) == wished


@pytest.mark.parametrize(
    ("attributes", "word"),
    [
        ({"send_at": NOW.replace(tzinfo=None)}, "time zone"),
        ({"send_at": "2026-11-22"}, "datetime"),
        ({"send_at": NOW.date()}, "datetime"),
        ({"send_at": 5}, "datetime"),
        ({"expires_at": NOW.replace(tzinfo=None) + HOUR}, "time zone"),
        ({"expires_at": HOUR}, "datetime"),
        ({"expires_at": NOW}, "passed"),
        ({"expires_at": NOW - HOUR}, "passed"),
        ({"send_at": NOW + HOUR, "expires_at": NOW + HOUR}, "not before"),
        ({"send_at": NOW + 2 * HOUR, "expires_at": NOW + HOUR}, "not before"),
        ({"send_at": NOW + HOUR, "mode": "now"}, "mode='now'"),
        ({"send_at": NOW - HOUR, "mode": "now"}, "mode='now'"),
        *[({"priority": bad}, "priority") for bad in (True, "1", 1.0, 2**31, -(2**31) - 1)],
        *[({"tags": bad}, "tags") for bad in ("news", {"a"}, [1], [None], ["a\0"], ["\ud800"])],
        *[({"metadata": bad}, "metadata") for bad in ([], "x", [("a", 1)], {1: 2}, {None: 1}, {"a": {1: 2}})],
        *[({"metadata": {"a": bad}}, "metadata") for bad in (b"", NOW, float("nan"), float("inf"), {"s"}, object(), "\0", "\ud800")],
        *[({"idempotency_key": bad}, "idempotency_key") for bad in ("", "k" * 256, 5, b"k", "k\0", "\ud800")],
        *[({"mailer": bad}, "mailer") for bad in ("", 5, b"direct")],
        ({"require_tls": True, "security": Security.NONE}, "verifies no certificate"),
        ({"require_tls": True, "security": Security.OPPORTUNISTIC}, "security to 'starttls'"),
        ({"require_tls": 1}, "require_tls must be"),
        ({"require_tls": "no"}, "require_tls must be"),
    ],
)  # fmt: skip
def test_refused(attributes, word):
    """A wish that cannot be granted is a ValueError that names the attribute."""
    with pytest.raises(ValueError, match=word) as caught:
        read(**attributes)
    assert next(iter(attributes)) in str(caught.value)


def test_other_time_zones():
    """Moments are compared as moments, wherever they were told."""
    east = timezone(timedelta(hours=9))
    soon = (NOW + HOUR).astimezone(east)
    assert read(send_at=NOW.astimezone(east), expires_at=soon)["expires_at"] == NOW + HOUR
    assert read(send_at=datetime(2020, 1, 1, tzinfo=UTC))["send_at"].year == 2020


def test_metadata_are_a_copy():
    """What the caller does to the metadata afterwards changes nothing."""
    metadata = {"a": [1], "t": (1, 2), "lazy": gettext_lazy("word")}
    wished = read(metadata=metadata)["metadata"]
    metadata["a"].append(2)
    assert wished == {"a": [1], "t": [1, 2], "lazy": "word"}


def test_metadata_that_never_end():
    """Metadata that hold themselves are refused."""
    endless: dict = {}
    endless["a"] = endless
    with pytest.raises(ValueError, match="metadata"):
        read(metadata=endless)


def test_an_enum_is_its_value():
    """A priority may be an enumeration of numbers."""

    class Priority(IntEnum):
        HIGH = 10

    assert read(priority=Priority.HIGH)["priority"] == 10


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0")),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("ab\\u0", max_size=4), inner),
)  # fmt: skip


@settings(deadline=None, max_examples=60)
@given(st.dictionaries(st.text("ab\\u0", max_size=6), JSON))
def test_all_json_objects_are_metadata(metadata):
    """Every JSON object comes through as it is."""
    assert read(metadata=metadata)["metadata"] == metadata


def test_one_verified_host_is_enough_for_require_tls():
    """Another host of the mailer may be able to take what one cannot."""
    hosts = (server(Security.NONE), server(Security.STARTTLS, verify=False))
    for more, able in [((), False), ((server(Security.IMPLICIT),), True)]:
        mailer = Mailer(name="default", hosts=hosts + more)
        if able:
            wished = wishes.read(SimpleNamespace(require_tls=True), mailer, now=NOW)
            assert wished["require_tls"]
        else:
            with pytest.raises(ValueError, match="verify=True"):
                wishes.read(SimpleNamespace(require_tls=True), mailer, now=NOW)
