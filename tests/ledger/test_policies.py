"""The rows of MTA-STS policies: what is kept, by whom of several, and for how long."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta

import pytest
from django.db import connection
from django.utils import timezone

from django_smtpx import ledger
from django_smtpx.ledger.policies import forget_policies
from django_smtpx.models import StoredPolicy
from django_smtpx.mx.mta_sts import Failure, Policy, Stored

pytestmark = pytest.mark.django_db
DAY = timedelta(days=1)
POLICY = Policy("example.com", "enforce", ("mx.example.com", "*.example.net"), 86400, "7")


def known(**values):
    """Return what a process has found out."""
    defaults = {
        "domain": "example.com",
        "policy": POLICY,
        "fetched_at": 1_700_000_000.25,
        "tried_id": "7",
        "tried_at": 1_700_000_000.25,
        "next_try": 1_700_000_300.25,
    }
    return Stored(**{**defaults, **values})


@pytest.mark.parametrize(
    "stored",
    [
        known(),
        known(policy=Policy("example.com", "none", (), 0, "8")),
        known(policy=None, fetched_at=0.0, failure=Failure("sts-policy-invalid", "no version")),
        known(tried_id="8", failure=Failure("sts-webpki-invalid", "expired")),
    ],
    ids=["policy", "none", "failure", "both"],
)
def test_what_is_put_is_got(stored):
    """Each of its fields; the version is one more."""
    store = ledger.PolicyStore()
    assert store.get("example.com") is None
    assert store.put(stored)
    assert store.get("example.com") == replace(stored, version=1)
    assert store.get("example.org") is None


def test_who_has_read_something_older_writes_nothing():
    """Of two that have read the same, the first one's word is kept."""
    store = ledger.PolicyStore()
    assert store.put(known())
    assert not store.put(known(tried_id="8"))
    read = store.get("example.com")
    assert store.put(replace(read, tried_id="9"))
    assert not store.put(replace(read, tried_id="10"))
    assert (store.get("example.com").tried_id, store.get("example.com").version) == ("9", 2)
    assert StoredPolicy.objects.count() == 1


def test_a_row_that_was_purged_meanwhile():
    """It is not written as if it were there."""
    store = ledger.PolicyStore()
    store.put(known())
    read = store.get("example.com")
    StoredPolicy.objects.all().delete()
    assert not store.put(read)
    assert store.get("example.com") is None


def test_what_it_costs(django_assert_num_queries):
    """To look is one statement, and so is to write over what is known."""
    store = ledger.PolicyStore()
    store.put(known())
    with django_assert_num_queries(1):
        read = store.get("example.com")
    with django_assert_num_queries(1):
        store.put(read)


def test_what_no_database_can_hold_is_replaced():
    """The words of a failure may hold what a stranger's server said."""
    store = ledger.PolicyStore()
    assert store.put(known(policy=None, failure=Failure("sts-policy-invalid", "a\0b")))
    assert store.get("example.com").failure.text == "a\N{REPLACEMENT CHARACTER}b"


@pytest.mark.django_db(transaction=True)
def test_many_workers_that_write_at_once():
    """Exactly one of those that have read the same is heard, for a new row and for an old one."""
    store = ledger.PolicyStore()
    barrier = threading.Barrier(4)

    def write(stored):
        barrier.wait()
        try:
            return store.put(stored)
        finally:
            connection.close()

    with ThreadPoolExecutor(4) as workers:
        for version in (0, 1):
            stored = known(version=version)
            asked = [workers.submit(write, stored) for _ in range(4)]
            assert sorted(one.result() for one in asked) == [False, False, False, True]
    assert store.get("example.com").version == 2


def test_the_retention_takes_what_expired_long_ago():
    """A policy that holds, or expired lately, stays; a failure goes like a policy."""
    now = timezone.now()
    store = ledger.PolicyStore()
    ages = {"old": 10, "late": 5, "live": 0}
    for name, age in ages.items():
        at = (now - age * DAY).timestamp()
        policy = replace(POLICY, domain=name)
        store.put(known(domain=name, policy=policy, fetched_at=at, tried_at=at, next_try=at))
    at = (now - 10 * DAY).timestamp()
    store.put(known(domain="failed", policy=None, fetched_at=0.0, tried_at=at, next_try=at))
    ledger.purge(now, DAY, 7 * DAY)
    assert sorted(StoredPolicy.objects.values_list("domain", flat=True)) == ["late", "live"]
    assert forget_policies(now - 7 * DAY) == 0


def test_a_purge_can_be_stopped_between_policies():
    """What is left is the next one's."""
    store = ledger.PolicyStore()
    store.put(known())
    now = timezone.now()
    assert not ledger.purge(now, DAY, DAY, lambda: True).finished
    assert ledger.purge(now, DAY, DAY, lambda: False).finished
    assert StoredPolicy.objects.count() == 0
