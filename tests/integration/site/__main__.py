"""``python -m tests.integration.site NAME``: call one function of ``actions`` in a process of the site.

Its keyword arguments come in as JSON, and what it returns goes out as JSON in the file that
``SMTPX_ANSWER`` names: standard output is the site's own.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import django


def main(name: str) -> None:
    """Call ``actions.name``."""
    from tests.integration.site.celery import app

    app.set_default()
    django.setup()
    from tests.integration.site import actions

    answer = getattr(actions, name)(**json.load(sys.stdin))
    Path(os.environ["SMTPX_ANSWER"]).write_text(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
