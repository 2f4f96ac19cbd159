"""The sweep of a plain worker, without beat."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize("pool", ["prefork", "threads", "solo"])
def test_a_plain_worker_finds_mail_whose_hint_was_lost(
    make_site: Callable[..., Site], sink: Sink, pool: str
) -> None:
    """With every pool the sweep runs by itself, and wakes what no hint has woken."""
    site = make_site("sqlite", "filesystem", sink.options(), SMTPX_SWEEP_INTERVAL=1)
    site.call("send_plain", count=5)
    hints = list((site.folder / "broker" / "messages").iterdir())
    assert hints
    for hint in hints:
        hint.unlink()
    with site.worker(pool, 2):
        assert site.call("wait_settled", seconds=60) == {"sent": 5}
    assert len(sink.arrived()) == 5
