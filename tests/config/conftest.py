"""Ways to configure mailers."""

from __future__ import annotations

import warnings

import django
import pytest
from django.conf import settings as django_settings
from django.test import override_settings

HAS_MAILERS = django.VERSION >= (6, 1)
collect_ignore = [] if HAS_MAILERS else ["test_mailers_setting.py"]
BACKEND = "django_smtpx.backend.EmailBackend"


@pytest.fixture
def settings():
    """Return what changes settings for one test, in silence about those that Django deprecates."""
    overrides = []

    class Changes:
        def __setattr__(self, name, value):
            self._enable(override_settings(**{name: value}))

        def __getattr__(self, name):
            return getattr(django_settings, name)

        def __delattr__(self, name):
            override = override_settings()
            self._enable(override)
            delattr(django_settings, name)

        def _enable(self, override):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                override.enable()
            overrides.append(override)

    yield Changes()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for override in reversed(overrides):
            override.disable()


@pytest.fixture
def classic(settings):
    """Return a function that sets EMAIL_* and SMTPX_MAILERS, with no MAILERS beside them."""
    for name in ("MAILERS", "SMTPX_MAILERS"):
        if hasattr(settings, name):
            delattr(settings, name)

    def configure(**values):
        for name, value in {"EMAIL_BACKEND": BACKEND, **values}.items():
            setattr(settings, name, value)

    return configure


@pytest.fixture(params=["MAILERS", "SMTPX_MAILERS"] if HAS_MAILERS else ["SMTPX_MAILERS"])
def configure(request, settings, classic):
    """Return a function that configures mailers by name, in each way that this Django has."""

    def by_name(**mailers):
        if request.param == "MAILERS":
            settings.MAILERS = {
                name: {"BACKEND": BACKEND, "OPTIONS": options} for name, options in mailers.items()
            }
        else:
            classic(SMTPX_MAILERS=mailers)

    return by_name
