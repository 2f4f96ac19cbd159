"""Memory that composing takes: a large attachment is there once, encoded."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

SIZE = 20_000_000
ROOT = Path(__file__).parents[2]
SCRIPT = """
import sys
from datetime import UTC, datetime
from django.conf import settings
settings.configure()
from django.core.mail import EmailMessage
from django_smtpx.compose import compose
from django_smtpx.mailer import Mailer

def peak():
    with open("/proc/self/status") as status:
        return next(int(line.split()[1]) * 1024 for line in status if line.startswith("VmHWM:"))

def mail(data, kind):
    return EmailMessage("s", "b", sys.argv[3], ["to@example.com"], attachments=[("a", data, kind)])

kind = sys.argv[1]
piece = {"application/pdf": bytes(range(256)), "text/plain": "short\\n", "text/csv": "é;" * 60 + "\\n"}[kind]
size = int(sys.argv[2])
mailer = Mailer(name="default", hosts=())
compose(mail(piece * 50, kind), mailer, datetime.now(UTC))
large = mail(piece * (size // len(piece)), kind)
with open("/proc/self/clear_refs", "w") as file:
    file.write("5")
before = peak()
composed = compose(large, mailer, datetime.now(UTC))
print(peak() - before, len(composed.content))
"""


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="No /proc tells of memory.")
@pytest.mark.parametrize("sender", ["from@example.com", "from@exämple.com"])
@pytest.mark.parametrize("kind", ["application/pdf", "text/plain", "text/csv"])
def test_a_large_attachment_is_held_once(kind, sender):
    """Composing takes little more than the result itself, or, of a text, than twice that."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, kind, str(SIZE), sender],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    growth, result = map(int, done.stdout.split())
    assert result > SIZE
    # Pages of the allocator come on top: thrice the result would be another copy of a text.
    assert growth <= result * (1.4 if kind == "application/pdf" else 2.4)
