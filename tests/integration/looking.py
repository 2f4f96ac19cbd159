"""Looks at a site's PostgreSQL database from the test's own process, where a process of the site
would take a second to begin.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.integration.tools import wait_for

if TYPE_CHECKING:
    from tests.integration.sites import Site

_HELD = """SELECT (SELECT count(*) FROM django_smtpx_delivery WHERE lease_token IS NOT NULL),
                  (SELECT count(*) FROM django_smtpx_slot WHERE expires_at > clock_timestamp())"""


def ask(site: Site, query: str) -> list[tuple[Any, ...]]:
    """Return the rows of a query."""
    import psycopg

    parts = {name.lower(): site.database[name] for name in ("HOST", "PORT", "USER", "PASSWORD")}
    with psycopg.connect(**parts, dbname=site.database["NAME"], autocommit=True) as connection:
        return connection.execute(query.encode()).fetchall()


def statuses(site: Site) -> dict[str, int]:
    """Return how many deliveries have each status."""
    return dict(ask(site, "SELECT status, count(*) FROM django_smtpx_delivery GROUP BY 1"))


def outcomes(site: Site) -> dict[str, int]:
    """Return how many attempts have each outcome."""
    return dict(ask(site, "SELECT outcome, count(*) FROM django_smtpx_attempt GROUP BY 1"))


def held(site: Site) -> dict[str, int]:
    """Return what somebody holds at this moment: deliveries that are claimed, and slots."""
    ((claimed, slots),) = ask(site, _HELD)
    return {"claimed": claimed, "slots": slots}


def connections(site: Site) -> int:
    """Return how many connections there are to the site's database, but for this one."""
    mine = "datname = current_database() AND pid <> pg_backend_pid()"
    ((count,),) = ask(site, f"SELECT count(*) FROM pg_stat_activity WHERE {mine}")
    return int(count)


def wait_sent(site: Site, count: int, *, seconds: float = 60.0) -> None:
    """Wait until so many deliveries are sent, and there is no other."""
    wait_for("all is sent", lambda: statuses(site) == {"sent": count}, seconds=seconds, every=0.1)
