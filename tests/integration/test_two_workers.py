"""Two workers that take from one mailer's queue."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(600)]

MESSAGES = 10_000


def test_no_mail_is_delivered_twice(make_site: Callable[..., Site], sink: Sink) -> None:
    """Ten thousand mails arrive once each, and both workers had their share."""
    site = make_site("postgres", "redis", sink.options(), SMTPX_SWEEP_INTERVAL=1)
    with site.worker("prefork", 2) as one, site.worker("prefork", 2) as other:
        assert site.call("send_many", count=MESSAGES) == {"messages": MESSAGES}
        statuses = site.call("wait_settled", seconds=300)
    assert statuses == {"sent": MESSAGES}
    arrived = sink.arrived()
    assert len(arrived) == len(set(arrived)) == MESSAGES
    for worker in (one, other):
        assert "django_smtpx.drain" in worker.log()
