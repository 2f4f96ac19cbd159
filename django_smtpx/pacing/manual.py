"""What a person closes and opens, whatever failures say: a mailer, a destination, a sender.

A person's pause is told by having no category of failure. Without a time it is a
hold; with one it ends by itself. Neither a failure nor a success changes it.
"""

from __future__ import annotations

import logging
from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING

from django.db.models import Case, Q, Value, When

from django_smtpx import ledger
from django_smtpx.models import RefusedCredential
from django_smtpx.pacing.holds import resume_senders
from django_smtpx.pacing.routes import SOUND, Key, State, all_routes, rows
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from datetime import datetime

LATE = timedelta(minutes=1)
"""How long after a way was opened somebody may still put mail away behind it.

Who looked before it was opened writes after it, and what rests until it is resumed
would rest for ever. So it is looked after once more.
"""

# One message goes first, where failures are on record: the person may err.
_WITH_A_PROBE = Case(When(consecutive_failures__gt=0, then=Value(1)), default=Value(0))

logger = logging.getLogger("django_smtpx.pacing")


def pause(
    mailer: str,
    at: datetime,
    *,
    domain: str = "",
    until: datetime | None,
    reason: str,
    by: str = "",
) -> None:
    """Let a mailer, or its mail to one ``domain``, rest from ``at`` on.

    Until then, or (None) until somebody resumes it. It takes the place of
    whatever rests there already. ``reason`` is in the person's words, ``by``
    for the log. Raises ``ValueError`` for a time that has passed.
    """
    if until is not None and until <= at:
        raise ValueError(said("A pause has to end after %(at)s UTC.", at=f"{at:%Y-%m-%d %H:%M:%S}"))
    key = Key(mailer, domain=domain)
    # The count of failures stays: one message goes first afterwards.
    values = {
        "state": State.HELD if until is None else State.PAUSED,
        "paused_until": until,
        "pause_reason": reason,
        "category": "",
        "resumed_at": None,
    }
    # Again where the retention has deleted the row in between.
    while not rows(key).update(**values):
        all_routes().get_or_create(**asdict(key))
    rests = f"rests until {until:%Y-%m-%d %H:%M:%S} UTC" if until else "is held"
    logger.warning("Mailer %s %s: %s (%s)", key, rests, reason or "no reason given", by or "-")


def resume(
    mailer: str,
    at: datetime,
    *,
    domain: str = "",
    host: str = "",
    sender: str = "",
    by: str = "",
) -> bool:
    """Open a mailer, one of its destinations, hosts or senders, whoever closed it.

    What rests behind it is ready at once. ``sender`` is a key as
    :func:`envelope_key` and :func:`header_key` make it. With a mailer as a
    whole the refusals of its credentials are forgotten. False when it was open.
    """
    key = Key(mailer, host, domain, sender)
    if sender:
        opened = bool(resume_senders(mailer, [sender], at))
    else:
        forgotten = _forget_refusals(mailer) if key == Key(mailer) else 0
        closed = rows(key).exclude(state=State.OPEN)
        values = {**SOUND, "consecutive_failures": _WITH_A_PROBE, "resumed_at": at}
        opened = bool(closed.update(**values) + forgotten)
    if not opened:
        return False
    _let_come(key, at)
    ledger.promote(at)
    logger.warning("Mailer %s is resumed (%s)", key, by or "-")
    return True


def rests(mailer: str, *, domain: str = "", sender: str = "") -> bool:
    """Say whether there is anything for :func:`resume` to open."""
    key = Key(mailer, domain=domain, sender=sender)
    refused = RefusedCredential.objects.using(ledger.database()).filter(mailer=mailer)
    closed = rows(key).exclude(state=State.OPEN).exists()
    return closed or (key == Key(mailer) and refused.exists())


def end_pauses(at: datetime) -> None:
    """Open what people have paused until now, and look after what was opened lately."""
    over = Q(state=State.PAUSED, category="", paused_until__lte=at)
    lately = Q(state=State.OPEN, resumed_at__lte=at - LATE)
    for route in all_routes().filter(over | lately):
        key = Key(route.mailer, route.host, route.domain, route.sender)
        same = rows(key).filter(
            state=route.state, paused_until=route.paused_until, resumed_at=route.resumed_at
        )
        if route.state == State.OPEN:
            _let_come(key, at)
            same.update(resumed_at=None)
        elif same.update(state=State.OPEN, paused_until=None, pause_reason="", resumed_at=at):
            _let_come(key, at)
            logger.info("The pause of mailer %s is over.", key)


def _let_come(key: Key, at: datetime) -> None:
    """Make due what rests behind a way; nothing rests behind one host."""
    if not key.host:
        ledger.unpark(key.mailer, at, domain=key.domain or None)


def _forget_refusals(mailer: str) -> int:
    count, _ = RefusedCredential.objects.using(ledger.database()).filter(mailer=mailer).delete()
    return count
