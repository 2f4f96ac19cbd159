"""The cursors of the ledger's own statements: what is prepared with psycopg, and what never is."""

from __future__ import annotations

import pytest
from django.db import DatabaseError, connection, transaction
from django.test.utils import CaptureQueriesContext

from django_smtpx import ledger
from django_smtpx.ledger import cursors
from django_smtpx.ledger.cursors import RUNS_BEFORE
from tests.factories import booking, claimed, composed, statuses, stored

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(
        connection.vendor != "postgresql" or cursors._binding() is None,
        reason="only psycopg 3 prepares statements",
    ),
]


@pytest.fixture(autouse=True)
def _own_connection():
    connection.close()
    connection.ensure_connection()
    yield
    connection.close()


def prepared():
    """Return how the statements begin that this connection has prepared."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements")
        return sorted(" ".join(statement.split()[:2]) for (statement,) in cursor.fetchall())


def test_a_connection_that_stores_again_and_again_prepares_that():
    """Not before it is seen to be kept; then it is read and planned once."""
    for _ in range(RUNS_BEFORE + 1):
        stored()
    assert prepared() == []
    messages = [stored(f"{number}@example.com") for number in range(3)]
    assert prepared() == ["WITH parent"]
    assert len({message.pk for message in messages}) == 3


@pytest.mark.parametrize("commits", [True, False])
def test_a_prepared_statement_shares_the_fate_of_the_callers_transaction(commits):
    """And is there for the next one, whatever became of it."""
    for _ in range(RUNS_BEFORE + 2):
        stored()
    before = len(statuses())
    with transaction.atomic():
        stored()
        transaction.set_rollback(not commits)
    assert len(statuses()) == before + commits
    stored()
    assert len(statuses()) == before + commits + 1
    assert prepared() == ["WITH parent"]


def test_behind_a_pooler_nothing_is_prepared(monkeypatch):
    """It is known by the process that it says it is, which is not the one that answers."""
    monkeypatch.setattr(cursors, "is_direct", lambda raw: False)
    for _ in range(RUNS_BEFORE + 5):
        stored()
    assert prepared() == []


def test_a_connection_to_the_server_itself_is_known():
    """The server says the same of itself however it is asked; a failed transaction says nothing."""
    raw = connection.connection
    assert cursors.is_direct(raw)
    with pytest.raises(DatabaseError), transaction.atomic():
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT nonsense")
        finally:
            assert not cursors.is_direct(raw)


@pytest.mark.parametrize("in_transaction", [True, False])
@pytest.mark.parametrize("words", ["DISCARD ALL", "DEALLOCATE ALL"])
def test_a_server_that_was_told_to_forget(in_transaction, words):
    """Nothing is lost by it: the mail is stored, and no more is prepared on that connection."""
    for _ in range(RUNS_BEFORE + 2):
        stored()
    assert prepared() == ["WITH parent"]
    with connection.cursor() as cursor:
        cursor.execute(words)
    before = len(statuses())
    if in_transaction:
        with transaction.atomic():
            stored()
            stored()
    else:
        stored()
        stored()
    assert len(statuses()) == before + 2
    assert prepared() == []


def test_the_sites_no_is_heard(monkeypatch):
    """Where it switches preparing off by name."""
    options = {**connection.settings_dict["OPTIONS"], "prepare_threshold": None}
    monkeypatch.setitem(connection.settings_dict, "OPTIONS", options)
    for _ in range(RUNS_BEFORE + 5):
        stored()
    assert prepared() == []


def test_a_transaction_that_is_committed_by_hand():
    """There is no savepoint that a forgotten statement could go back to: none is prepared."""
    connection.set_autocommit(False)
    for _ in range(RUNS_BEFORE + 5):
        stored()
    assert prepared() == []
    connection.rollback()
    connection.set_autocommit(True)


def test_what_looks_for_rows_is_never_prepared():
    """Though the site lets the driver do so: a plan for an empty table would be kept."""
    connection.connection.prepare_threshold = 0
    for _ in range(3):
        for number in range(4):
            stored(f"{number}@example.com")
        assert ledger.ready_lanes("default")
        lease, rows = claimed()
        assert len(ledger.contents(rows)) == 4
        assert ledger.mark(lease, rows[:2])
        assert ledger.settle_and_mark(lease, [booking(row) for row in rows[:2]], rows[2:])[1]
        assert ledger.settle(lease, [booking(row) for row in rows[2:]]) == 2
    own = [one for one in prepared() if one.startswith(("WITH", "UPDATE", "SELECT (SELECT"))]
    assert own == ["WITH parent"]


def test_what_django_writes_down_has_words():
    """Though the connection has prepared the statement before: with ``DEBUG`` somebody reads them."""
    for _ in range(RUNS_BEFORE + 2):
        stored()
    assert prepared() == ["WITH parent"]
    with CaptureQueriesContext(connection) as queries:
        stored("one@example.com")
    (words,) = [query["sql"] for query in queries]
    assert words.startswith("WITH")
    assert "one@example.com" in words or "$1" in words


def test_a_mail_to_many_is_not_prepared():
    """There may not be another with as many recipients soon."""
    many = tuple(f"{number}@example.com" for number in range(20))
    for _ in range(RUNS_BEFORE + 5):
        ledger.store([("default", composed(many))])
    assert prepared() == []
