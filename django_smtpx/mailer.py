"""What a mailer is: frozen values without a secret in their repr."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, NoReturn

if TYPE_CHECKING:
    from django_smtpx.mx.dns import ResolverOptions
    from django_smtpx.pace import Rate
    from django_smtpx.smtp.options import Options

_MINUTE = 60.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """When to try again, in seconds: the steps (the last one repeats), and for how long."""

    schedule: tuple[float, ...] = (
        1 * _MINUTE,
        2 * _MINUTE,
        5 * _MINUTE,
        10 * _MINUTE,
        20 * _MINUTE,
        40 * _MINUTE,
        1 * _HOUR,
        2 * _HOUR,
        4 * _HOUR,
        4 * _HOUR,
        6 * _HOUR,
    )
    max_age: float = 48 * _HOUR


STANDARD_RETRY = RetryPolicy()


@dataclass(frozen=True, slots=True)
class DKIMKey:
    """What mail is signed with for a ``domain`` (RFC 6376), as A-labels; tried, and found good.

    ``secret`` is the key as PEM, or the base64 of an Ed25519 key's seed, for ``algorithm``
    ("rsa-sha256" or "ed25519-sha256"). It is no part of the repr, and nothing pickles it.
    """

    domain: str
    selector: str
    algorithm: str
    secret: str = field(repr=False)

    @property
    def name(self) -> str:
        """Where its public half is in the DNS."""
        return f"{self.selector}._domainkey.{self.domain}"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A private key is not pickled: the settings have it in each process.")


@dataclass(frozen=True, slots=True, kw_only=True)
class MXOptions:
    """How mail goes straight to the recipients' servers, all of them on the same ``port``.

    ``template`` is how each is spoken to, but for its name and the TLS that
    policies want of it. ``mta_sts`` and ``dane`` say whether those are looked
    up. ``dane_misses`` is what would have to be there for DANE that was asked
    for, and without which it is skipped.
    """

    template: Options
    resolver: ResolverOptions
    port: int = 25
    mta_sts: bool = True
    dane: bool = True
    dane_misses: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mailer:
    """One named configuration (the OPTIONS of a mailer), validated.

    ``name`` is "" for a connection that was made with options of its own; a
    worker cannot look that up, so its ``mode`` is ``"now"``. ``hosts`` are
    tried in order, and an empty ``helo`` in them means this machine's own name.
    With ``transport`` ``"mx"`` there are none, and ``mx`` says how those of a
    domain are found. ``connection_max_age`` and ``idle_timeout`` are in seconds.
    """

    name: str
    hosts: tuple[Options, ...]
    transport: Literal["smtp", "mx"] = "smtp"
    mx: MXOptions | None = None
    mode: Literal["queue", "now"] = "queue"
    fail_silently: bool = False
    retry: RetryPolicy = STANDARD_RETRY
    on_unknown: Literal["retry", "hold"] = "retry"
    redirect_to: tuple[str, ...] = ()
    dkim: tuple[DKIMKey, ...] = ()
    dsn: bool = False
    suppression: bool = False
    transcript: Literal["always", "failures", "never"] = "failures"
    max_connections: int = 4
    messages_per_connection: int = 100
    connection_max_age: float = 300.0
    idle_timeout: float = 10.0
    rate: Rate | None = None


@dataclass(frozen=True, slots=True)
class Way:
    """Where mail of a mailer goes: to its hosts, or straight to the servers of one ``domain``.

    What rests, is slowed down or is counted is about one such way.
    """

    mailer: Mailer
    domain: str = ""

    @property
    def name(self) -> str:
        """The mailer's name."""
        return self.mailer.name

    def __str__(self) -> str:
        return f"{self.name!r} to {self.domain}" if self.domain else repr(self.name)
