"""A password that is changed while workers that know the old one only are still at work."""

from __future__ import annotations

import base64
import json
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest

from django_smtpx.testing import ScriptedServer
from tests.integration.sites import Site
from tests.integration.stores import Broker
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

MESSAGES = 500
CONNECTIONS = 4
# A hundred messages each, and those with fewer that ended with their drain.
MOST_SESSIONS = 16


class Logins(Counter[str]):
    """How often each password was tried."""

    def note(self, conversation: object, arg: str) -> None:
        """Note one login by PLAIN, and let the server answer as it would."""
        _, _, response = arg.partition(" ")
        self[base64.b64decode(response).split(b"\0")[2].decode()] += 1


def options(server: ScriptedServer, password: str) -> dict[str, Any]:
    """Return a mailer's options with that password."""
    return {
        "host": server.host, "port": server.port, "security": "none", "auth": ["PLAIN"],
        "username": "u", "password": password, "allow_plaintext_auth": True,
    }  # fmt: skip


def redeployed(site: Site, changes: dict[str, Any]) -> Site:
    """Return the same site as its next release has it: other options, the same database and broker."""
    known = json.loads(site.file.read_text())
    (mailers,) = (value for key, value in known["settings"].items() if key == "SMTPX_MAILERS")
    folder = site.folder / "next"
    folder.mkdir()
    return Site(
        folder,
        database=known["database"],
        broker=Broker(**known["broker"]),
        settings={
            **known["settings"],
            "SMTPX_MAILERS": {"default": {**mailers["default"], **changes}},
        },
    )


@pytest.mark.parametrize(("database", "broker"), [("sqlite", "filesystem"), ("postgres", "redis")])
def test_a_rolling_deploy_locks_nobody_out(
    make_site: Callable[..., Site], database: str, broker: str
) -> None:
    """The old workers do not try the old password again and again; the new one sends all the mail.

    How often is bounded by the connections that were being made when the first of them was refused.
    """
    logins = Logins()
    script = {"AUTH": logins.note}
    with ScriptedServer(script, users={"u": "new"}, require_auth=True, record=False) as server:
        site = make_site(
            database,
            broker,
            options(server, "old"),
            style="SMTPX_MAILERS",
            SMTPX_SWEEP_INTERVAL=1,
        )
        after = redeployed(site, {"password": "new"})
        with site.worker("prefork", 2), site.worker("prefork", 2):
            assert site.call("send_many", count=MESSAGES) == {"messages": MESSAGES}
            wait_for("the first login", lambda: bool(logins))
            with after.worker("prefork", 2):
                # The old ones go on sweeping, and take mail that is stored by old processes.
                for _ in range(3):
                    site.call("send_plain", count=10)
                statuses = site.call("wait_settled", seconds=60)
            outcomes = Counter(
                outcome for row in site.call("deliveries") for outcome in row["outcomes"]
            )
        print(f"{database}, {broker}: {dict(logins)}, {statuses}, {dict(outcomes)}")
        assert statuses == {"sent": MESSAGES + 30}
        assert server.message_count == MESSAGES + 30
    assert 1 <= logins["old"] <= CONNECTIONS
    assert logins["new"] <= MOST_SESSIONS
    assert outcomes == {"sent": MESSAGES + 30, "deferred": logins["old"]}
