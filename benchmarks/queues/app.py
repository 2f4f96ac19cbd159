"""The site's Celery app; its keys in Redis are under a prefix of their own."""

from __future__ import annotations

import json
import os

from celery import Celery

_site = json.loads(os.environ["BENCHMARK_SITE"])

app = Celery("benchmark")
app.conf.broker_url = _site["broker"]["url"]
app.conf.broker_transport_options = {"global_keyprefix": _site["broker"]["prefix"]}
app.conf.broker_connection_retry_on_startup = True
app.autodiscover_tasks()
