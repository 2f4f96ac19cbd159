from __future__ import annotations

import pytest

from django_smtpx.mx.dns import Resolver, ResolverOptions
from tests.mx.responder import Responder


@pytest.fixture
def responder():
    """A DNS server that knows nothing yet."""
    with Responder() as server:
        yield server


@pytest.fixture
def make_resolver(responder):
    """Make resolvers that ask the responder, which they believe unless told otherwise."""

    def make(*, clock=None, **options):
        given = {"nameservers": (responder.host,), "port": responder.port, "trust_ad": True}
        more = {} if clock is None else {"clock": clock}
        return Resolver(ResolverOptions(**{**given, **options}), **more)

    return make


@pytest.fixture
def resolver(make_resolver):
    """A resolver that asks the responder and believes it."""
    return make_resolver()


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self):
        self.now = 1000.0

    def __call__(self):
        """Return the time."""
        return self.now


@pytest.fixture
def clock():
    """A clock of the test's own."""
    return Clock()
