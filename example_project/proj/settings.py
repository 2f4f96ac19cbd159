"""A site on one machine: SQLite for the rows, a folder for the broker, nothing else to install."""

from __future__ import annotations

import os
from pathlib import Path

import django

BASE = Path(__file__).resolve().parent.parent
VAR = BASE / "var"
BROKER = VAR / "broker"
BROKER.mkdir(parents=True, exist_ok=True)

SECRET_KEY = "only for this example, which listens on the loopback address alone"
DEBUG = True
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
ROOT_URLCONF = "proj.urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

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
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
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

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": VAR / "db.sqlite3",
        # A site and its worker share the file. WAL lets them read while one writes, IMMEDIATE makes
        # a second writer wait for its turn instead of failing in the middle.
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
        },
    },
}

# -- mail ----------------------------------------------------------------------

_SERVER = {
    "host": "127.0.0.1",
    "port": int(os.environ.get("EXAMPLE_SMTP_PORT", "1025")),
    # A demonstration does not wait for minutes. Leave this out in production.
    "retry": {"schedule": [1, 2, 3], "max_age": 60},
}
_MAILERS = {
    # At least once: after an unknown outcome the same bytes are sent again.
    "default": _SERVER,
    # At most once: after an unknown outcome a person decides.
    "careful": {**_SERVER, "on_unknown": "hold"},
}
if django.VERSION >= (6, 1):
    MAILERS = {
        name: {"BACKEND": "django_smtpx.backend.EmailBackend", "OPTIONS": options}
        for name, options in _MAILERS.items()
    }
else:
    EMAIL_BACKEND = "django_smtpx.backend.EmailBackend"
    SMTPX_MAILERS = _MAILERS

SMTPX_SWEEP_INTERVAL = 2

# -- Celery --------------------------------------------------------------------

CELERY_BROKER_URL = "filesystem://localhost"
CELERY_BROKER_TRANSPORT = "django_smtpx.broker.Transport"
CELERY_BROKER_TRANSPORT_OPTIONS = {
    "data_folder_in": str(BROKER),
    "data_folder_out": str(BROKER),
    "control_folder": str(BROKER / "control"),
    "polling_interval": 0.2,
}
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
