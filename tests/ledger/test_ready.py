"""What is ready, as it is seen without a claim."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger import ready
from django_smtpx.models import Delivery
from tests.factories import stored

pytestmark = pytest.mark.django_db

Lane = Delivery.Lane
HOUR = timedelta(hours=1)


def test_waiting_mailers_are_those_with_ready_mail():
    """Of the mailers that are asked about, each with something to send is named."""
    for mailer in ("b", "a", "b", "unknown"):
        stored(mailer=mailer)
    stored(mailer="later", send_at=timezone.now() + HOUR)
    stored(mailer="alone").deliveries.update(lane=Delivery.Lane.ALONE)
    names = ["a", "alone", "b", "empty", "later"]
    assert ledger.waiting_mailers(names) == ["a", "alone", "b"]


def test_ready_lanes_are_those_with_mail_of_the_way():
    """Of this mailer and destination, and of nobody else; what is due later is in none."""
    now = timezone.now()
    stored("new@example.com")
    stored("retry@example.com").deliveries.update(lane=Lane.AGAIN)
    stored("later@example.com", send_at=now + HOUR)
    stored("poison@example.com", mailer="other").deliveries.update(
        lane=Lane.ALONE, destination="example.com"
    )
    assert ledger.ready_lanes("default") == {Lane.READY, Lane.AGAIN}
    assert ledger.ready_lanes("default", "example.com") == set()
    assert ledger.ready_lanes("other", "example.com") == {Lane.ALONE}
    assert ledger.ready_lanes("nobody") == set()


def test_ready_lanes_are_put_into_words_once_for_all():
    """Whatever the mailer and the destination: there may be thousands of domains."""
    stored("a@example.com").deliveries.update(destination="7.example")
    ready._lanes_in_words.cache_clear()
    found = [ledger.ready_lanes("default", f"{number}.example") for number in range(10)]
    assert found.index({Lane.READY}) == 7
    assert ready._lanes_in_words.cache_info().currsize == 1
