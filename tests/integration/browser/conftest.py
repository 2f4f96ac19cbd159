"""The site, the same in another theme, and the browser."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.integration.browser.lab import Lab
from tests.integration.browser.serving import Served, served
from tests.integration.conftest import skipping

if TYPE_CHECKING:
    from collections.abc import Iterator

pytest.register_assert_rewrite("tests.integration.browser.deeds")


@pytest.hookimpl(tryfirst=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> object:
    """Run a test that has the browser in the browser's thread; see :class:`Lab`."""
    lab = pyfuncitem.funcargs.get("lab")
    if not isinstance(lab, Lab):
        return None
    names = pyfuncitem._fixtureinfo.argnames
    lab.run(pyfuncitem.obj, **{name: pyfuncitem.funcargs[name] for name in names})
    return True


@pytest.fixture(scope="session")
def lab() -> Iterator[Lab]:
    """A running browser."""
    lab = Lab()
    try:
        with skipping():
            lab.run(lab.start)
        yield lab
    finally:
        lab.stop()


@pytest.fixture(scope="session")
def _site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with served(tmp_path_factory.mktemp("site")) as site:
        yield site


@pytest.fixture(scope="session")
def _unfold(_site: Served, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    pytest.importorskip("unfold")
    settings = "tests.integration.browser.settings_unfold"
    with served(tmp_path_factory.mktemp("unfold"), settings=settings, past=_site) as site:
        yield site


@pytest.fixture
def site(_site: Served) -> Served:
    """The site with nothing but its past."""
    _site.restore()
    return _site


@pytest.fixture
def unfold(_unfold: Served) -> Served:
    """The site in django-unfold's theme, with nothing but its past."""
    _unfold.restore()
    return _unfold
