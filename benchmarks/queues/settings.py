"""The site that a queue is measured in; what it is, is in ``BENCHMARK_SITE``, as JSON."""

from __future__ import annotations

import json
import os

from benchmarks.queues.kinds import KINDS

_site = json.loads(os.environ["BENCHMARK_SITE"])
_kind = KINDS[_site["kind"]]

SECRET_KEY = "only for benchmarks"
DEBUG = False
USE_TZ = True
TIME_ZONE = "UTC"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = ["django.contrib.contenttypes", "django.contrib.auth", *_kind.apps]
TEMPLATES = [{"BACKEND": "django.template.backends.django.DjangoTemplates"}]
DATABASES = {"default": _site["database"]}
# A site in production logs warnings; post_office would log more to the terminal.
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"stderr": {"class": "logging.StreamHandler"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "post_office": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
    },
}

globals().update(_kind.settings(_site))
