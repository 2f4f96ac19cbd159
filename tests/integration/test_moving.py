"""The pages on moving are followed: a site on each of the other backends, with mail in its queue."""

from __future__ import annotations

import sqlite3
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import django
import pytest

from django_smtpx.testing import ScriptedServer, make_certificate
from tests.integration.conftest import skipping
from tests.integration.moving.mails import essence
from tests.integration.moving.packages import folder_of_packages
from tests.integration.moving.pages import Command, Settings, steps
from tests.integration.moving.sites import PASSWORD, MovingSite
from tests.integration.stores import BROKERS, DATABASES
from tests.integration.tools import kill_group, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

Mails = list[dict[str, Any]]


@pytest.fixture
def make_site(tmp_path: Path) -> Iterator[Callable[..., MovingSite]]:
    """Make a site on the backend that a page leaves, and a server that wants TLS and its login."""
    with ExitStack() as stack:

        def make(page: str, database: str, broker: str | None = None) -> MovingSite:
            folder = tmp_path / "site"
            folder.mkdir()
            certificate = make_certificate(tmp_path)
            server = ScriptedServer(
                ssl_context=certificate.ssl_context,
                require_tls=True,
                users={"outbox": PASSWORD},
                require_auth=True,
            )
            stack.enter_context(server)
            with skipping():
                packages = folder_of_packages()
                settings = stack.enter_context(DATABASES[database](folder))
                wire = stack.enter_context(BROKERS[broker](folder)) if broker else None
            site = MovingSite(folder, packages, settings, server, certificate.ca_file, wire)
            stack.enter_context(site.stack)
            site.write(before(page))
            return site

        yield make


def before(page: str) -> Settings:
    """Return the settings that a page begins with."""
    (found,) = (step for step in steps(page, "Before") if isinstance(step, Settings))
    return found


def follow(
    site: MovingSite, page: str, section: str, deployed: Callable[[], None] | None = None
) -> None:
    """Do what a section says; ``deployed`` is called once its check has passed."""
    for step in steps(page, section):
        if isinstance(step, Settings):
            site.write(step)
            continue
        site.run(step)
        if deployed and "smtpx_check" in step.line:
            deployed()
            deployed = None
    assert deployed is None, "The page has no check."


def arrived(site: MovingSite) -> Mails:
    """Return what the server has taken, each as often as it came."""
    return [
        {"recipients": sorted(one.recipients), "essence": essence(one.content)}
        for one in site.server.messages
    ]


def subject(mail: dict[str, Any]) -> str:
    """Return what a mail is told from others by."""
    return str(mail["essence"]["headers"]["Subject"])


def only(mails: Mails, *names: str) -> Mails:
    """Return mails by their subjects, with nothing but these values."""
    return sorted(({name: mail[name] for name in names} for mail in mails), key=subject)


def assert_arrived_once(site: MovingSite, wanted: Mails) -> None:
    """What was due has arrived, each once and whole, and nothing else has."""
    due = [mail for mail in wanted if mail["later"] is None]
    assert only(arrived(site), "recipients", "essence") == only(due, "recipients", "essence")


def assert_each_once(site: MovingSite, wanted: Mails) -> Mails:
    """As above, and the rest waits here for its time; return all that is stored."""
    assert_arrived_once(site, wanted)
    stored: Mails = site.call("stored")
    waits = [mail for mail in stored if mail["statuses"] != ["sent"]]
    later = [mail for mail in wanted if mail["later"] is not None]
    kept = ("recipients", "essence", "later", "priority")
    assert only(waits, *kept) == only(later, *kept)
    return stored


def test_from_djangos_own_backend(make_site: Callable[..., MovingSite]) -> None:
    """What was sent by Django's own backend is sent by this one, and reads the same."""
    page = "django-smtp.md"
    site = make_site(page, "sqlite")
    wanted = site.call("send_corpus")
    assert_arrived_once(site, wanted)
    site.server.clear()
    follow(site, page, "Step by step", lambda: site.call("send_corpus"))
    assert_each_once(site, wanted)
    follow(site, page, "Go back")
    site.write(before(page))
    wanted += site.call("send_one", "By Django again")
    assert_arrived_once(site, wanted)


