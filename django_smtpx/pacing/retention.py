"""What nobody has used for long: where mail goes straight to domains, each that it ever went to has
rows here, of its connections, of its pace and of what it is worth.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.db.models import Exists, OuterRef, Q

from django_smtpx import ledger
from django_smtpx.models import RateWindow, Route, Slot
from django_smtpx.pacing.routes import SOUND, all_routes

if TYPE_CHECKING:
    from collections.abc import Callable
    from datetime import datetime

    from django.db.models import QuerySet

_BATCH = 500


def forget_unused(before: datetime, over: Callable[[], bool] = lambda: False) -> bool:
    """Delete what has not been used since ``before``, but nothing of a mailer as a whole, and
    nothing that rests or goes slowly; say whether that was all, before ``over`` said to end.

    Whoever needs such a row again makes it anew, and begins as with an unknown destination.
    """
    unused: tuple[QuerySet[Any], ...] = (_routes(before), _slots(before), _windows())
    return all(_delete(rows, over) for rows in unused)


def _routes(before: datetime) -> QuerySet[Route]:
    """Those of destinations, hosts and senders that nothing is wrong with."""
    of_a_part = all_routes().exclude(host="", domain="", sender="")
    return of_a_part.filter(
        Q(used_at=None) | Q(used_at__lt=before),
        Q(login_until=None) | Q(login_until__lt=before),
        slow_limit=None,
        resumed_at=None,
        working_mac="",
        **SOUND,
    )


def _slots(before: datetime) -> QuerySet[Slot]:
    """Those of destinations whose lease was over by then."""
    slots = Slot.objects.using(ledger.database()).filter(expires_at__lt=before)
    return slots.exclude(domain="")


def _windows() -> QuerySet[RateWindow]:
    """Those of destinations that go as fast as they can: nothing is counted there any more."""
    slow = all_routes().filter(
        mailer=OuterRef("mailer"),
        host="",
        domain=OuterRef("domain"),
        sender="",
        slow_limit__isnull=False,
    )
    windows = RateWindow.objects.using(ledger.database()).exclude(domain="")
    return windows.filter(~Exists(slow))


def _delete(unused: QuerySet[Any], over: Callable[[], bool]) -> bool:
    last = 0
    while keys := list(unused.filter(pk__gt=last).order_by("pk").values_list("pk")[:_BATCH]):
        if over():
            return False
        mine = [key for (key,) in keys]
        # What has been used in between stays.
        unused.filter(pk__in=mine).delete()
        last = mine[-1]
    return True
