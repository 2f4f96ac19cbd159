"""The same site in django-unfold's theme, which has templates and a style sheet of its own."""

from __future__ import annotations

from tests.integration.browser.settings import *  # noqa: F403
from tests.integration.browser.settings import INSTALLED_APPS as _APPS
from tests.integration.browser.settings import MIDDLEWARE as _MIDDLEWARE

INSTALLED_APPS = ["unfold", *_APPS]
# Its Alpine.js evaluates text, which no strict policy lets it.
MIDDLEWARE = [name for name in _MIDDLEWARE if name != "tests.integration.browser.urls.strict"]
