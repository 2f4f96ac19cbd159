"""What came of a run, as the signals tell it."""

from __future__ import annotations

import threading

import pytest

from django_smtpx import signals
from django_smtpx.management.tally import Tally
from django_smtpx.models import Attempt, Delivery

pytestmark = pytest.mark.django_db(transaction=True)


def tell(outcome, category="ok"):
    """Tell of an outcome as the ledger does."""
    signals.tell_outcome(Delivery(category=category), Attempt(outcome=outcome))


def test_counts_by_outcome_and_category():
    """Outcomes come in their order, and the most frequent category first."""
    told = []
    with Tally(("default",), lambda: told.append(1)) as tally:
        tell("failed", "spam")
        tell("deferred", "greylisted")
        tell("failed", "mailbox_unknown")
        tell("failed", "mailbox_unknown")
        tell("sent")
        tell("unknown", "unknown_outcome")
    tell("sent")
    assert tally.rows() == [
        ("sent", "ok", 1),
        ("deferred", "greylisted", 1),
        ("failed", "mailbox unknown", 2),
        ("failed", "taken for spam", 1),
        ("unknown", "unknown outcome", 1),
    ]
    assert len(told) == 6


def test_other_threads_are_not_counted():
    """What another thread of the process delivers meanwhile is not this run's."""
    with Tally((), lambda: None) as tally:
        thread = threading.Thread(target=tell, args=("sent",))
        thread.start()
        thread.join()
    assert tally.rows() == []


def test_a_category_of_a_later_version():
    """A category that is not known here is shown as it is."""
    with Tally((), lambda: None) as tally:
        tell("failed", "martian")
    assert tally.rows() == [("failed", "martian", 1)]
