"""For tests, yours and ours: a scriptable SMTP server on a real socket."""

from __future__ import annotations

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
from django_smtpx.testing.server import ScriptedServer

__all__ = [
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
    "make_certificate",
]
