"""Reading settings, as they are set."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta

import django
import pytest
from django.core.exceptions import ImproperlyConfigured

from django_smtpx import config
from django_smtpx.config.settings import has_mailers, is_set, names, raw


@pytest.mark.parametrize(
    ("read", "name", "default", "other"),
    [
        (config.content_retention, "SMTPX_CONTENT_RETENTION", timedelta(days=7), timedelta(0)),
        (config.log_retention, "SMTPX_LOG_RETENTION", timedelta(days=90), timedelta(hours=1)),
        (config.sweep_interval, "SMTPX_SWEEP_INTERVAL", 10.0, 0.5),
        (config.lease, "SMTPX_LEASE", 300.0, 20),
    ],
)
def test_site_settings(settings, read, name, default, other):
    """Each setting has its default, and is read late."""
    assert read() == default
    setattr(settings, name, other)
    assert read() == other
    for bad in (
        -1,
        "5",
        True,
        timedelta(days=-1),
        float("nan"),
        0 if isinstance(default, float) else 7,
    ):
        setattr(settings, name, bad)
        with pytest.raises(ImproperlyConfigured, match=name):
            read()
    setattr(settings, name, None)
    assert read() == default


def test_where_contents_are_kept(settings):
    """In the database above 1 MiB, unless the site says something else."""
    assert (config.content_inline_max(), config.content_storage()) == (1024 * 1024, None)
    settings.SMTPX_CONTENT_INLINE_MAX = 0
    settings.SMTPX_CONTENT_STORAGE = "default"
    assert (config.content_inline_max(), config.content_storage()) == (0, "default")
    for bad in (-1, True, 1.5, "5", 64 * 1024 * 1024 + 1):
        settings.SMTPX_CONTENT_INLINE_MAX = bad
        with pytest.raises(ImproperlyConfigured, match="SMTPX_CONTENT_INLINE_MAX"):
            config.content_inline_max()
    storage = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = {"default": storage, "m" * 101: storage}
    for bad in (5, "", "missing", "m" * 101, ["default"]):
        settings.SMTPX_CONTENT_STORAGE = bad
        with pytest.raises(ImproperlyConfigured, match="SMTPX_CONTENT_STORAGE"):
            config.content_storage()


def test_raw(settings):
    """A setting is read as it is, and so is that it was set at all."""
    settings.SMTPX_LEASE = 5
    assert raw("SMTPX_LEASE") == 5
    assert raw("SMTPX_NOTHING", "default") == "default"
    assert is_set("SMTPX_LEASE")
    assert not is_set("EMAIL_PORT")
    assert "SMTPX_LEASE" in names("SMTPX_")
    del settings.SMTPX_LEASE
    assert raw("SMTPX_LEASE") is None


def test_mailers_count_where_django_reads_them(settings):
    """Before Django 6.1 a MAILERS setting is nobody's."""
    settings.MAILERS = {}
    assert has_mailers() == (django.VERSION >= (6, 1))


def test_nothing_is_read_at_import():
    """The modules can be imported before there are settings."""
    code = "import django_smtpx.config, django_smtpx.mailer, django_smtpx.addresses"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, env={})
