"""Why a delivery stands where it does, in sentences; what is so is :mod:`~django_smtpx.retry`'s."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.translation import gettext as _

from django_smtpx.admin import words
from django_smtpx.config import mailers
from django_smtpx.retry import Asked, Why, explain

if TYPE_CHECKING:
    from datetime import datetime

    from django_smtpx.models import Attempt, Delivery, Message
    from django_smtpx.retry import Explanation


def why(delivery: Delivery, message: Message, latest: Attempt | None, now: datetime) -> str:
    """Say why a delivery waits for what it waits for, or has ended; "" where there is nothing to
    say beyond that.
    """
    mailer = mailers().get(delivery.mailer)
    asked = Asked(
        mode=message.mode,
        send_at=message.send_at,
        policy=mailer.retry if mailer else None,
        on_unknown=mailer.on_unknown if mailer else "",
    )
    found = explain(delivery, latest, asked, now)
    parts = [_sentence(found)]
    if found.expires_first is not None:
        parts.append(_("It expires before that, %(time)s.") % {"time": _moment(found)})
    return " ".join(part for part in parts if part)


def _moment(found: Explanation) -> str:
    assert found.expires_first is not None
    return words.moment(found.expires_first)


def _sentence(found: Explanation) -> str:
    values = {
        "step": found.step,
        "wait": words.duration(found.seconds),
        "time": words.moment(found.at) if found.at is not None else "",
    }
    return _sentences().get(found.why, "") % values


def _sentences() -> dict[Why, str]:
    return {
        Why.DUE: _("It goes as soon as a worker and a connection are free."),
        Why.SEND_AT: _("Its sender asked for this time."),
        Why.RESTS: _("What it waits for was closed, and is tried again by one message first."),
        Why.STEP: _("Step %(step)s of the schedule: %(wait)s, ±20 %%."),
        Why.HINT: _("The server asked for %(wait)s."),
        Why.GREYLISTED: _("The server puts off whom it does not know yet: %(wait)s, +20 %%."),
        Why.RECONNECT: _("A fresh connection may mend it, at once."),
        Why.LAST_TRY: _("The last try: it comes to the end of its time."),
        Why.OTHERWISE: _("The present schedule does not say why: it was another one then."),
        Why.HELD: _("The verdict holds this delivery alone, and a person decides."),
        Why.UNKNOWN_THRICE: _("Three times the outcome was unknown: a person decides."),
        Why.UNKNOWN_HELD: _("It may have arrived, and its mailer leaves that to a person."),
        Why.UNKNOWN_NOW: _("It may have arrived. What a process sends itself is not sent again."),
        Why.UNKNOWN: _("It may have arrived: a person decides."),
        Why.REFUSED: _("The verdict is final, and it is not tried again."),
        Why.TOO_OLD: _("It was tried for %(wait)s, which is as long as its mailer tries."),
        Why.EXPIRED: _("It was not to be sent after %(time)s."),
        Why.NOW_MODE: _("What a process sends itself is not tried again."),
    }
