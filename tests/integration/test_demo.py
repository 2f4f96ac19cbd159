"""The demonstration, as a visitor runs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import django_smtpx

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.integration

EXAMPLE = Path(__file__).parents[2] / "example_project"
PACKAGES = Path(django_smtpx.__file__).parents[1]
SECONDS = 100


@pytest.fixture
def example(tmp_path: Path) -> Path:
    """A copy of the example project that nobody has run yet."""
    ignore = shutil.ignore_patterns("var", "__pycache__")
    return Path(shutil.copytree(EXAMPLE, tmp_path / "example", ignore=ignore))


def start(example: Path) -> subprocess.Popen[str]:
    """Start the demonstration with a home directory that is empty."""
    home = example.parent / "home"
    home.mkdir()
    return subprocess.Popen(
        [sys.executable, "demo.py"],
        cwd=example,
        env={"PATH": os.environ["PATH"], "HOME": str(home), "PYTHONPATH": str(PACKAGES)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def processes_in(folder: Path) -> Iterator[int]:
    """Give the processes that run in ``folder``."""
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if (process / "cwd").readlink() == folder:
                yield int(process.name)
        except OSError:
            continue


def test_the_demonstration_settles_everything(example: Path) -> None:
    """It ends by itself with exit code 0, finds nothing wrong, and leaves no process behind."""
    with start(example) as demo:
        output, _ = demo.communicate(timeout=SECONDS)
    assert demo.returncode == 0, output
    assert "Nothing is lost" in output
    assert "WRONG" not in output
    assert not list(processes_in(example))


def test_the_demonstration_ends_its_children(example: Path) -> None:
    """Stopped in the middle, it ends its worker before itself."""
    with start(example) as demo:
        assert demo.stdout is not None
        for line in demo.stdout:
            if line.startswith("Delivering"):
                break
        demo.send_signal(signal.SIGTERM)
        demo.communicate(timeout=SECONDS)
    assert demo.returncode == 130
    deadline = time.monotonic() + 5
    while list(processes_in(example)) and time.monotonic() < deadline:
        os.sched_yield()
    assert not list(processes_in(example))
