"""Views for machines: is mail flowing, and the figures behind it. ``urls`` gives them addresses."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from django.db import Error as DatabaseError
from django.http import HttpResponse, JsonResponse
from django.utils.cache import add_never_cache_headers
from django.views.decorators.http import require_safe

from django_smtpx import ledger
from django_smtpx.health import findings, flows

if TYPE_CHECKING:
    from django.http import HttpRequest

logger = logging.getLogger("django_smtpx.views")


@require_safe
def health(request: HttpRequest) -> JsonResponse:
    """Answer 200 where mail flows and 503 where it does not, with the names of what is wrong.

    Neither names a mailer nor says why: who asks need not be known.
    """
    try:
        found = findings(ledger.now())
        names = sorted({one.trouble.value for one in found if one.failing})
        warnings = sorted({one.trouble.value for one in found if not one.failing})
        well = flows(found)
    except DatabaseError:
        logger.exception("Whether mail flows cannot be said: the database does not answer.")
        well, names, warnings = False, ["database"], []
    answer = JsonResponse(
        {"status": "ok" if well else "failing", "problems": names, "warnings": warnings},
        status=200 if well else 503,
    )
    add_never_cache_headers(answer)
    return answer


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer what Prometheus asks for (extra ``metrics``)."""
    from django_smtpx.metrics import CONTENT_TYPE, exposition

    answer = HttpResponse(exposition(), content_type=CONTENT_TYPE)
    add_never_cache_headers(answer)
    return answer
