"""The site's settings; see :class:`tests.integration.sites.Site` for what the file holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

_site = json.loads(Path(os.environ["SMTPX_SITE"]).read_text())

SECRET_KEY = "only for tests"
USE_TZ = True
TIME_ZONE = "Europe/Berlin"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django_smtpx",
]

DATABASES = {"default": _site["database"]}
if DATABASES["default"]["ENGINE"] == "django.db.backends.mysql":
    import pymysql

    pymysql.install_as_MySQLdb()

# Celery reads these through the prefix.
CELERY_BROKER_URL = _site["broker"]["url"]
CELERY_BROKER_TRANSPORT = _site["broker"]["transport"]
CELERY_BROKER_TRANSPORT_OPTIONS = _site["broker"]["options"]
CELERY_TASK_DEFAULT_QUEUE = _site["broker"]["queue"]
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True

# MAILERS, or SMTPX_MAILERS and EMAIL_*, and SMTPX_SWEEP_INTERVAL and the like.
globals().update(_site["settings"])
