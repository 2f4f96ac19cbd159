"""What a course holds while it works."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_smtpx import ledger
from django_smtpx.delivery.holdings import Holdings
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Slot
from django_smtpx.smtp.options import Options
from tests.factories import claimed, stored

pytestmark = pytest.mark.django_db

HOSTS = (Options(host="127.0.0.1", port=25, security="none", timeout=60.0),)


def test_the_slot_outlives_a_connection_that_takes_long():
    """It is kept for that long before each; anew only where that is not so already."""
    stored()
    lease, _ = claimed()
    holdings = Holdings(Way(Mailer(name="default", hosts=())))
    assert holdings.take(ledger.now(), 1)
    assert holdings.may_connect(lease, HOSTS)
    kept = Slot.objects.get().expires_at
    assert kept - ledger.now() > timedelta(seconds=85)
    with CaptureQueriesContext(connection) as queries:
        assert holdings.may_connect(lease, HOSTS)
    assert not [query for query in queries if "UPDATE" in query["sql"]]
    lease.read_at += timedelta(seconds=11)
    assert holdings.may_connect(lease, HOSTS)
    assert Slot.objects.get().expires_at > kept


def test_a_slot_that_was_lost_is_found_lost_when_it_is_renewed():
    """There may be no connection then."""
    stored()
    lease, _ = claimed()
    holdings = Holdings(Way(Mailer(name="default", hosts=())))
    assert holdings.take(ledger.now(), 1)
    Slot.objects.update(token=None)
    assert not holdings.may_connect(lease, HOSTS)
    assert holdings.slot is None
