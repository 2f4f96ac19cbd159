"""Webhooks without Django and without a row: what an endpoint is, how an event is signed, posted
over HTTP, and what its answer means.

The headers and the signature are those of Standard Webhooks 1.0.0
(https://www.standardwebhooks.com), so that receivers can use the libraries that there are for it.
"""

from django_smtpx.webhooks.deciding import FIRST_FAILURES, Fate, Scope, decide, is_dead, rest
from django_smtpx.webhooks.endpoint import EVENTS, Endpoint
from django_smtpx.webhooks.posting import Answer, Poster
from django_smtpx.webhooks.signing import headers, signature

__all__ = [
    "EVENTS",
    "FIRST_FAILURES",
    "Answer",
    "Endpoint",
    "Fate",
    "Poster",
    "Scope",
    "decide",
    "headers",
    "is_dead",
    "rest",
    "signature",
]
