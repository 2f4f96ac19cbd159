"""The statements that are written out: how many there are, and what they meet."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from queue import Queue
from uuid import uuid4

import pytest
from django.db import DataError, connection, transaction
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import statements
from django_smtpx.ledger.sql import Insert, Update
from django_smtpx.ledger.statements import all_at_once, insert_for, update_rows
from django_smtpx.models import Attempt, Delivery, Message
from tests.factories import booking, claimed, composed, statuses, stored

pytestmark = pytest.mark.django_db(transaction=True)

POSTGRES = connection.vendor == "postgresql"

LONG = f"{'a' * 400}@example.com"


def written(queries):
    """Return the statements that are not about transactions, by their first word."""
    words = [query["sql"].split()[0] for query in queries]
    return [word for word in words if word in ("WITH", "SELECT", "INSERT", "UPDATE")]


def several(count):
    """Store and claim so many mails."""
    for number in range(count):
        stored(f"{number}@example.com")
    return claimed()


def test_a_mail_is_stored_by_as_few_statements_as_can_be():
    """One on PostgreSQL, which is a transaction by itself; one a table elsewhere."""
    with CaptureQueriesContext(connection) as queries:
        message = stored("a@example.com", "b@example.com")
    expected = ["WITH"] if POSTGRES else ["INSERT"] * 3
    if connection.vendor == "mysql" and not connection.features.can_return_rows_from_bulk_insert:
        expected.insert(1, "SELECT")
    assert written(queries) == expected
    again = Message.objects.get(pk=message.pk)
    assert (again.uuid, again.content) == (message.uuid, message.content)
    assert list(again.deliveries.order_by("pk").values_list("recipient", flat=True)) == [
        "a@example.com",
        "b@example.com",
    ]


@pytest.mark.parametrize(
    "values",
    [{}, {"priority": 3, "require_tls": True, "tags": ["a"], "metadata": {"b": "'%s'"}}],
    ids=["as usual", "nothing as usual"],
)
def test_a_mail_that_is_stored_alone_has_the_rows_of_one_among_others(values):
    """What is not said in its statement, and what is, comes to the same."""
    later = timezone.now() + timedelta(hours=1)
    own = {"send_at": later, "expires_at": later + timedelta(hours=1)} if values else {}
    mails = [composed(("a@example.com", "postmaster"), **values, **own) for _ in range(3)]
    alone = ledger.store([("default", mails[0])])
    among = ledger.store([("default", mail) for mail in mails[1:]])
    differs = {"id", "message", "uuid", "content", "message_id", "subject", "created_at", "data"}
    differs |= set() if own else {"age_from", "next_attempt_at", "delay_notice_at"}

    def rows_of(message):
        message.refresh_from_db()
        rows = (message, message.body, *message.deliveries.order_by("pk"))
        fields = [(row, one.name) for row in rows for one in row._meta.fields]
        return [(name, getattr(row, name)) for row, name in fields if name not in differs]

    assert rows_of(alone[0].message) == rows_of(among[0].message)


def test_a_stored_message_is_the_row_that_it_was_stored_as():
    """Whatever way it was stored, what the caller gets can be read, changed and saved."""
    message = stored(tags=["a"], metadata={"b": [1]}, priority=3)
    assert not message._state.adding
    message.subject = "changed"
    message.save()
    again = Message.objects.get()
    assert (again.subject, again.tags, again.metadata) == ("changed", ["a"], {"b": [1]})
    assert message.body.pk == message.pk


@pytest.mark.parametrize("recipients", [(LONG,), ("a@example.com", LONG)])
def test_what_is_too_long_for_its_column_is_never_cut(recipients):
    """A database that minds it refuses the mail as a whole."""
    try:
        message = stored(*recipients, sender=LONG)
    except DataError:
        assert not Message.objects.exists()
    else:
        assert message.envelope_sender == LONG
        kept = message.deliveries.order_by("pk").values_list("recipient", flat=True)
        assert tuple(kept) == recipients
        assert Message.objects.get().envelope_sender == LONG


def test_outcomes_and_marks_are_written_by_as_few_statements_as_can_be():
    """One on PostgreSQL; elsewhere one for each table, and one for the marks."""
    lease, rows = several(4)
    with CaptureQueriesContext(connection) as queries:
        done = ledger.settle_and_mark(lease, [booking(row) for row in rows[:2]], rows[2:])
    assert done == (2, True)
    assert written(queries) == (["WITH"] if POSTGRES else ["UPDATE", "INSERT", "UPDATE", "UPDATE"])
    assert statuses() == ["sent", "sent", "sending", "sending"]
    marked = Delivery.objects.order_by("pk").values_list("marked", flat=True)
    assert list(marked) == [False, False, True, True]
    assert Message.objects.filter(settled_at=None).count() == 2
    assert sorted(Attempt.objects.values_list("delivery", "number")) == [
        (row.pk, 1) for row in rows[:2]
    ]


def test_outcomes_that_differ_are_all_written():
    """What is not alike takes a few statements more."""
    lease, rows = several(3)
    outcomes = [booking(rows[0]), booking(rows[1], "failed"), booking(rows[2], "deferred")]
    assert ledger.settle(lease, outcomes) == 3
    assert statuses() == ["sent", "failed", "deferred"]
    assert Attempt.objects.count() == 3


@pytest.mark.parametrize("callers", [False, True])
def test_a_row_that_is_somebody_elses_is_left_alone_and_the_others_are_written(callers):
    """In a transaction of the caller's, too, which goes on."""
    lease, rows = several(3)
    Delivery.objects.filter(pk=rows[1].pk).update(lease_token=uuid4())
    bookings = [booking(row) for row in rows]
    if callers:
        with transaction.atomic():
            assert ledger.settle(lease, bookings) == 2
    else:
        assert ledger.settle(lease, bookings) == 2
    assert statuses() == ["sent", "sending", "sent"]
    assert sorted(Attempt.objects.values_list("delivery", flat=True)) == [rows[0].pk, rows[2].pk]
    assert Message.objects.filter(settled_at=None).count() == 1


