"""What stands around a worker in production: poolers, several databases, eager brokers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.looking import outcomes, wait_sent
from tests.integration.stores import Broker, sqlite
from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.integration.conftest import Sink, SlowServer
    from tests.integration.sites import Site
    from tests.integration.stores import RedisServer

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_pgbouncer_may_change_the_connection_at_each_transaction(
    make_site: Callable[..., Site], sink: Sink
) -> None:
    """Two connections serve all drains, and nothing that we do needs the same one twice."""
    options = {**sink.options(), "max_connections": 6}
    site = make_site("pgbouncer", "redis", options, SMTPX_SWEEP_INTERVAL=1)
    with site.worker("prefork", 3), site.worker("threads", 3) as worker:
        assert site.call("send_many", count=600) == {"messages": 600}
        # It is seen that there is a pooler in between: what is prepared may be somebody else's next.
        assert site.call("send_singly", count=20) == {"prepared": []}
        wait_sent(site, 620)
    arrived = sink.arrived()
    assert len(arrived) == len(set(arrived)) == 620
    assert "Traceback" not in worker.log()


def test_what_stores_mail_is_prepared_where_there_is_no_pooler(
    make_site: Callable[..., Site], sink: Sink
) -> None:
    """Once, and not what looks for rows."""
    site = make_site("postgres", "redis", sink.options())
    assert site.call("send_singly", count=20) == {"prepared": [["WITH", "parent"]]}


def test_an_outbox_in_a_database_of_its_own(
    make_site: Callable[..., Site], sink: Sink, tmp_path: Path
) -> None:
    """Its transactions are those of that database: another one's rollback does not reach it."""
    (tmp_path / "mail").mkdir()
    with sqlite(tmp_path) as default, sqlite(tmp_path / "mail") as mail:
        site = make_site(
            "sqlite",
            "filesystem",
            sink.options(),
            DATABASES={"default": default, "mail": mail},
            DATABASE_ROUTERS=["tests.integration.site.routers.Outbox"],
            SMTPX_SWEEP_INTERVAL=1,
        )
        site.manage("migrate", "-v0", "--database", "mail")
        stays = {"inside": 1, "after": 1}
        goes = {"inside": 1, "after": 0}
        plans = [
            {"commit": True, "subject": "a", "using": "mail"},
            {"commit": False, "subject": "b", "using": "mail"},
            {"commit": False, "subject": "c", "using": "default"},
        ]
        assert site.call("send_in_transactions", plans=plans) == [stays, goes, stays]
        with site.worker("threads", 2):
            assert site.call("wait_settled", seconds=60) == {"sent": 2}
    assert len(sink.arrived()) == 2


def test_hints_that_come_again_and_again_double_nothing(
    make_site: Callable[..., Site], slow_server: SlowServer, redis_server: RedisServer
) -> None:
    """Late acknowledgement with a visibility timeout that is shorter than a drain."""
    slow_server.answer_after(0.1)
    redis_server.start()
    broker = Broker(redis_server.broker.url, {"visibility_timeout": 1})
    site = make_site(
        "postgres",
        broker,
        slow_server.options(),
        SMTPX_SWEEP_INTERVAL=1,
        CELERY_TASK_ACKS_LATE=True,
        CELERY_TASK_REJECT_ON_WORKER_LOST=True,
        CELERY_WORKER_PREFETCH_MULTIPLIER=1,
    )
    site.call("send_and_hint", count=60, hints=30)
    with site.worker("prefork", 3) as one, site.worker("prefork", 3) as other:

        def taken() -> int:
            return (one.log() + other.log()).count("Task django_smtpx.drain")

        wait_sent(site, 60)
        wait_for("hints came again", lambda: taken() > 30)
    arrived = slow_server.arrived()
    assert len(arrived) == len(set(arrived)) == 60
    assert outcomes(site) == {"sent": 60}
