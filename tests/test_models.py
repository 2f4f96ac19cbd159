"""The rows themselves."""

from __future__ import annotations

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.utils import timezone

from django_smtpx import models
from django_smtpx.models import Attempt, Delivery, Message, Route, Slot, Turn
from tests.factories import stored


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say():
    """No migration is missing."""
    out = StringIO()
    call_command("makemigrations", "django_smtpx", "--check", "--dry-run", stdout=out)
    assert "No changes" in out.getvalue()


@pytest.mark.django_db
def test_content_is_there_until_it_is_purged():
    """The bytes as sent, and None once they are gone."""
    message = stored()
    assert Message.objects.get().content.startswith(b"From: ")
    message.body.delete()
    assert Message.objects.get().content is None


def test_the_enumerations_are_the_documented_ones():
    """Names that users store and compare do not change."""
    assert set(Delivery.Status.values) == {
        "queued", "sending", "deferred", "sent", "failed", "unknown", "suppressed", "cancelled",
    }  # fmt: skip
    assert set(Attempt.Outcome.values) == {"sent", "deferred", "failed", "unknown"}
    assert len(models.Category.values) == 34 + 1
    assert set(models.Action.values) == {
        "none", "retry", "next_host", "reconnect", "split", "slow", "pause", "hold", "fail", "suppress",
    }  # fmt: skip


@pytest.mark.django_db
def test_where_there_are_no_partial_indexes_whole_ones_will_do(monkeypatch):
    """No check warns of what the columns were chosen for."""
    monkeypatch.setattr(connection.features, "supports_partial_indexes", False)
    assert [index.name for index in Delivery._meta.indexes if index.condition is not None]
    for model in (Delivery, Message, Attempt):
        assert model.check(databases=["default"]) == []


def test_rows_say_what_they_are():
    """Each row has a readable name."""
    assert str(Message(subject="", message_id="<1@x>")) == "– <1@x>"
    assert str(Delivery(recipient="a@x", status="sent")) == "a@x: sent"
    assert str(Attempt(number=2, outcome="failed", category="spam")) == "2: failed (spam)"
    assert str(Route(mailer="m", domain="x.example")) == "m x.example"
    assert str(Slot(mailer="m", number=1)) == "m #1"
    assert str(Turn(name="sweep")) == "sweep"
    assert str(models.Content(pk=7)) == "7"


@pytest.mark.django_db
def test_a_claim_reads_one_index():
    """What is ready is found along an index, in the order in which it goes."""
    stored()
    ready = Delivery.objects.filter(lane=1, mailer="default", destination="")
    rows = ready.exclude(lane__lte=0).order_by("-priority", "pk")[:10]
    if connection.vendor != "sqlite":
        pytest.skip("The plan of a table of one row is told by SQLite alone.")
    plan = rows.explain()
    assert "smtpx_delivery_claim" in plan
    assert "TEMP B-TREE" not in plan


@pytest.mark.django_db
def test_rows_that_are_made_by_hand():
    """What a site's own tests name of a mail is enough: the rest is as of one that came just now."""
    before = timezone.now()
    message = Message.objects.create(mailer="default", message_id="<a@example.com>", size=3)
    delivery = Delivery.objects.create(message=message, recipient="a@example.com")
    assert before <= message.created_at <= delivery.age_from <= timezone.now()
    assert (delivery.mailer, delivery.domain) == ("default", "example.com")


@pytest.mark.django_db
@pytest.mark.parametrize("status", Delivery.Status.values)
def test_only_what_waits_is_claimed(status):
    """Also of rows that are made by hand; what they say themselves is kept."""
    message = Message.objects.create(mailer="default", message_id="<a@example.com>", size=3)
    values = {"message": message, "recipient": "a@example.com", "status": status}
    delivery = Delivery.objects.create(**values)
    assert (delivery.lane == Delivery.Lane.READY) is (status in ("queued", "deferred"))
    idle = Delivery.objects.create(**values, lane=Delivery.Lane.IDLE, mailer="b", domain="c")
    idle.save()
    assert (idle.lane, idle.mailer, idle.domain) == (Delivery.Lane.IDLE, "b", "c")
    again = Delivery.objects.get(pk=delivery.pk)
    again.mailer = ""
    again.save()
    assert again.mailer == ""
