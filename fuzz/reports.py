"""The target of reports about mail that came back, which anybody can send."""

from __future__ import annotations

from django_smtpx import bounces

OUTCOMES = {"failed": "failed", "delayed": "deferred"}
MOST_TEXT = 4_000
MOST_NAME = 320


def reports(data: bytes) -> None:
    """A mail is a report of bounded values, each with a verdict, or it is said to be none."""
    try:
        found = bounces.read(data)
    except bounces.NotAReport as error:
        assert 0 < len(str(error)) < 200
        return
    assert bounces.read(data) == found
    assert 0 < len(found.fates) <= bounces.MOST_RECIPIENTS
    for fate in found.fates:
        check_fate(fate)


def check_fate(fate: bounces.Fate) -> None:
    """Assert what holds for what is said of any recipient."""
    assert len(fate.text) <= MOST_TEXT
    assert all(len(one) <= MOST_NAME for one in (fate.host, *fate.recipients))
    result = bounces.judged(fate, "ann@example.com")
    assert result.outcome == OUTCOMES.get(fate.action, "sent")
    assert (result.outcome == "failed") == (result.action in ("fail", "suppress"))
    assert result.category
    assert result.command == bounces.COMMAND
