"""The headers of a request, as Standard Webhooks 1.0.0 has them (section "Webhook headers")."""

from __future__ import annotations

import base64
import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def signature(secret: bytes, event: str, timestamp: int, body: bytes) -> str:
    """Return ``v1,`` and the base64 of the HMAC-SHA256 of id, time and body."""
    signed = b".".join((event.encode(), str(timestamp).encode(), body))
    digest = hmac.digest(secret, signed, "sha256")
    return f"v1,{base64.b64encode(digest).decode()}"


def headers(secrets: Iterable[bytes], event: str, timestamp: int, body: bytes) -> dict[str, str]:
    """Return the headers that go with ``body``, signed with each of ``secrets``.

    ``event`` is the same at each try, ``timestamp`` (seconds since 1970) that of this one.
    """
    return {
        "Content-Type": "application/json",
        "webhook-id": event,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join([signature(one, event, timestamp, body) for one in secrets]),
    }
