"""What an endpoint is: a frozen value without a secret in its repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NoReturn

EVENTS = ("sent", "deferred", "delayed", "failed", "unknown", "suppressed", "cancelled")
"""What can be told of a delivery; ``type`` is that with ``delivery.`` in front."""

DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Endpoint:
    """Where events are posted to, validated.

    ``secrets`` are keys of HMAC: an event is signed with each of them, so that they can be changed
    one after the other. ``target`` is the path with the query; like the secrets it is not in the
    repr, as many a receiver has its secret there. ``mailers`` is None for all of them. ``timeout``
    is in seconds, for all of a request; ``disable_after`` is after how many seconds of nothing but
    failures it is given up until a person says otherwise.
    """

    name: str
    tls: bool
    host: str
    port: int
    target: str = field(repr=False)
    secrets: tuple[bytes, ...] = field(repr=False)
    events: frozenset[str] = frozenset(EVENTS)
    mailers: frozenset[str] | None = None
    timeout: float = 10.0
    max_connections: int = 1
    disable_after: float = DAY
    ca_file: str | None = None

    @property
    def where(self) -> str:
        """Scheme, host and port: as much of the address as people may see."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        usual = 443 if self.tls else 80
        port = "" if self.port == usual else f":{self.port}"
        return f"{'https' if self.tls else 'http'}://{host}{port}"

    def wants(self, event: str, mailer: str) -> bool:
        """Say whether it is told of ``event`` of a delivery of ``mailer``."""
        return event in self.events and (self.mailers is None or mailer in self.mailers)

    def __reduce__(self) -> NoReturn:
        raise TypeError("A secret is not pickled: the settings have it in each process.")
