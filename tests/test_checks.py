"""System checks: each id, and that a good site has none."""

# ruff: noqa: F811 (the fixtures are those of the config tests)

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import django
import pytest
from django.apps import apps
from django.core.checks.registry import registry
from django.core.management import call_command

from django_smtpx import checks
from tests.config.conftest import classic, configure, settings  # noqa: F401

HOST = {"host": "a.example"}
FILE_DATABASE = {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=wal;"}


def found(*, deploy=False):
    """Return our own messages by id."""
    return {one.id: one for one in messages(deploy=deploy)}


def messages(*, deploy=False):
    """Return what our own checks say."""
    ours = [one for one in registry.get_checks(deploy) if one.__module__ == checks.__name__]
    return [message for check in ours for message in check(app_configs=None, databases=None)]


@pytest.fixture
def outbox_on(monkeypatch):
    """Return a function that puts the outbox into a database of some kind."""

    def put(vendor="sqlite", *, memory=False, **options):
        connection = SimpleNamespace(
            vendor=vendor, settings_dict={"OPTIONS": options}, is_in_memory_db=lambda: memory
        )
        monkeypatch.setattr(checks, "connections", {"default": connection})

    return put


def test_a_good_site(configure):
    """A site that is configured as it should be hears nothing."""
    configure(default={**HOST, "port": 587, "username": "u", "password": "p"})
    assert found(deploy=True) == {}


@pytest.mark.django_db
def test_the_tests_own_site():
    """The site of these tests is a good one, by the command that everybody runs."""
    call_command("check", deploy=False)
    assert apps.get_app_config("django_smtpx").verbose_name == "Outbox"


def test_invalid_mailers(configure):
    """E001: each mailer that cannot be used is told by name, key and mend."""
    configure(default={**HOST, "port": 465, "use_tls": True}, other={**HOST, "max_connections": 0})
    errors = [one for one in messages() if one.id == "django_smtpx.E001"]
    assert len(errors) == 2
    assert "'port' is 465" in errors[0].msg
    assert "'max_connections' must be from 1" in errors[1].msg
    assert "'other'" in errors[1].hint


def test_smtpx_mailers_that_are_no_dictionary(classic):
    """E001 comes too where no mailer can be read at all, and no other check trips over that."""
    classic(SMTPX_MAILERS=[])
    assert list(found(deploy=True)) == ["django_smtpx.E001"]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("SMTPX_CONTENT_INLINE_MAX", "1 MiB", "(int), not '1 MiB'"),
        ("SMTPX_CONTENT_INLINE_MAX", -1, "from 0 to 67108864, not -1. It is in bytes"),
        ("SMTPX_CONTENT_STORAGE", "mial", "('default', 'mail'), not 'mial'. Did you mean 'mail'?"),
        ("SMTPX_CONTENT_STORAGE", "", "not ''"),
        ("SMTPX_CONTENT_STORAGE", "default", "STORAGES['default'] cannot be used"),
    ],
)
def test_where_contents_are_kept(settings, name, value, said):
    """E003: the settings for large contents name key, value and mend."""
    settings.STORAGES = {
        "default": {"BACKEND": "nothing.Here"},
        "mail": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
    }
    setattr(settings, name, value)
    error = found()["django_smtpx.E003"]
    assert error.msg.startswith(name)
    assert said in error.msg
    setattr(settings, name, "mail" if name.endswith("STORAGE") else 0)
    assert found() == {}


@pytest.mark.parametrize(("alias", "told"), [("default", True), ("mail", False), (None, False)])
def test_contents_where_files_are_served(settings, alias, told):
    """W010: mail is not kept among the files that visitors get."""
    storage = {"BACKEND": "django.core.files.storage.InMemoryStorage"}
    settings.STORAGES = {"default": storage, "mail": storage}
    settings.SMTPX_CONTENT_STORAGE = alias
    assert ("django_smtpx.W010" in found(deploy=True)) is told
    assert "django_smtpx.W010" not in found()


def test_settings_out_of_range(settings):
    """E003: a setting of the wrong kind is named."""
    settings.SMTPX_LEASE = timedelta(minutes=5)
    assert "SMTPX_LEASE must be a number of seconds" in found()["django_smtpx.E003"].msg


def test_rules_that_are_none(configure, settings):
    """E003: rules that cannot be used are told once, and not as a mistake of each mailer."""
    configure(default=HOST, other=HOST)
    settings.SMTPX_RULES = "tests.config.test_rules.BAD_ENTRY"
    errors = messages()
    assert [one.id for one in errors] == ["django_smtpx.E003"]
    assert "entry 2 of 'tests.config.test_rules.BAD_ENTRY'" in errors[0].msg
    settings.USE_TZ = False
    assert [one.id for one in messages()] == ["django_smtpx.E003"]


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({}, ["transaction_mode", "init_command"]),
        ({**FILE_DATABASE, "transaction_mode": "DEFERRED"}, ["transaction_mode"]),
        ({**FILE_DATABASE, "init_command": "PRAGMA foreign_keys=ON;"}, ["init_command"]),
        (FILE_DATABASE, []),
        ({**FILE_DATABASE, "transaction_mode": "immediate"}, []),
    ],
)
def test_sqlite(configure, outbox_on, options, missing):
    """W001: SQLite needs WAL and IMMEDIATE transactions to serve senders and workers."""
    configure(default=HOST)
    outbox_on(**options)
    warning = found().get("django_smtpx.W001")
    assert [
        word for word in ("transaction_mode", "init_command") if warning and word in warning.msg
    ] == missing
    if warning:
        assert "'transaction_mode': 'IMMEDIATE'" in warning.hint


