"""A mail's HTML on its page, in a browser that would do whatever it is told."""

from __future__ import annotations

from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from tests.integration.browser.attacking import CLICKED, MAILS
from tests.integration.browser.serving import Served, served

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    from tests.integration.browser.lab import Lab, Visit

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]

HOST = "hostile.example"
MOST = 25
"""More of the tricks that load something than this do so in Chromium, where they may."""
SEEN = ("script", "onerror", "frame-end", "meta-refresh", "form", "link", "link-top")
"""Those of the other kinds that are tried without protection."""


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A site that has sent the hostile mails; it has no policy of its own."""
    with served(tmp_path_factory.mktemp("attacked"), past="attacks") as site:
        yield site


@contextmanager
def victim(lab: Lab, site: Served) -> Iterator[Visit]:
    """Open a tab whose site sends no policy but that of the page itself."""
    with lab.visit(site, quiet=False, extra_http_headers={"X-Without-Policy": "1"}) as visit:
        yield visit


def whatever_the_browser_says() -> AbstractContextManager[None]:
    """Go on where the browser refuses or takes too long."""
    # Here, since these tests are collected where there is no browser, too.
    from playwright.sync_api import Error

    return suppress(Error)


def click_on_everything(visit: Visit) -> None:
    """Click on whatever in the mail looks as if it wanted that."""
    frame = visit.page.frame_locator("iframe")
    for target in frame.locator("a, area, button, input, summary").all():
        with whatever_the_browser_says():
            target.click(force=True, timeout=300, no_wait_after=True)


@pytest.mark.parametrize("name", MAILS)
def test_a_hostile_mail_does_nothing(lab: Lab, attacked: Served, name: str) -> None:
    """Nothing runs, nothing is loaded or sent, no connection is opened, and the page stays as it is."""
    with victim(lab, attacked) as visit:
        page = visit.page
        visit.goto(f"django_smtpx/message/{attacked.keys[name]}/change/")
        visit.press("Show content")
        page.frame_locator("iframe").locator("body").wait_for(state="attached")
        page.wait_for_load_state("networkidle")
        seen = (page.url, page.title(), len(page.context.pages))
        before = len(visit.requests)
        box = page.locator("iframe").bounding_box()
        click_on_everything(visit)
        page.wait_for_timeout(100)
        assert (page.url, page.title(), len(page.context.pages)) == seen
        assert page.locator("iframe").bounding_box()["width"] == box["width"]  # type: ignore[index]
        # A link within the mail's own frame leads to the frame again, at most.
        assert {urlsplit(one.url).path for one in visit.requests[before:] if _is_sent(one)} == set()
        assert visit.foreign() == []
        assert visit.heard_of(HOST) == []
        assert not page.evaluate("() => 'owned' in window")


def _is_sent(request: object) -> bool:
    return getattr(request, "failure", None) != "csp"


def test_the_same_mails_do_much_without_protection(lab: Lab, attacked: Served) -> None:
    """What the test above does not see, it would see: tricks of each kind load, send and lead away."""
    with victim(lab, attacked) as visit:
        for tricks in (",".join(MAILS["loading"]), *SEEN):
            with whatever_the_browser_says():
                visit.page.goto(f"{attacked.url}/unprotected/{tricks}/")
                if tricks in CLICKED:
                    click_on_everything(visit)
                visit.page.wait_for_load_state("networkidle", timeout=2000)
        told = {urlsplit(one.url).path.strip("/") for one in visit.requests if HOST in one.url}
        assert set(SEEN) <= told
        assert len(told & set(MAILS["loading"])) > MOST
        assert visit.heard_of(HOST)
        # Nothing of it is to come while another test listens.
        visit.page.goto("about:blank")
        visit.page.wait_for_timeout(300)
