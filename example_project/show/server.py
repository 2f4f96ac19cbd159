"""The SMTP server of the demonstration: in a bad mood now and then, and always on purpose."""

from __future__ import annotations

from django_smtpx.testing import Close, Reply, ScriptedServer

_BUSY = Reply("421 4.3.2 Shutting down for a moment, come back soon", then=Close())


def make_server() -> ScriptedServer:
    """Return the server; a list means: so for each address's first try, and then as usual."""
    return ScriptedServer(
        {
            "RCPT": {
                "grey-*": ["450 4.7.1 Greylisted, try again after 1 second"],
                "full-*": ["452 4.2.2 Mailbox full"],
                "gone-*": "550 5.1.1 No such user here",
                "busy-*": [_BUSY],
            },
            # Before the content, without a word: it cannot have been taken.
            "DATA": {"cut-*": [Close()]},
            "EOD": {
                # After the dot, and without a word: taken, but the client cannot know.
                "hangup-*": [Close()],
                "spam-*": "550 5.7.1 This looks like spam",
            },
        },
        hostname="moody.example",
    )