def test_from_post_office(make_site: Callable[..., MovingSite]) -> None:
    """Its queued mail arrives once, as it would have sent it, at its time and with its priority."""
    page = "post-office.md"
    site = make_site(page, "postgres")
    wanted = site.call("queue_post_office")
    follow(
        site,
        page,
        "Step by step",
        lambda: wanted.extend(site.call("send_after_post_office")),
    )
    stored = assert_each_once(site, wanted)
    moved = [one for one in stored if "smtpx_moved_from" in one["metadata"]]
    urgent = next(one for one in moved if subject(one) == "Urgent")
    assert (len(moved), urgent["priority"]) == (len(wanted) - 3, 1)
    left = site.call("left_in_post_office")
    assert f"Email {left['id']} is left: Mailer 'ses' is not configured." in left["said"]
    assert "Expired, and left: 1." in left["said"]
    assert left["error"] == "Left in the other queue: 1."
    follow(site, page, "Go back")
    site.write(before(page), "INSTALLED_APPS += ['django_smtpx']")
    site.call("send_one", "Queued there again")
    assert_arrived_once(site, wanted)


def test_from_django_mailer(make_site: Callable[..., MovingSite]) -> None:
    """Its queued mail arrives once, what it had deferred as well, and what it gave up stays."""
    page = "django-mailer.md"
    site = make_site(page, "mariadb")
    wanted = site.call("queue_django_mailer")
    follow(site, page, "Step by step", lambda: wanted.extend(site.call("send_one", "New")))
    stored = assert_each_once(site, wanted)
    priorities = {subject(one): one["priority"] for one in stored}
    assert [priorities[one] for one in ("High", "Order 17", "Low", "Deferred")] == [1, 0, -1, 0]
    follow(site, page, "Go back")
    assert_arrived_once(site, wanted)


def test_an_import_that_is_killed_is_run_again(make_site: Callable[..., MovingSite]) -> None:
    """What it had committed is moved, the rest is not, and nothing is lost or there twice."""
    site = make_site("post-office.md", "sqlite")
    (after,) = (one for one in steps("post-office.md", "Step by step") if isinstance(one, Settings))
    site.write(after)
    site.call("queue_many", "1000")

    def count(query: str) -> int:
        with closing(sqlite3.connect(site.folder / "site.sqlite3")) as connection:
            return int(connection.execute(f"SELECT count({query}").fetchone()[0])

    def moved() -> int:
        return count("*) FROM django_smtpx_message")

    process = site.begin("smtpx_import", "post_office")
    try:
        wait_for("a batch is moved", lambda: moved() > 0, every=0.005)
    finally:
        kill_group(process)
    assert moved() + count("*) FROM post_office_email WHERE status IN (2, 3)") == 1000
    assert moved() == count("*) FROM post_office_email WHERE status IS NULL")
    site.run(Command("python manage.py smtpx_import post_office", ""))
    assert moved() == count("DISTINCT subject) FROM django_smtpx_message") == 1000
    assert count("*) FROM post_office_email WHERE status IN (2, 3)") == 0


@pytest.mark.skipif(
    django.VERSION >= (6, 0), reason="django-celery-email 3.0 works with no later Django than 5.2."
)
def test_from_celery_email(make_site: Callable[..., MovingSite]) -> None:
    """What is in the broker is stored here by the old task, and arrives once."""
    page = "celery-email.md"
    site = make_site(page, "sqlite", "redis")
    wanted = site.call("queue_celery_email")
    follow(site, page, "Step by step", lambda: wanted.extend(site.call("send_one", "New")))
    wait_for("all mail arrives", lambda: len(site.server.messages) >= len(wanted))
    site.stack.close()
    assert_each_once(site, wanted)
    site.write(before(page), "INSTALLED_APPS += ['django_smtpx']")
    follow(site, page, "Go back")
    assert_arrived_once(site, wanted)
