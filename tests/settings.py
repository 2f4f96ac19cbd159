"""The site that the tests run in; ``DJANGO_SMTPX_TEST_DB`` chooses its database."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import django

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
ROOT_URLCONF = "tests.urls"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.messages",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "django_smtpx",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]


def _database(kind: str) -> dict[str, object]:
    """Return the settings of one database; the test database is made by the test runner."""
    if kind == "sqlite":
        # A file, not memory: threads and processes that meet in it must wait as they would in a
        # site, and a shared memory cache fails at once instead.
        name = Path(tempfile.gettempdir()) / f"django_smtpx-{os.getpid()}.sqlite3"
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": name,
            "TEST": {"NAME": name},
            "OPTIONS": {
                "timeout": 20,
                "transaction_mode": "IMMEDIATE",
                "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
            },
        }
    if kind == "postgres":
        return {
            "ENGINE": "django.db.backends.postgresql",
            "NAME": "postgres",
            "HOST": os.environ.get("PGHOST", "127.0.0.1"),
            "PORT": os.environ.get("PGPORT", "5432"),
            "USER": os.environ.get("PGUSER", "postgres"),
            "PASSWORD": os.environ.get("PGPASSWORD", ""),
            "TEST": {"NAME": f"test_smtpx_{os.getpid()}"},
        }
    if kind == "mariadb":
        import pymysql  # absent from the default test environment

        pymysql.install_as_MySQLdb()
        return {
            "ENGINE": "django.db.backends.mysql",
            "NAME": "test",
            "HOST": os.environ.get("MYSQL_HOST", "127.0.0.1"),
            "PORT": os.environ.get("MYSQL_TCP_PORT", "3306"),
            "USER": os.environ.get("MYSQL_USER", "root"),
            "PASSWORD": os.environ.get("MYSQL_PWD", ""),
            "OPTIONS": {"charset": "utf8mb4"},
            "TEST": {"NAME": f"test_smtpx_{os.getpid()}", "CHARSET": "utf8mb4"},
        }
    raise ValueError(f"DJANGO_SMTPX_TEST_DB={kind!r}: choose sqlite, postgres or mariadb.")


DATABASES = {"default": _database(os.environ.get("DJANGO_SMTPX_TEST_DB", "sqlite"))}

# Nothing listens there: a test that means to send says where.
_options: dict[str, object] = {"host": "127.0.0.1", "port": 1}
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": "django_smtpx.backend.EmailBackend", "OPTIONS": _options},
    }
else:
    EMAIL_BACKEND = "django_smtpx.backend.EmailBackend"
    SMTPX_MAILERS = {"default": _options}
