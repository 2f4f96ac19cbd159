"""Chromium, and what is heard and seen of it."""

from __future__ import annotations

import os
import shutil
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urljoin, urlsplit

from tests.integration.browser.settings import REMOTE
from tests.integration.tools import NotThere

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from playwright.sync_api import (
        Browser,
        BrowserContext,
        ConsoleMessage,
        Locator,
        Page,
        Request,
    )

    from tests.integration.browser.serving import Served

WIDE, NARROW = (1280, 900), (390, 844)
"""Sizes of a window, in pixels."""
SECONDS = 8


@dataclass(frozen=True)
class View:
    """How a page is looked at: by a system that wishes for a theme, in a window of a size."""

    theme: Literal["light", "dark"]
    size: tuple[int, int]

    def __str__(self) -> str:
        return f"{self.theme} at {self.size[0]}"


VIEWS = tuple(View(theme, size) for size in (WIDE, NARROW) for theme in ("light", "dark"))
"""Each theme in each width."""


class Trap:
    """Where each name below ``example`` leads to: a port that keeps the first bytes of who comes."""

    def __init__(self) -> None:
        self.heard: list[bytes] = []
        self._server = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.port = self._server.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def close(self) -> None:
        """Listen no more."""
        with suppress(OSError):
            self._server.shutdown(socket.SHUT_RDWR)
        self._server.close()

    def _listen(self) -> None:
        with suppress(OSError):
            while True:
                visitor, _ = self._server.accept()
                threading.Thread(target=self._hear, args=(visitor,), daemon=True).start()

    def _hear(self, visitor: socket.socket) -> None:
        visitor.settimeout(2)
        with visitor, suppress(OSError):
            self.heard.append(visitor.recv(2000))
            visitor.sendall(
                b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
            )


@dataclass
class Visit:
    """What is done in one tab, and what the tab has asked for and complained about."""

    page: Page
    site: Served
    trap: Trap
    views: tuple[View, ...]
    complaints: list[str] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)

    def look(self, view: View) -> None:
        """Look at the page, and at those to come, in this way."""
        self.page.emulate_media(color_scheme=view.theme)
        width, height = view.size
        self.page.set_viewport_size({"width": width, "height": height})

    def goto(self, path: str) -> None:
        """Open a page of the admin, by its address behind ``/admin/``."""
        self.page.goto(urljoin(f"{self.site.url}/admin/", path))

    def press(self, name: str) -> None:
        """Press a button by the words on it."""
        self.follow(self.page.get_by_role("button", name=name, exact=True).first)

    def submit(self) -> None:
        """Press the first button of the page's form."""
        self.follow(self.page.locator('#content form [type="submit"]').first)

    def follow(self, way: Locator) -> None:
        """Click on a link or a button, and wait for the page that it leads to.

        That is done in the last of ``views``; in the others it only has to be possible.
        """
        *others, last = self.views
        for view in others:
            self.look(view)
            way.click(trial=True)
        self.look(last)
        with self.page.expect_navigation():
            way.click()

    def foreign(self) -> list[str]:
        """Return the requests to anybody but the site, without those that a policy has stopped."""
        stopped = {request.url for request in self.requests if request.failure == "csp"}
        urls = [request.url for request in self.requests if request.url not in stopped]
        return [url for url in urls if not url.startswith(f"{self.site.url}/")]

    def heard_of(self, host: str) -> list[bytes]:
        """Return what has come to the trap so far for ``host``, or one below it."""
        return [told for told in self.trap.heard if host.encode() in told]

    def troubles(self) -> list[str]:
        """Return what no page may do: complain, or ask for something elsewhere."""
        asked = [f"asked for {url}" for url in self.foreign()]
        return [
            *self.complaints,
            *asked,
            *(f"somebody was told {told!r}" for told in self.trap.heard),
        ]