@pytest.mark.parametrize("database", [{"memory": True}, {"vendor": "postgresql"}])
def test_databases_that_need_no_advice(configure, outbox_on, database):
    """No W001 for another database, or one in memory."""
    configure(default=HOST)
    outbox_on(**database)
    assert found() == {}


@pytest.mark.parametrize(
    ("zone", "keeps_zones", "told"),
    [
        ("Europe/Berlin", False, True),
        ("Europe/Berlin", True, False),
        ("Asia/Kolkata", False, False),
        (None, False, False),
    ],
)
def test_an_hour_that_comes_twice(configure, outbox_on, zone, keeps_zones, told):
    """W009: MariaDB and SQLite cannot tell one from the other where they do not keep UTC."""
    configure(default=HOST)
    outbox_on("mysql")
    connection = checks.connections["default"]
    connection.features = SimpleNamespace(supports_timezones=keeps_zones)
    connection.settings_dict["TIME_ZONE"] = zone
    warning = found().get("django_smtpx.W009")
    assert (warning is not None) is told
    if warning:
        assert "'Europe/Berlin'" in warning.msg


def test_no_advice_to_those_who_do_not_send(classic, outbox_on):
    """No W001 where no mailer is ours."""
    classic(EMAIL_BACKEND="django.core.mail.backends.locmem.EmailBackend")
    outbox_on()
    assert found() == {}


def test_plaintext_auth(configure):
    """W002: credentials in clear are told before a deployment, where there are any."""
    configure(default={**HOST, "allow_plaintext_auth": True, "username": "u", "password": "p"})
    assert "django_smtpx.W002" not in found()
    assert "'default'" in found(deploy=True)["django_smtpx.W002"].msg
    configure(default={**HOST, "allow_plaintext_auth": True})
    assert found(deploy=True) == {}


def test_verify(configure):
    """W003: a certificate that nobody verifies is worth a word."""
    configure(default=HOST, other={**HOST, "verify": False})
    assert "'other'" in found()["django_smtpx.W003"].msg


def test_redirect(configure, settings):
    """W004: a redirection that may have been left behind on the real site."""
    settings.DEBUG = False
    configure(default={**HOST, "redirect_to": ["dev@a.example"]})
    assert "dev@a.example" in found()["django_smtpx.W004"].msg
    settings.DEBUG = True
    assert found() == {}


@pytest.mark.parametrize(
    ("half", "text"),
    [
        ({"username": "u"}, "username without password"),
        ({"password": "s3cr3t"}, "password without username"),
        ({"username": "u", "password": ""}, "username without password"),
    ],
)
def test_half_a_credential(configure, half, text):
    """W005: half a credential logs in nowhere."""
    configure(default={**HOST, **half})
    warning = found()["django_smtpx.W005"]
    assert text in warning.msg
    assert "s3cr3t" not in str(warning)


def test_half_a_credential_in_email_settings(classic):
    """W005 names the settings as they are called."""
    classic(EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="")
    assert "EMAIL_HOST_USER without EMAIL_HOST_PASSWORD" in found()["django_smtpx.W005"].msg


def test_time_zones(classic):
    """E004: without aware times there are no leases."""
    classic(USE_TZ=False)
    assert "USE_TZ" in found()["django_smtpx.E004"].msg


def test_default_port(classic):
    """W006: with EMAIL_USE_TLS alone the port is another than Django's."""
    classic(EMAIL_USE_TLS=True)
    assert "port 587" in found()["django_smtpx.W006"].msg
    for quiet in ({"EMAIL_PORT": 587}, {"EMAIL_PORT": 25}, {"EMAIL_USE_TLS": False}):
        classic(**{"EMAIL_USE_TLS": True, **quiet})
        assert found() == {}
        classic(EMAIL_USE_TLS=False)


def test_settings_that_nothing_reads(settings):
    """W007: settings for another version of Django do nothing here."""
    settings.MAILERS = {
        "default": {"BACKEND": "django_smtpx.backend.EmailBackend", "OPTIONS": HOST}
    }
    settings.SMTPX_MAILERS = {"default": HOST}
    if django.VERSION >= (6, 1):
        assert "SMTPX_MAILERS" in found()["django_smtpx.W007"].msg
    else:
        assert found() == {}
        del settings.SMTPX_MAILERS
        assert "MAILERS is set" in found()["django_smtpx.W007"].msg


def test_unknown_settings(settings):
    """W008: a misspelt setting is told with the one that was meant."""
    settings.SMTPX_LOG_RETENTON = timedelta(days=1)
    assert "Did you mean 'SMTPX_LOG_RETENTION'" in found()["django_smtpx.W008"].msg


def test_every_id_is_documented():
    """The table in the module names each id that it gives, and no other."""
    given = set(checks.__doc__.split()) & {
        word for word in checks.__doc__.split() if word.startswith("django_smtpx.")
    }
    source = Path(checks.__file__).read_text().partition('"""\n\nfrom')[2]
    used = {
        f"django_smtpx.{kind}{number:03}"
        for kind in "EWI"
        for number in range(1, 30)
        if f"django_smtpx.{kind}{number:03}" in source
    }
    assert given == used
