"""The pictures of the documentation: ``python -m tests.integration.browser.screenshots docs/images``.

They are of a site whose past and whose clock stand still (libfaketime), so that the same code gives
the same pictures.
"""

from __future__ import annotations

import sys
import tempfile
from dataclasses import replace
from pathlib import Path

from django_smtpx.testing import ScriptedServer
from tests.integration.browser.lab import Lab, View
from tests.integration.browser.pages import PAGES
from tests.integration.browser.serving import Served, served
from tests.integration.test_clocks import faketime

NOW = "2026-03-04 10:20:30"
PICTURES = {
    "overview": "overview",
    "deliveries": "deliveries",
    "message": "message",
    "content": "content",
    "pause": "confirmation: pause",
    "diagnosis": "diagnosis",
}
"""The pages that have one, by the name of its file."""
VIEW = View("light", (1280, 700))
HIGHEST = 1050


def take(folder: Path) -> None:
    """Write the pictures into ``folder``."""
    folder.mkdir(parents=True, exist_ok=True)
    lab = Lab()
    env = faketime(FAKETIME=NOW, TZ="UTC")
    with (
        tempfile.TemporaryDirectory() as place,
        ScriptedServer(port=2525) as server,
        served(Path(place), smtp=server.port, env=env) as site,
    ):
        try:
            lab.run(lab.start)
            for name, way in PICTURES.items():
                lab.run(_take, lab, site, way, folder / f"admin-{name}.png")
        finally:
            lab.stop()


def _take(lab: Lab, site: Served, way: str, file: Path) -> None:
    site.restore()
    with lab.visit(site, views=(VIEW,)) as visit:
        PAGES[way](visit)
        visit.page.wait_for_load_state("networkidle")
        height = min(HIGHEST, visit.page.evaluate("document.documentElement.scrollHeight"))
        visit.look(replace(VIEW, size=(VIEW.size[0], height)))
        visit.page.screenshot(path=file)
    print(f"{file}: {file.stat().st_size // 1024} kB")


if __name__ == "__main__":
    take(Path(sys.argv[1]))
