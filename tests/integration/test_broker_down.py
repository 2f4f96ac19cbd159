"""A broker that is away while mail is sent, and comes back later."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site
    from tests.integration.stores import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


def test_mail_sent_while_the_broker_is_down_is_delivered_later(
    make_site: Callable[..., Site], sink: Sink, redis_server: RedisServer
) -> None:
    """No send() fails or takes over 2 s, and the first sweep behind the broker finds all of it."""
    site = make_site("sqlite", redis_server.broker, sink.options(), SMTPX_SWEEP_INTERVAL=1)
    away = site.call("send_plain", count=50)
    assert away["longest"] < 2.0
    assert sink.arrived() == []
    redis_server.start()
    with site.worker():
        assert site.call("wait_settled", seconds=60) == {"sent": 50}
    assert len(set(sink.arrived())) == len(sink.arrived()) == 50


def test_a_broker_that_goes_away_under_a_worker_costs_no_mail(
    make_site: Callable[..., Site], sink: Sink, redis_server: RedisServer
) -> None:
    """A worker that loses its broker finds the mail that was sent meanwhile when it is back."""
    site = make_site("sqlite", redis_server.broker, sink.options(), SMTPX_SWEEP_INTERVAL=1)
    redis_server.start()
    with site.worker():
        assert site.call("send_plain", count=20)["longest"] < 2.0
        assert site.call("wait_settled", seconds=60) == {"sent": 20}
        redis_server.stop()
        assert site.call("send_plain", count=20)["longest"] < 2.0
        redis_server.start()
        assert site.call("wait_settled", seconds=60) == {"sent": 40}
    assert len(set(sink.arrived())) == len(sink.arrived()) == 40


def test_a_broker_that_takes_connections_and_says_nothing_delays_nobody(
    make_site: Callable[..., Site], sink: Sink, silent_broker: int
) -> None:
    """A broker that hangs costs a process one wait of at most 2 s, and no mail."""
    from tests.integration.stores import Broker

    site = make_site("sqlite", Broker(f"redis://127.0.0.1:{silent_broker}/0"), sink.options())
    assert site.call("send_plain", count=50)["longest"] < 2.0
    assert site.call("statuses") == {"queued": 50}
    site.manage("smtpx_deliver")
    assert site.call("statuses") == {"sent": 50}
