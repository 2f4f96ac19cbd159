"""A database that is restarted while senders store and workers drain."""

from __future__ import annotations

import random
import time
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import settled
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Sink
    from tests.integration.postgres import PostgresServer
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

RESTARTS = ("immediate", "fast", "immediate", "fast")
DELAY = 0.005
EACH = 300
AT_STAKE = 20


def lines(said: Path) -> int:
    """Return how many mails the senders have tried to send so far."""
    return len(said.read_text().splitlines()) if said.exists() else 0


def test_nothing_that_was_stored_is_lost_when_the_database_restarts(
    make_site: Callable[..., Site],
    make_sink: Callable[..., Sink],
    postgres_server: PostgresServer,
) -> None:
    """What send() returned from is delivered, it raises where it could not, and nobody has to help."""
    sink = make_sink(DELAY)
    site = make_site(
        postgres_server.start(),
        "redis",
        {**sink.options(), "retry": {"schedule": [1], "max_age": 3600}},
        SMTPX_LEASE=5,
        SMTPX_SWEEP_INTERVAL=1,
    )
    rand = random.Random(random.random())  # pytest-randomly prints the seed behind it
    said = site.folder / "said.tsv"
    with site.worker("prefork", 2), site.worker("threads", 2):
        senders = [
            site.start("send_steadily", name=name, count=EACH, pause=0.01, file=str(said))
            for name in ("one", "other")
        ]
        for number, mode in enumerate(RESTARTS):
            least = 50 + 100 * number
            wait_for("mail is sent", lambda least=least: lines(said) >= least)
            time.sleep(rand.uniform(0.0, 0.3))
            postgres_server.restart(mode)
        assert [sender.wait(60) for sender in senders] == [0, 0]
        site.call("wait_settled", seconds=60)

    outcomes = dict(line.split("\t") for line in said.read_text().splitlines())
    refused = {key for key, outcome in outcomes.items() if outcome != "stored"}
    assert len(outcomes) == 2 * EACH
    assert {outcomes[key] for key in refused} <= {"OperationalError", "InterfaceError"}
    assert refused
    rows = {row["message__message_id"] for row in site.call("deliveries")}
    # Of a commit whose answer was lost nobody knows: it may be there, and send() has raised.
    assert outcomes.keys() - refused <= rows <= outcomes.keys()
    account = settled(site, sink, stored=len(rows))
    print(f"{len(refused)} refused. {account}.")
    assert account.statuses.keys() <= {"sent", "unknown"}
    # Four processes and threads that deliver, as often as the database has gone.
    assert account.twice <= account.doubtful <= len(RESTARTS) * 4 * AT_STAKE
