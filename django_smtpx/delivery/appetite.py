"""How much a course claims at once, and whether there is more than it can carry alone."""

from __future__ import annotations

from django_smtpx.delivery.chunk import MAX_MESSAGES


class Appetite:
    """What the claims of one course have come to, for the next one."""

    def __init__(self) -> None:
        self._one_each = False
        self._without_end = 0

    def most(self, limit: int, room: int) -> int:
        """Return how many deliveries to claim, ``limit`` at most: as many as the open session has
        ``room`` for, if that is not too few, and if messages had one recipient each.

        What is claimed for two sessions is read and marked anew for the second.
        """
        return min(room, limit) if self._one_each and room >= MAX_MESSAGES else limit

    def calls_for_help(self, claimed: int, most: int, enough: int) -> bool:
        """Be told that a claim of ``most`` came to so many, and return whether another drain may
        help: each time that ``enough`` were claimed, with no end of them.
        """
        self._without_end = self._without_end + claimed if claimed == most > 1 else 0
        if self._without_end < enough:
            return False
        self._without_end = 0
        return True

    def digest(self, deliveries: int, jobs: int) -> None:
        """Be told how many transactions the deliveries of a claim are."""
        self._one_each = deliveries == jobs
