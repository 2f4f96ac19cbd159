"""A broker that is away while mail is sent, and comes back later."""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.integration.accounts import settled
from tests.integration.conftest import skipping
from tests.integration.cutting import Relay
from tests.integration.stores import Broker
from tests.integration.stores import rabbitmq as rabbitmq_server
from tests.integration.tools import free_port, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site
    from tests.integration.stores import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]


@pytest.fixture
def rabbitmq(tmp_path: Path) -> Iterator[Broker]:
    """The RabbitMQ server that there is, with a queue of the test's own."""
    with ExitStack() as stack:
        with skipping():
            broker = stack.enter_context(rabbitmq_server(tmp_path))
        yield broker


@pytest.fixture
def amqp_relay(rabbitmq: Broker) -> Iterator[Relay]:
    """A way to that server that can be taken away."""
    relay = Relay(urlsplit(rabbitmq.url).port or 5672)
    yield relay
    relay.stop()


def lines(said: Path) -> list[str]:
    """Return what a steady sender has said so far."""
    return said.read_text().splitlines() if said.exists() else []


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


def test_a_broker_that_is_killed_again_and_again_costs_no_mail_and_no_send(
    make_site: Callable[..., Site], sink: Sink, redis_server: RedisServer
) -> None:
    """Senders and workers go on while their broker dies and comes back, three times."""
    site = make_site("sqlite", redis_server.broker, sink.options(), SMTPX_SWEEP_INTERVAL=1)
    redis_server.start()
    said = site.folder / "said.tsv"
    with site.worker():
        sender = site.start("send_steadily", name="one", count=200, pause=0.02, file=str(said))
        for stored in (20, 80, 140):
            wait_for("mail is sent", lambda least=stored: len(lines(said)) >= least)
            redis_server.kill()
            redis_server.start()
        assert sender.wait(60) == 0
    # Celery's worker ends now and then where its broker dies (in kombu, while it puts back what it
    # has not acknowledged): whatever looks after it begins another.
    with site.worker():
        site.call("wait_settled", seconds=60)
    outcomes = {line.split("\t")[1] for line in lines(said)}
    assert outcomes == {"stored"}
    assert str(settled(site, sink, stored=200)) == (
        "200 sent; 0 duplicates; 0 once of unknown outcome"
    )


def test_a_broker_whose_connections_are_cut_and_refused_costs_no_mail_and_no_send(
    make_site: Callable[..., Site], sink: Sink, amqp_relay: Relay, rabbitmq: Broker
) -> None:
    """RabbitMQ goes away under a worker and a sender for a while, as far as they can see."""
    address = urlsplit(rabbitmq.url)
    url = address._replace(
        netloc=f"{address.username}:{address.password}@127.0.0.1:{amqp_relay.port}"
    )
    broker = replace(rabbitmq, url=url.geturl())
    site = make_site("sqlite", broker, sink.options(), SMTPX_SWEEP_INTERVAL=1)
    said = site.folder / "said.tsv"
    with site.worker():
        sender = site.start("send_steadily", name="one", count=100, pause=0.02, file=str(said))
        wait_for("mail arrives", lambda: bool(sink.arrived()))
        amqp_relay.stop()
        wait_for("more is sent", lambda: len(lines(said)) >= 50)
        amqp_relay.start_again()
        assert sender.wait(60) == 0
        site.call("wait_settled", seconds=60)
    outcomes = {line.split("\t")[1] for line in lines(said)}
    assert outcomes == {"stored"}
    assert str(settled(site, sink, stored=100)) == (
        "100 sent; 0 duplicates; 0 once of unknown outcome"
    )


@pytest.mark.parametrize("how", ["refuses", "swallows"])
def test_an_outage_costs_a_process_one_wait_and_not_one_for_each_mail(
    make_site: Callable[..., Site], sink: Sink, silent_broker: int, how: str
) -> None:
    """A thousand send() calls try a broker that is not there once in ten seconds, and wait once."""
    port = silent_broker if how == "swallows" else free_port()
    site = make_site("sqlite", Broker(f"redis://127.0.0.1:{port}/0"), sink.options())
    cost = site.call("send_past_broker", count=1000, port=port)
    print(cost)
    # What a try connects for: Redis' client tries a connection that it has lost twice.
    silences = 1 + cost["took"] // 10
    assert 1 <= cost["tries"] <= 3 * silences
    assert cost["longest"] < 2.0
    assert cost["took"] < 60
    assert site.call("statuses") == {"queued": 1000}


def test_a_broker_that_takes_connections_and_says_nothing_delays_nobody(
    make_site: Callable[..., Site], sink: Sink, silent_broker: int
) -> None:
    """A broker that hangs costs a process one wait of at most 2 s, and no mail."""
    site = make_site("sqlite", Broker(f"redis://127.0.0.1:{silent_broker}/0"), sink.options())
    assert site.call("send_plain", count=50)["longest"] < 2.0
    assert site.call("statuses") == {"queued": 50}
    site.manage("smtpx_deliver")
    assert site.call("statuses") == {"sent": 50}
