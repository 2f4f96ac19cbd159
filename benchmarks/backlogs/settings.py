"""The site that is measured: ``BENCHMARK_SITE`` has its database and its server, as JSON."""

from __future__ import annotations

import json
import os

import django

_site = json.loads(os.environ["BENCHMARK_SITE"])
_options = {"host": _site["host"], "port": _site["port"]}
_backend = "django_smtpx.backend.EmailBackend"

SECRET_KEY = "only for benchmarks"
DEBUG = False
ALLOWED_HOSTS = ["*"]
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
ROOT_URLCONF = "benchmarks.backlogs.urls"
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
DATABASES = {"default": _site["database"]}
if django.VERSION >= (6, 1):
    MAILERS = {
        "default": {"BACKEND": _backend, "OPTIONS": _options},
        "other": {"BACKEND": _backend, "OPTIONS": _options},
    }
else:
    EMAIL_BACKEND = _backend
    SMTPX_MAILERS = {"default": _options, "other": _options}
