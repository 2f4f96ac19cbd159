"""SASL mechanisms as small client state machines (RFC 4422, RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from django_smtpx.smtp.options import Credential


class Mechanism(Protocol):
    """One exchange; the object is used up by it."""

    name: str

    def initial(self) -> bytes | None:
        """Return the response that may go with the AUTH command, or None where there is none."""

    def respond(self, challenge: str) -> bytes | None:
        """Return the answer to a challenge (its text as it came), or None to cancel."""


class Plain:
    """PLAIN (RFC 4616): one response with everything."""

    name = "PLAIN"

    def __init__(self, credential: Credential) -> None:
        self._message = f"\0{credential.username}\0{credential.password}".encode()
        self._answered = False

    def initial(self) -> bytes | None:
        """Return the whole message."""
        return self._message

    def respond(self, challenge: str) -> bytes | None:
        """Say it again, once, to a server that passed over the initial response."""
        if self._answered:
            return None
        self._answered = True
        return self._message


class Login:
    """LOGIN (draft-murchison-sasl-login): two prompts, for the name and for the password.

    The prompts are not interpreted: servers word them, and encode them, as they like.
    """

    name = "LOGIN"

    def __init__(self, credential: Credential) -> None:
        self._answers = [credential.password.encode(), credential.username.encode()]

    def initial(self) -> bytes | None:
        """Return None: many servers ask for the name whatever came with the command."""
        return None

    def respond(self, challenge: str) -> bytes | None:
        """Return the user name, then the password."""
        return self._answers.pop() if self._answers else None


MECHANISMS: dict[str, Callable[[Credential], Mechanism]] = {"PLAIN": Plain, "LOGIN": Login}
"""The mechanisms there are, best first."""


def choose(
    offered: Iterable[str], allowed: Iterable[str], credential: Credential
) -> Mechanism | None:
    """Return the first of ``allowed`` (empty: of all) that ``offered`` has, or None."""
    names = set(offered)
    for name in usable(allowed):
        if name in names:
            return MECHANISMS[name](credential)
    return None


def usable(allowed: Iterable[str]) -> tuple[str, ...]:
    """Return the names in ``allowed`` (empty: all) that there is a mechanism for, best first."""
    wanted = tuple(name.upper() for name in allowed) or tuple(MECHANISMS)
    return tuple(name for name in wanted if name in MECHANISMS)
