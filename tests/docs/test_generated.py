"""What is written by a script is as the script would write it now."""

from __future__ import annotations

from datetime import timedelta

import pytest

from django_smtpx import ledger
from django_smtpx.ledger import suppressing
from django_smtpx.models import Delivery
from tests.docs.blocks import DOCS, script
from tests.factories import claimed, statuses, stored

Status = Delivery.Status


def test_the_table_of_states_is_the_one_that_runs():
    """The page shows the transitions as they are; ``python docs/make_states.py`` writes it."""
    text = (DOCS / "states.md").read_text(encoding="utf-8")
    assert script("make_states").page(text) == text
    assert "| BDAT LAST | RCPT | 2yz | READY |" in text


def test_what_becomes_of_a_delivery_is_what_the_code_makes_of_it():
    """Picture and table are those of ``python docs/make_deliveries.py``."""
    deliveries = script("make_deliveries")
    text = (DOCS / "delivery.md").read_text(encoding="utf-8")
    assert deliveries.page(text) == text
    assert deliveries.PICTURE.read_text(encoding="utf-8") == deliveries.picture()
    assert "| `sending` | `unknown` | nobody knows |" in text
    found = deliveries.transitions()
    assert {after for _, after in found} == set(Status.values)
    # What a person has not asked for never leaves these.
    for ended in (Status.CANCELLED, Status.SUPPRESSED, Status.FAILED):
        reasons = {why for pair, whys in found.items() if pair[0] == ended for why in whys}
        assert reasons <= deliveries.BY_PERSON


@pytest.mark.django_db
def test_what_the_ledger_writes_by_itself_is_written():
    """Each way that no pure function decides about is gone here, in the database."""
    seen = set()

    def note(before):
        (after,) = statuses()
        seen.add((before, after))
        Delivery.objects.all().delete()

    def waiting(status):
        at = ledger.now()
        stored(expires_at=at + timedelta(hours=1))
        if status == Status.DEFERRED:
            Delivery.objects.update(status=status, attempt_count=1, lane=Delivery.Lane.AGAIN)
        return at

    stored()
    note("new")
    for status in (Status.QUEUED, Status.DEFERRED):
        waiting(status)
        ledger.release(*claimed())
        note(Status.SENDING)
        assert ledger.expire(waiting(status) + timedelta(hours=2)) == 1
        note(status)
    suppressing.add("to@example.com", "asked us to stop")
    stored()
    assert ledger.set_aside_suppressed(*claimed()) == []
    note(Status.SENDING)
    written = script("make_deliveries").WRITTEN
    assert seen == {pair for pairs in written.values() for pair in pairs}


def test_the_picture_of_the_house_is_that_of_its_imports():
    """It is as ``python docs/make_house.py`` draws it, and has each room."""
    house = script("make_house")
    text = house.PICTURE.read_text(encoding="utf-8")
    assert text == house.picture()
    rooms = {room for layer in house.layers() for room in layer}
    assert all(f">{room}</text>" in text for room in rooms)
    assert ("delivery", "pacing") in house.drawn(house.imports())
