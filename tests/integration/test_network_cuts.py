"""A network between worker and server that is cut at random points."""

from __future__ import annotations

import os
import random
from collections import Counter
from typing import TYPE_CHECKING

import pytest

from tests.integration.accounts import settled
from tests.integration.cutting import Cutter

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

MESSAGES = int(os.environ.get("DJANGO_SMTPX_CUT_MESSAGES", "40"))
"""How many messages go over the wire that is cut."""

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120 + MESSAGES)]

PATIENCE = 2
"""Seconds that a reply is waited for: what stalls is over then."""


@pytest.mark.parametrize("on_unknown", ["retry", "hold"])
def test_a_cut_is_unknown_where_the_end_of_data_may_have_left_and_nowhere_else(
    make_site: Callable[..., Site], sink: Sink, on_unknown: str
) -> None:
    """Where transactions are cut at random, all arrives, and who says that nobody knew is right."""
    seed = random.randrange(2**32)  # pytest-randomly prints the seed behind it
    cutter = Cutter(sink.port, random.Random(seed), bytes_to_server=1200, bytes_to_client=150)
    site = make_site(
        "sqlite",
        "filesystem",
        {
            **sink.options(),
            "port": cutter.port,
            "timeout": PATIENCE,
            "eod_timeout": PATIENCE,
            "retry": {"schedule": [1], "max_age": 3600},
            "on_unknown": on_unknown,
        },
        SMTPX_SWEEP_INTERVAL=1,
    )
    try:
        site.call("send_many", count=MESSAGES)
        with site.worker("threads", 4):
            site.call("wait_settled", seconds=100 + MESSAGES, hurry=True)
    finally:
        cutter.stop()
    account = settled(site, sink, stored=MESSAGES)
    print(f"{dict(cutter.cuts)}. {account}.")

    # Three of ten on average; how many it is this time is left to chance.
    assert cutter.cuts.total() >= 0.1 * MESSAGES
    rows = {row["message__message_id"]: row for row in site.call("deliveries")}
    unknown = Counter({key: row["outcomes"].count("unknown") for key, row in rows.items()})
    wrong = (cutter.unanswered - unknown) + (unknown - cutter.ended)
    assert not wrong, [(rows[key], cutter.ended[key], cutter.unanswered[key]) for key in wrong]
    assert account.twice <= (unknown.total() if on_unknown == "retry" else 0)
    assert account.statuses["failed"] == 0
    if on_unknown == "retry":
        assert account.statuses["sent"] >= 0.95 * MESSAGES
