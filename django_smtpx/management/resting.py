"""What ``smtpx_pause`` and ``smtpx_resume`` share: what is meant, and what rests of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.core.management.base import CommandError

from django_smtpx import ledger
from django_smtpx.models import Route
from django_smtpx.pacing import Scope, domain_of

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet


def scope_of(mailer: str, domain: str | None) -> Scope:
    """Return what the arguments mean; a CommandError for a domain that is none."""
    try:
        return Scope(mailer, "" if domain is None else domain_of(domain))
    except ValueError as invalid:
        raise CommandError(str(invalid)) from invalid


def state_of(scope: Scope) -> str:
    """Return whether it is open, paused or held, as its row has it."""
    rows = Route.objects.using(ledger.database()).filter(
        mailer=scope.mailer, domain=scope.domain, host="", sender=""
    )
    return rows.values_list("state", flat=True).first() or Route.State.OPEN.value


def arguments(scope: Scope) -> str:
    """Return how the commands name it."""
    return f"{scope.mailer} --domain {scope.domain}" if scope.domain else scope.mailer


def resting_routes(mailer: str, at: datetime) -> QuerySet[Route]:
    """Return what rests at ``at`` of a mailer: itself first, then its domains and senders."""
    routes = Route.objects.using(ledger.database()).filter(mailer=mailer, host="")
    found = routes.exclude(state=Route.State.OPEN).exclude(paused_until__lte=at)
    return found.order_by("domain", "sender")
