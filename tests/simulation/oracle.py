"""What a careful operator who knows the future would have at the end of the day, and by how little.

Told from what the servers do and from what users see promised, and from
nothing of how the package goes about it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from tests.simulation import servers
from tests.simulation.servers import HOUR, MINUTE

if TYPE_CHECKING:
    from tests.simulation.day import Mail

END = 24 * HOUR

PROMPT = 15 * MINUTE
"""What a server takes at once, or after greylisting, or after asking for less, is there by then.

It is also how long a message that expires has at least: for those that need longer both ends are
right.
"""


@dataclass(frozen=True, slots=True)
class Expected:
    """Where one recipient of one message is to be at the end.

    ``statuses`` are those that are right, ``taken`` how often (least, most) its server may have
    it then, ``attempts`` how many a sender needs who knows the future. It is ``not_before`` that
    it can be taken, and it has to be there ``by`` then.
    """

    statuses: frozenset[str]
    taken: tuple[int, int]
    attempts: int
    not_before: float
    by: float = field(default=END)

    def in_doubt(self, on_unknown: str) -> Expected:
        """Return what is right where the worker was killed while it sent it.

        It may have been taken without a word of it in the rows: then it is sent again, or a person
        decides.
        """
        least, most = self.taken
        if on_unknown == "hold":
            return replace(self, statuses=self.statuses | {"unknown"}, taken=(0, most))
        return replace(self, taken=(least, most + 1), attempts=self.attempts + 1)


class Oracle:
    """Asked for each recipient once, in the order in which the mail comes."""

    def __init__(self) -> None:
        self._triplets: set[tuple[str, str]] = set()

    def expected(self, mail: Mail, recipient: str, place: servers.Place) -> Expected:
        """Return where ``recipient`` is to be."""
        due = mail.send_at if mail.send_at is not None else mail.at
        if recipient.startswith("nobody"):
            return Expected(frozenset({"failed"}), (0, 0), 1, due)
        if recipient.startswith("full"):
            return self._full(mail, due)
        if isinstance(place, servers.Dropping) and place.drops(mail.number):
            return self._dropped(mail, place, due)
        first = self._is_stranger(mail, recipient, place)
        opens = _opens(mail, place, due)
        by = _by(mail, place, due, opens)
        if mail.expires_at is None or by <= mail.expires_at:
            return Expected(frozenset({"sent"}), (1, 1), 1 + first, opens, by)
        if mail.expires_at <= opens:
            return Expected(frozenset({"failed"}), (0, 0), 1, due)
        return Expected(frozenset({"sent", "failed"}), (0, 1), 1, opens)

    def _full(self, mail: Mail, due: float) -> Expected:
        ends = mail.expires_at
        if mail.max_age is not None:
            ends = min(due + mail.max_age, ends if ends is not None else END)
        status = "failed" if ends is not None and ends < END else "deferred"
        return Expected(frozenset({status}), (0, 0), 1, due)

    def _dropped(self, mail: Mail, place: servers.Dropping, due: float) -> Expected:
        had = int(place.takes(mail.number))
        if mail.on_unknown == "hold":
            return Expected(frozenset({"unknown"}), (had, had), 1, due)
        # Who is told nothing sends it again: it cannot be had with fewer attempts.
        return Expected(frozenset({"sent"}), (1 + had, 1 + had), 2, due, due + PROMPT)

    def _is_stranger(self, mail: Mail, recipient: str, place: servers.Place) -> bool:
        """Say whether a greylister has not met the two yet: nobody gets past it at once."""
        triplet = (mail.sender, recipient)
        if not isinstance(place, servers.Greylisting) or triplet in self._triplets:
            return False
        self._triplets.add(triplet)
        return True


def _opens(mail: Mail, place: servers.Place, due: float) -> float:
    """Return from when on the server can be made to take it."""
    if isinstance(place, servers.Backed):
        return due
    if isinstance(place, servers.Dead) and place.dies <= due < place.lives:
        return place.lives
    if isinstance(place, servers.Forgetful) and place.begins <= due < place.ends:
        return place.ends
    if isinstance(place, servers.Picky) and due < place.told:
        refused = mail.sender.startswith("news@") or mail.author.startswith("boss@")
        return place.told if refused else due
    return due


def _by(mail: Mail, place: servers.Place, due: float, opens: float) -> float:
    """Return when it has to be there at the latest: what rests is probed within the hour, and
    that goes for what comes meanwhile as well.
    """
    ends = 0.0
    if isinstance(place, servers.Dead) and due >= place.dies - PROMPT:
        ends = place.lives + HOUR
    elif isinstance(place, servers.Forgetful) and due >= place.begins - PROMPT:
        ends = place.ends + HOUR
    elif isinstance(place, servers.Limiting):
        ends = opens + HOUR
    return max(opens, ends) + PROMPT
