"""How the ledger's statements are run."""

from __future__ import annotations

import pytest
from django.db import OperationalError, connection, transaction
from django.db.backends.base.features import BaseDatabaseFeatures

from django_smtpx.ledger import rows as rows_module
from django_smtpx.ledger.rows import atomically, database, patiently, storable, update_some
from django_smtpx.models import Delivery
from tests.factories import claimed, stored

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _no_pause(monkeypatch):
    monkeypatch.setattr(rows_module, "_BUSY_PAUSE", 0.0)


def busy(times, text="database is locked"):
    """Return work that the database is too busy for, so many times."""
    left = [OperationalError(text)] * times

    def work():
        if left:
            raise left.pop()
        return "done"

    return work


@pytest.mark.parametrize("text", ["database is locked", "Deadlock found", "Lock wait timeout"])
def test_busy_is_tried_again(text):
    """A database that only says that it is busy is asked again."""
    assert patiently(busy(3, text), "default") == "done"


def test_another_error_is_an_error():
    """What is wrong for good is raised at once."""
    with pytest.raises(OperationalError, match="disk"):
        patiently(busy(1, "disk full"), "default")


def test_patience_ends(monkeypatch):
    """After half a minute busy is an error too."""
    monkeypatch.setattr(rows_module, "_BUSY_FOR", -1.0)
    with pytest.raises(OperationalError):
        patiently(busy(1), "default")


def test_inside_a_transaction_it_runs_once():
    """What failed in the caller's transaction cannot be repeated alone."""
    with pytest.raises(OperationalError), transaction.atomic():
        patiently(busy(1), "default")


def test_atomically_rolls_back():
    """A transaction that fails leaves nothing."""

    def work():
        stored()
        raise OperationalError("disk full")

    with pytest.raises(OperationalError):
        atomically(work, "default")
    assert not Delivery.objects.exists()


@pytest.mark.parametrize("sliced", [True, False])
def test_update_some(monkeypatch, sliced):
    """So many rows and no more, whether or not the database can slice a subquery."""
    monkeypatch.setattr(BaseDatabaseFeatures, "allow_sliced_subqueries_with_in", sliced)
    stored(*[f"{n}@example.com" for n in range(5)])
    assert update_some(Delivery.objects.filter(lane=1), 3, lane=0) == 3
    assert Delivery.objects.filter(lane=0).count() == 3


def test_storable():
    """What databases refuse is replaced, and the rest stays as it is."""
    assert storable("Grüße ✉") == "Grüße ✉"
    assert storable("\0\ud800") == "\N{REPLACEMENT CHARACTER}?"


def test_a_row_knows_its_history():
    """What retry decides by comes from the row."""
    stored().deliveries.update(step=2, unknowns=1)
    _, (row,) = claimed()
    assert (row.history.step, row.history.unknowns) == (2, 1)
    assert row.tried_once_more().attempts == row.attempts + 1
    assert database() == "default"


def test_batches_do_not_hang_on_statistics(django_assert_num_queries):
    """Where the planner may read the subquery anew for each row, the keys are read before."""
    stored()
    reads_first = connection.features.has_select_for_update
    with django_assert_num_queries(2 if reads_first else 1) as captured:
        assert update_some(Delivery.objects.filter(lane=Delivery.Lane.READY), 10, priority=1) == 1
    update = captured[-1]["sql"]
    assert update.startswith("UPDATE")
    assert ("LIMIT" in update) == (not reads_first)
