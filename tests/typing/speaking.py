"""The client on its own."""

from __future__ import annotations

from typing import Literal, assert_type

from django_smtpx.smtp import (
    DSN,
    AuthenticationError,
    Client,
    Envelope,
    RecipientsRefused,
    Result,
    SMTPError,
    TLSModeMismatch,
)


def send(content: bytes) -> list[Result]:
    """Send one message and say what became of it."""
    envelope = Envelope(
        "me@example.com",
        ["you@example.com"],
        content,
        dsn=DSN(notify=("FAILURE",)),
        require_tls=True,
    )
    assert_type(envelope.recipients, tuple[str, ...])
    with Client("smtp.example.com", 587, security="starttls", username="u", password="p") as client:
        try:
            results = client.send(envelope)
        except RecipientsRefused as error:
            assert_type(error.results, tuple[Result, ...])
            raise
        except (AuthenticationError, TLSModeMismatch) as error:
            assert_type(error.code, int | None)
            raise
        except SMTPError as error:
            told(error)
            raise
    assert_type(results, list[Result])
    for result in results:
        assert_type(result.outcome, Literal["sent", "deferred", "failed", "unknown"])
        assert_type(result.error, SMTPError | None)
    return results


def refused(client: Client) -> None:
    """Make mistakes."""
    client.send("me@example.com")  # type: ignore[arg-type]
    Envelope("me@example.com", [17], b"")  # type: ignore[list-item]
    Envelope("me@example.com", ["you@example.com"], "text")  # type: ignore[arg-type]


def told(error: SMTPError) -> None:
    """Read all that an error carries."""
    assert_type(error.command, str)
    assert_type(error.enhanced_code, str)
    assert_type(error.reply, str)
    assert_type(error.host, str)
    assert_type(error.ip, str)
    assert_type(error.category, str)
    assert_type(error.temporary, bool)
    assert_type(error.disconnected, bool)
    assert_type(error.content_sent, Literal["no", "partial", "all"])
