"""What a person asks for that is about more than rows: to send again is to let senders go, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing

if TYPE_CHECKING:
    from datetime import datetime

    from django_smtpx.ledger import Selection, Steered


def send_again(selection: Selection, at: datetime, *, by: str = "") -> Steered:
    """Make deliveries due at ``at``, and resume those of their senders that a refusal holds.

    Otherwise they would be put away again, untried. Raises what :func:`ledger.retry` raises.
    """
    steered = ledger.retry(selection, at, by=by)
    pacing.resume_senders_of(steered.messages, at)
    return steered
