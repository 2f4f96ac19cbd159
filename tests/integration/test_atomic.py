"""send_mail() inside a transaction of the site's own, in each style of settings."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.sites import styles

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.conftest import Sink
    from tests.integration.sites import Site

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


@pytest.mark.parametrize(
    ("style", "database"),
    [
        *[(style, "sqlite") for style in styles()],
        (styles()[0], "postgres"),
        (styles()[0], "mariadb"),
    ],
)
def test_mail_shares_the_fate_of_the_transaction_it_was_sent_in(
    make_site: Callable[..., Site], sink: Sink, style: str, database: str
) -> None:
    """A rollback leaves no row and no mail; a commit leaves a row, and the mail arrives."""
    options = {"host": "127.0.0.1", "port": sink.port}
    site = make_site(database, "filesystem", options, style=style)
    gone = site.call("send_in_transaction", commit=False, subject="Gone")
    kept = site.call("send_in_transaction", commit=True, subject="Kept")
    site.manage("smtpx_deliver")
    assert gone == {"inside": 1, "after": 0}
    assert kept == {"inside": 1, "after": 1}
    assert site.call("statuses") == {"sent": 1}
    assert [recipient for _, recipient in sink.arrived()] == ["to@example.net"]