class Lab:
    """A browser; its profiles and their tabs are kept, since most of a page's cost is in new ones.

    All of it is used in one thread of its own (:meth:`run`): Playwright has an event loop running
    in the thread that it is started in, and no other test could use Django's database there.
    """

    def __init__(self) -> None:
        self.thread = ThreadPoolExecutor(1, thread_name_prefix="browser")
        self.trap = Trap()
        self._stack = ExitStack()
        self._profiles: dict[Any, BrowserContext] = {}
        self._tabs: dict[BrowserContext, Page] = {}

    def run(self, work: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call ``work`` in the browser's thread."""
        return self.thread.submit(work, *args, **kwargs).result()

    def start(self) -> None:
        """Start the browser; raises NotThere where there is none."""
        path = chromium()
        try:
            from playwright.sync_api import sync_playwright
        except ImportError as error:
            raise NotThere('playwright is not installed (the extra "browser").') from error
        # The browser's own errands lead nowhere.
        names = f"MAP *.example 127.0.0.1:{self.trap.port},MAP * ~NOTFOUND,EXCLUDE 127.0.0.1"
        playwright = self._stack.enter_context(sync_playwright())
        self.browser: Browser = playwright.chromium.launch(
            executable_path=path,
            args=[
                *(["--no-sandbox"] if os.geteuid() == 0 else []),
                f"--host-resolver-rules={names}",
                "--font-render-hinting=none",
            ],
        )
        self._stack.callback(self.browser.close)

    def stop(self) -> None:
        """Close the browser."""
        self.run(self._stack.close)
        self.thread.shutdown()
        self.trap.close()

    @contextmanager
    def visit(
        self,
        site: Served,
        *,
        views: tuple[View, ...] = VIEWS[:1],
        quiet: bool = True,
        **options: Any,
    ) -> Iterator[Visit]:
        """Open a site, logged in as who may do everything; at the end it must have had no trouble.

        Pages are opened in the last of ``views``, and their buttons can be pressed in each.
        ``quiet=False`` leaves that to the caller. The other options are those of Playwright's
        ``new_context``.
        """
        profile = self._profile(site, options)
        # Where there may have been trouble, some of it may be to come.
        page = self._tabs.pop(profile, None) or profile.new_page()
        page.set_default_timeout(SECONDS * 1000)
        visit = Visit(page, site, self.trap, views)
        visit.look(views[-1])
        self.trap.heard.clear()
        with _heard(visit):
            try:
                yield visit
            except BaseException:
                page.close()
                raise
        if not quiet:
            page.close()
            return
        self._tabs[profile] = page
        if troubles := visit.troubles():
            raise AssertionError(f"{page.url}: {troubles}")

    def _profile(self, site: Served, options: dict[str, Any]) -> BrowserContext:
        key = (site.url, repr(sorted(options.items())))
        if key not in self._profiles:
            profile = self.browser.new_context(**{"locale": "en-GB", **options})
            session = {"name": "sessionid", "value": site.keys["session"], "url": site.url}
            profile.add_cookies([session])  # type: ignore[list-item]
            self._profiles[key] = profile
        return self._profiles[key]


@contextmanager
def _heard(visit: Visit) -> Iterator[None]:
    """Keep what the tab says and asks for."""
    heard: list[tuple[Any, str, Callable[[Any], None]]] = [
        (visit.page, "console", lambda said: _note(visit, said)),
        (visit.page, "pageerror", lambda error: visit.complaints.append(f"script: {error}")),
        (visit.page.context, "request", lambda request: _ask(visit, request)),
    ]
    for who, event, note in heard:
        who.on(event, note)
    try:
        yield
    finally:
        for who, event, note in heard:
            who.remove_listener(event, note)


def _note(visit: Visit, said: ConsoleMessage) -> None:
    # That a mail may load nothing is no complaint of ours: the next function sees whether it did.
    refused = "violates the following Content Security Policy" in said.text and REMOTE in said.text
    if said.type in ("error", "warning") and not refused:
        visit.complaints.append(f"{said.type}: {said.text}")


def _ask(visit: Visit, request: Request) -> None:
    if urlsplit(request.url).scheme in ("http", "https", "ws", "wss"):
        visit.requests.append(request)


def chromium() -> str:
    """Return where Debian's Chromium is, or the one that DJANGO_SMTPX_CHROMIUM names."""
    path = os.environ.get("DJANGO_SMTPX_CHROMIUM") or shutil.which("chromium")
    if not path:
        raise NotThere("There is no Chromium (apt-get install chromium).")
    return path


@cache
def axe() -> str:
    """Return axe-core's source."""
    try:
        return files("axe_playwright_python").joinpath("axe.min.js").read_text()
    except ModuleNotFoundError as error:
        raise NotThere('axe-core is not installed (the extra "browser").') from error
