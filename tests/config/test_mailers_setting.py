"""The MAILERS setting, which Django has from 6.1 on."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import mailers as django_mailers

from django_smtpx.config import get_mailer, mailer_errors, mailer_from_kwargs, mailers
from tests.config.conftest import BACKEND
from tests.config.test_mailers import LOCMEM, OPTIONS


def test_bad_mailers(settings):
    """So are MAILERS."""
    settings.MAILERS = ["default"]
    with pytest.raises(ImproperlyConfigured, match="MAILERS must be a dictionary"):
        mailers()


def test_mailers_stand_alone(settings):
    """With MAILERS nothing else is read, and other backends' entries are left alone."""
    settings.SMTPX_MAILERS = {"other": {"host": "b.example"}}
    settings.MAILERS = {
        "default": {"BACKEND": LOCMEM, "OPTIONS": {"anything": 1}},
        "smtp": {},
        "odd": None,
        "ours": {"BACKEND": BACKEND, "OPTIONS": {"host": "a.example"}},
        "bare": {"BACKEND": "tests.config.backends.Subclass"},
    }
    assert list(mailers()) == ["ours"]
    assert "MAILERS['bare']: 'host' must be given" in str(mailer_errors()["bare"])


def test_backend_made_by_hand_beside_mailers(settings):
    """Beside MAILERS, it has what it is given and nothing else: no credentials leave by mistake."""
    settings.MAILERS = {"default": {"BACKEND": BACKEND, "OPTIONS": OPTIONS}}
    mailer = mailer_from_kwargs("default", {"host": "b.example"})
    assert (mailer.name, mailer.mode, mailer.hosts[0].credential) == ("", "now", None)
    assert mailer_from_kwargs("made up", {"host": "b.example"}).name == ""
    assert (
        mailer_from_kwargs("made up", {"mailer": "default", "host": "b.example"})
        .hosts[0]
        .credential
    )
    settings.MAILERS = {"default": {"BACKEND": LOCMEM}}
    assert mailer_from_kwargs(None, {"host": "b.example"}).hosts[0].host == "b.example"
    with pytest.raises(ImproperlyConfigured, match="'host' must be given"):
        mailer_from_kwargs(None, {})


def test_django_hands_the_options_over(settings):
    """What Django's own look-up builds is the mailer of that name."""
    settings.MAILERS = {
        name: {"BACKEND": BACKEND, "OPTIONS": {"host": name}} for name in ("default", "other")
    }
    assert django_mailers["other"].mailer is get_mailer("other")
    assert django_mailers.default.mailer is get_mailer("default")
