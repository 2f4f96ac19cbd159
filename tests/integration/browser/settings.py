"""The site's settings; ``SMTPX_BROWSER_SITE`` is its folder, and ``SMTPX_BROWSER_SMTP`` a port."""

from __future__ import annotations

import os
from pathlib import Path

import django

_SMTP = int(os.environ.get("SMTPX_BROWSER_SMTP", "1"))

REMOTE = "https://images.bluedoor.example/"
"""Where the site's own mails have their pictures."""

ATTACHED = b"%PDF-1.4\n" + bytes(range(256)) * 90
"""What is attached to one of them."""

SECRET_KEY = "only for tests"
DEBUG = False
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en"
ROOT_URLCONF = "tests.integration.browser.urls"
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
    "tests.integration.browser.urls.strict",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.locale.LocaleMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
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
        "NAME": Path(os.environ.get("SMTPX_BROWSER_SITE", ".")) / "site.sqlite3",
        "OPTIONS": {
            "timeout": 20,
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA synchronous=OFF;",
        },
    }
}
CELERY_BROKER_URL = "memory://"

_BACKEND = "django_smtpx.backend.EmailBackend"
_options = {
    "default": {"host": "localhost", "port": _SMTP, "security": "none", "suppression": True},
    "newsletter": {"host": "localhost", "port": _SMTP, "security": "none"},
    "direct": {"transport": "mx", "helo": "out.shop.example"},
}
if django.VERSION >= (6, 1):
    MAILERS = {
        name: {"BACKEND": _BACKEND, "OPTIONS": options} for name, options in _options.items()
    }
else:
    EMAIL_BACKEND = _BACKEND
    SMTPX_MAILERS = _options
DEFAULT_FROM_EMAIL = "Shop <shop@shop.example>"
