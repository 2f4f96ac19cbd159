"""What is uploaded: the wheel and the source distribution, built, opened, and used in a clean environment."""

from __future__ import annotations

import email
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from django_smtpx.testing import ScriptedServer

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
SMOKE = Path(__file__).with_name("smoke.py")


def run(*argv: object, folder: Path) -> str:
    """Run a command in a folder and return its output; it has to succeed."""
    done = subprocess.run(
        [str(one) for one in argv], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{argv}\n{done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with both distributions, built from a copy of the source tree."""
    if not (ROOT / "django_smtpx" / "__init__.py").exists():
        pytest.skip("The source tree is not beside the tests: there is nothing to build.")
    folder = tmp_path_factory.mktemp("distributions")
    tree = folder / "tree"
    left_out = shutil.ignore_patterns(
        "__pycache__", ".venv", ".git", "var", ".*_cache", ".coverage*", ".hypothesis", ".tox"
    )
    shutil.copytree(ROOT, tree, ignore=left_out)
    run(sys.executable, "-m", "build", "--no-isolation", "-o", folder / "dist", tree, folder=folder)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def wheel(folder: Path) -> Path:
    """The wheel, which was built from the source distribution."""
    (found,) = (folder / "dist").glob("*.whl")
    return found


@pytest.fixture(scope="module")
def sdist(folder: Path) -> Path:
    """The source distribution."""
    (found,) = (folder / "dist").glob("*.tar.gz")
    return found


def contents(wheel: Path) -> dict[str, bytes]:
    """Return the files of a wheel."""
    with zipfile.ZipFile(wheel) as opened:
        return {name: opened.read(name) for name in opened.namelist()}


def sources() -> set[str]:
    """Return the files of the package in the source tree."""
    return {
        str(path.relative_to(ROOT))
        for path in (ROOT / "django_smtpx").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def test_the_wheel_is_the_package_and_nothing_else(wheel):
    """Each file of it, with translations, styles, templates and the mark of its types."""
    names = contents(wheel).keys()
    (told,) = {name.partition("/")[0] for name in names if ".dist-info/" in name}
    assert {name for name in names if not name.startswith(told)} == sources()
    for name in (
        "py.typed",
        "migrations/0001_initial.py",
        "locale/de/LC_MESSAGES/django.mo",
        "templates/admin/django_smtpx/route_list.html",
    ):
        assert f"django_smtpx/{name}" in names
    assert [name for name in names if name.endswith(".css")]
    assert f"{told}/licenses/LICENSE" in names


def test_what_the_wheel_asks_for(wheel):
    """Three packages, and more for those alone who ask for an extra."""
    (text,) = (data for name, data in contents(wheel).items() if name.endswith("/METADATA"))
    told = email.message_from_bytes(text)
    needs = told.get_all("Requires-Dist", [])
    plain = {re.split(r"[^\w.-]", one)[0] for one in needs if "extra ==" not in one}
    assert {one.lower() for one in plain} == {"celery", "django", "dnspython"}
    assert told["Requires-Python"] == ">=3.11"
    assert told["License-Expression"] == "BSD-3-Clause"
    assert told.get_payload().startswith("# ")


def test_the_source_distribution_is_enough(sdist, wheel, folder):
    """It has the tests and the documentation, nothing of whoever built it, and makes the same wheel
    as the tree does.
    """
    with tarfile.open(sdist) as opened:
        names = {name.partition("/")[2] for name in opened.getnames()}
    assert {"README.md", "CHANGELOG.md", "LICENSE", "tox.ini", "docs/index.md"} <= names
    assert sources() <= names
    assert "tests/integration/test_distributions.py" in names
    hidden = {name for name in names if re.search(r"(^|/)\.|__pycache__|\.pyc$|sqlite3$", name)}
    assert hidden <= {".gitignore"}
    run(
        sys.executable, "-m", "build", "--no-isolation", "--wheel", "-o", folder / "again",
        folder / "tree", folder=folder,
    )  # fmt: skip
    (again,) = (folder / "again").glob("*.whl")
    assert contents(again) == contents(wheel)


def test_each_in_a_clean_environment(wheel, sdist, tmp_path):
    """With what it declares and no extra: the client alone, every module, and a mail that is sent."""
    run(sys.executable, "-m", "venv", tmp_path / "venv", folder=tmp_path)
    python = tmp_path / "venv" / "bin" / "python"
    pip = (python, "-I", "-m", "pip", "install", "-q", "--disable-pip-version-check", "--no-input")
    run(*pip, wheel, folder=tmp_path)
    again = ("--force-reinstall", "--no-deps")
    for install in ((), (*pip, *again, sdist)):
        if install:
            run(*install, folder=tmp_path)
        site = tmp_path / f"site-{len(install)}"
        site.mkdir()
        with ScriptedServer() as server:
            assert "modules" in run(python, "-I", SMOKE, server.port, folder=site)
            (message,) = server.messages
        assert message.recipients == ("to@example.net",)
    run(python, "-I", "-m", "pip", "check", folder=tmp_path)
