"""The hostile mails: the tricks of each leave each other alone."""

from __future__ import annotations

from tests.admin.hostile import TRICKS

CLICKED = [name for name in TRICKS if name.startswith(("form", "javascript-link", "link"))]
"""What does something when it is clicked on."""
RUNNING = [name for name, html in TRICKS.items() if "top.location" in html and name not in CLICKED]
"""What would run, and take the top away."""
COVERING = ["css-overlay", "css-escape-frame", "frameset", "base", "meta-refresh"]
"""What would lie over the rest, or lead the frame elsewhere."""
SWALLOWING = ["noscript", "template", "mutation", "frame-end", "document-end", "open-quote"]
"""What takes what is behind it for its own."""

MAILS = {
    "clicked": CLICKED,
    "running": RUNNING,
    "covering": COVERING,
    "swallowing": SWALLOWING,
    "loading": [
        name for name in TRICKS if name not in (*CLICKED, *RUNNING, *COVERING, *SWALLOWING)
    ],
}
"""The tricks in each mail, by its name."""
