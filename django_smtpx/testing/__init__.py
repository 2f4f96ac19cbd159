"""For tests, yours and ours: a scriptable SMTP server on a real socket, and the real queue.

``ScriptedServer`` and what goes with it need no Django; ``real_queue`` and
``deliver`` are imported when they are first asked for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.testing.actions import (
    Close,
    Delay,
    MidContent,
    NoReply,
    Raw,
    Reply,
    Reset,
    Silence,
    Split,
)
from django_smtpx.testing.certificates import Certificate, make_certificate
from django_smtpx.testing.conversation import Conversation
from django_smtpx.testing.records import Command, ReceivedMessage, ReceivedSession
from django_smtpx.testing.server import KEYWORDS, ScriptedServer

if TYPE_CHECKING:
    from django_smtpx.testing.outbox import deliver, real_queue

__all__ = [
    "KEYWORDS",
    "Certificate",
    "Close",
    "Command",
    "Conversation",
    "Delay",
    "MidContent",
    "NoReply",
    "Raw",
    "ReceivedMessage",
    "ReceivedSession",
    "Reply",
    "Reset",
    "ScriptedServer",
    "Silence",
    "Split",
    "deliver",
    "make_certificate",
    "real_queue",
]


def __getattr__(name: str) -> object:
    if name in ("deliver", "real_queue"):
        from django_smtpx.testing import outbox

        return getattr(outbox, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