def test_marks_that_do_not_meet_all_are_told():
    """What is known is written all the same."""
    lease, rows = several(3)
    Delivery.objects.filter(pk=rows[2].pk).update(lease_token=uuid4())
    assert ledger.settle_and_mark(lease, [booking(rows[0])], rows[1:]) == (1, False)
    assert statuses() == ["sent", "sending", "sending"]


@pytest.mark.skipif(not POSTGRES, reason="one statement that locks rows of two tables")
def test_deliveries_are_locked_before_their_messages():
    """As everybody else does it, so that nobody waits for a lock in a circle."""
    lease, rows = several(1)
    waiting = "SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event_type = 'Lock'"
    pids = Queue()

    def settle():
        with connection.cursor() as cursor:
            cursor.execute("SELECT pg_backend_pid()")
            pids.put(cursor.fetchone()[0])
        try:
            return ledger.settle(lease, [booking(rows[0])])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Delivery.objects.select_for_update().get()
            settled = pool.submit(settle)
            pid = pids.get(timeout=10)
            with connection.cursor() as cursor:
                cursor.execute(waiting, [pid])
                while not (settled.done() or cursor.fetchone()):
                    cursor.execute("SELECT pg_stat_clear_snapshot()")
                    cursor.execute(waiting, [pid])
            Message.objects.select_for_update(nowait=True).get()
        assert settled.result(timeout=10) == 1
    assert statuses() == ["sent"]


def test_a_message_with_recipients_elsewhere_is_not_finished_with_some_of_them():
    """It is settled with its last one, whoever settles that."""
    stored("a@example.com", "b@example.com")
    lease, rows = claimed()
    ledger.settle(lease, [booking(rows[0])])
    assert Message.objects.get().settled_at is None
    ledger.settle(lease, [booking(rows[1])])
    assert Message.objects.get().settled_at is not None


def test_many_rows_take_several_statements():
    """No statement has more parameters than every database takes, and none of the rows is missed."""
    lease, rows = several(1)
    key = rows[0].pk
    keys = [key, *range(10**6, 10**6 + 1000)]
    update = Update(
        model=Delivery,
        keys=keys,
        only={"lease_token": lease.token},
        values={"host": "h"},
        each={"reply": {one: str(one) for one in keys}},
        one_more="attempt_count",
    )
    insert = Insert(
        model=Attempt,
        copied={"delivery": "id", "number": "attempt_count"},
        values={
            "started_at": lease.now(),
            "duration": 0.5,
            "outcome": "sent",
            "category": "ok",
            "action": "none",
            "rule": "",
            "phase": "eod",
            "command": "DATA",
            "code": 250,
            "enhanced_code": "",
            "host": "",
            "ip": "",
            "port": None,
            "tls": "",
            "tls_verified_by": "",
            "transcript": "",
        },
        each={"reply": {one: str(one) for one in keys}},
    )
    assert all_at_once("default", update, insert, []) is None
    assert Attempt.objects.count() == 0
    assert update_rows(update, "default") == 1
    insert_for(Delivery, keys, insert, "default")
    assert Delivery.objects.get().reply == Attempt.objects.get().reply == str(key)
    assert Attempt.objects.get().number == 1


@pytest.mark.skipif(not POSTGRES, reason="elsewhere there are several statements")
@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("marked", [0, 2])
def test_words_that_are_known_get_the_same_values(monkeypatch, alike, marked):
    """Each value stands where the words that are made anew have its place."""
    lease, rows = several(5)
    outcomes = [
        booking(row)._replace(duration=0.5 if alike else 0.5 + place)
        for place, row in enumerate(rows[:3])
    ]
    asked = []
    original = statements._parameters
    monkeypatch.setattr(
        statements, "_parameters", lambda *what: asked.append(what) or original(*what)
    )
    ledger.settle_and_mark(lease, outcomes, rows[3 : 3 + marked])
    (what,) = asked
    made = statements._all_in_words(*what)
    assert original(*what) == list(made.parameters)
    assert made.sql in statements._known.values()
    assert made.sql.count("%s") == len(made.parameters)
