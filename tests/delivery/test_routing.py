"""Routes that a process keeps for a while, and what it remembers of hosts."""

from __future__ import annotations

import time
from dataclasses import replace

import pytest
from django.db import transaction

from django_smtpx.config.options import parse
from django_smtpx.delivery import families, routing, troubles
from django_smtpx.ledger import PolicyStore
from django_smtpx.mailer import Way
from django_smtpx.mx.cache import Cache
from django_smtpx.mx.mta_sts import Policy, Stored
from django_smtpx.mx.route import Route
from django_smtpx.smtp import ResolveError
from django_smtpx.smtp.options import Options, Security
from django_smtpx.testing import real_queue

BOTH = Options(
    host="mx.example", port=25, security=Security.NONE, addresses=("192.0.2.1", "2001:db8::1")
)


class Router:
    """Finds a new route each time."""

    def __init__(self):
        self.asked = []

    def route(self, domain, *, heeding=True):
        """Return the route, or raise that there is none."""
        self.asked.append((domain, heeding))
        if domain == "no.example":
            raise ResolveError("no", phase="resolve")
        return Route(domain=domain, hosts=())


@pytest.fixture(autouse=True)
def _forget():
    yield
    routing.forget()
    families.forget()
    troubles.forget()


def test_a_route_is_kept_for_a_while():
    """A minute, each domain's for itself, and apart from those for which no policy counts."""
    router, now = Router(), [0.0]
    routes = routing.Routes(router, clock=lambda: now[0])
    first = routes.route("a.example")
    assert routes.route("a.example") is first
    assert routes.route("a.example", heeding=False) is not first
    routes.route("b.example")
    now[0] += routing.KEPT
    assert routes.route("a.example") is not first
    assert router.asked == [
        ("a.example", True), ("a.example", False), ("b.example", True), ("a.example", True),
    ]  # fmt: skip


def test_what_was_not_found_is_looked_for_again():
    """Nor is a domain kept whose policy is doubted."""
    router = Router()
    routes = routing.Routes(router)
    for _ in range(2):
        with pytest.raises(ResolveError):
            routes.route("no.example")
        routes.route("a.example")
        routes.doubt("a.example")
    assert len(router.asked) == 4


def test_no_more_routes_are_kept_than_a_process_has_room_for():
    """The oldest go first."""
    router = Router()
    routes = routing.Routes(router)
    for number in range(routing._MOST_ROUTES + 5):
        routes.route(f"{number}.example")
    routes.route("4.example")
    assert len(router.asked) == routing._MOST_ROUTES + 6
    routes.route(f"{routing._MOST_ROUTES}.example")
    assert len(router.asked) == routing._MOST_ROUTES + 6


def test_one_router_for_each_configuration():
    """As long as that holds, and none is the parent's after a fork."""
    one = parse("one", {"transport": "mx"}).mx
    same = parse("two", {"transport": "mx"}).mx
    other = parse("one", {"transport": "mx", "mta_sts": False}).mx
    found = routing.routes_for(one)
    assert routing.routes_for(same) is found
    assert routing.routes_for(other) is not found
    with real_queue(transport="mx"):
        pass
    again = routing.routes_for(one)
    assert again is not found
    routing._start_clean()
    assert routing.routes_for(one) is not again
    for number in range(routing._MOST_ROUTERS):
        routing.routes_for(replace(one, port=number))
    assert routing.routes_for(one) is not again


def test_a_mailer_with_a_host_is_its_own_route():
    """Nothing is looked up."""
    mailer = parse("m", {"host": "smtp.example.com"})
    assert routing.route_of(Way(mailer)).hosts == mailer.hosts
    routing.doubt(Way(mailer))


@pytest.mark.django_db(transaction=True)
def test_a_policy_that_was_found_within_a_transaction():
    """It is written when that is through: no row is held while bytes move."""
    now = time.time()
    known = Stored(
        domain="example.com",
        policy=Policy("example.com", "enforce", ("mx.example.com",), 86400, "1"),
        fetched_at=now,
        tried_at=now,
        next_try=now,
    )
    store = routing._Store()
    with transaction.atomic():
        assert store.put(known)
        assert PolicyStore().get("example.com") is None
    assert PolicyStore().get("example.com").policy == known.policy
    assert not store.put(known)


# -- hosts ---------------------------------------------------------------------------------------


def test_the_family_that_a_host_prefers(monkeypatch):
    """What took the mail is gone to for an hour; what has only the other one is no such host."""
    now = [0.0]
    monkeypatch.setattr(families, "_preferred", Cache(lambda: now[0]))
    assert families.preferred(BOTH) is BOTH
    families.prefer("mx.example", "2001:db8::1")
    assert families.preferred(BOTH).addresses == ("2001:db8::1",)
    only = replace(BOTH, addresses=("192.0.2.1",))
    assert families.preferred(only) is only
    now[0] += families.REMEMBERED
    assert families.preferred(BOTH) is BOTH


def test_the_other_family_of_a_host():
    """It has one, or none, or nobody knows which was the first."""
    assert families.other_family(BOTH, "192.0.2.1").addresses == ("2001:db8::1",)
    assert families.other_family(BOTH, "2001:db8::1").addresses == ("192.0.2.1",)
    assert families.other_family(replace(BOTH, addresses=("192.0.2.1",)), "192.0.2.1") is None
    assert families.other_family(BOTH, "") is None


def test_hosts_that_are_remembered_are_bounded(monkeypatch):
    """The oldest go first."""
    monkeypatch.setattr(families, "_preferred", Cache(time.monotonic, most=2))
    monkeypatch.setattr(troubles, "_noted", Cache(time.monotonic, most=2))
    for number in range(3):
        families.prefer(f"{number}.example", "2001:db8::1")
        assert not troubles.note(f"{number}.example", 25)
    assert families.preferred(replace(BOTH, host="0.example")).addresses == BOTH.addresses
    assert families.preferred(replace(BOTH, host="2.example")).addresses == ("2001:db8::1",)
    assert troubles.note("2.example", 25)
    assert not troubles.note("0.example", 25)


def test_trouble_with_tls_is_remembered(monkeypatch):
    """From the first failure on, for an hour."""
    now = [0.0]
    monkeypatch.setattr(troubles, "_noted", Cache(lambda: now[0]))
    assert not troubles.note("mx.example", 25)
    assert troubles.note("mx.example", 25)
    assert not troubles.note("mx.example", 26)
    now[0] += troubles.REMEMBERED
    assert not troubles.note("mx.example", 25)
