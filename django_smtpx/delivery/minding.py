"""What an answer asks for beyond its own recipient: the way rests, slows down, holds a sender."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from django_smtpx import ledger, pacing
from django_smtpx.delivery.families import is_policy, other_family, prefer, version
from django_smtpx.delivery.jobs import Rest

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from django_smtpx.delivery.jobs import Job
    from django_smtpx.ledger import Lease, Row
    from django_smtpx.mailer import Way
    from django_smtpx.smtp import Outcome, Result, SMTPError
    from django_smtpx.smtp.options import Options

_BUSY = 3
"""Messages in a row that the only host was too busy for, before the way rests."""

_RECONNECTS = 6
"""Transactions in a row after each of which a fresh connection was asked for, before it does."""

_REFUSALS = 2
"""Refusals by a policy over the same IP family, after which it is not tried over the other: each
process that claims a message finds out for itself.
"""

_BEFORE_CONTENT = frozenset({"mail", "rcpt", "data"})


class Minder:
    """Minds what servers ask of one course, books it, and says what it means for the course.

    ``closed`` says that the way takes no more mail now, ``leaves`` that this
    session is not to be used again. ``probing`` is set while the way is probed:
    no three messages have to be told then what the first one was told.
    """

    def __init__(self, way: Way, pace: Callable[[], float]) -> None:
        self.closed = False
        self.leaves = False
        self.slowed = False
        self.probing = False
        self.hosts: tuple[Options, ...] = ()
        self._way = way
        self._pace = pace
        self._busy = 0
        self._reconnects = 0
        self._busy_hosts: set[str] = set()
        self._turned: dict[str, tuple[str, ...]] = {}
        self._probes: dict[str, int] = {}
        self._held: set[str] = set()
        self._from_headers: dict[int, str] = {}
        self._claimed: Sequence[Row] = ()

    # -- before ----------------------------------------------------------------------------------

    def sort(
        self, rows: Sequence[Row], survey: pacing.Survey, at: datetime
    ) -> tuple[list[Row], list[tuple[pacing.Resting, list[Row]]]]:
        """Return which rows may go, and which rest with their sender or domain, and until when."""
        self._claimed = rows
        if not (survey.senders or survey.domains):
            return list(rows), []
        if survey.wants_from_headers:
            self._from_headers.update(ledger.from_headers(rows))
        may_go: list[Row] = []
        resting: dict[pacing.Resting, list[Row]] = {}
        for row in rows:
            rests = self._rests(row, survey, at)
            if rests is None:
                may_go.append(row)
            else:
                resting.setdefault(rests, []).append(row)
        return may_go, list(resting.items())

    def begin(self, hosts: Sequence[Options]) -> None:
        """Be told that a session with one of ``hosts`` is begun."""
        self.hosts, self.leaves = tuple(hosts), False

    def worth_trying(self, hosts: Sequence[Options]) -> tuple[Options, ...]:
        """Leave out those that were too busy for mail of this course, while there is another.

        Where all of them rest each is tried: what one has sent away goes on to the next.
        """
        others = tuple(options for options in hosts if options.host not in self._busy_hosts)
        return tuple(map(self._turn, others or hosts))

    def _turn(self, options: Options) -> Options:
        """Return how to go to a host: over the other IP family where the one has been refused."""
        addresses = self._turned.get(options.host)
        return options if addresses is None else replace(options, addresses=addresses)

    def set_aside(self) -> None:
        """Be told that what was claimed of refused senders rests."""
        self._held.clear()

    def may_begin(self, job: Job) -> bool:
        """Say whether the next job may begin: not when its sender has just been refused."""
        return not self._held or self._held.isdisjoint(self._keys(job.rows[0]))

    def _rests(self, row: Row, survey: pacing.Survey, at: datetime) -> pacing.Resting | None:
        found = survey.domains.get(row.domain)
        if found is not None:
            return found
        for key in self._keys(row):
            held = survey.senders.get(key)
            if held is None or self._probes.get(key) == row.message:
                continue
            if key in self._probes or not pacing.take_sender_probe(self._way, key, held, at):
                return pacing.while_probed(held, at)
            self._probes[key] = row.message
        return None

    def _keys(self, row: Row) -> tuple[str, ...]:
        from_header = self._from_headers.get(row.message)
        own = pacing.envelope_key(row.envelope_sender)
        return (own,) if from_header is None else (own, pacing.header_key(from_header))

    # -- after -----------------------------------------------------------------------------------

    def mind(self, outcome: Outcome, job: Job, lease: Lease) -> Mapping[tuple[str, str], Rest]:
        """Book what the results of one transaction ask for.

        Returns, by action and category, which of its recipients rest, and until when.
        """
        rests: dict[tuple[str, str], Rest] = {}
        seen: set[tuple[str, str]] = set()
        for result in outcome.results:
            asked = (result.action, result.category)
            if result.outcome == "sent":
                self._busy = self._reconnects = 0
                self._taken(job, lease)
                if result.host in self._turned:
                    prefer(result.host, result.ip)
            elif asked not in seen and result.error is not None:
                seen.add(asked)
                rest = self._mind(result, result.error, job, lease)
                if rest is not None:
                    rests[asked] = rest
        return rests

    def _mind(self, result: Result, error: SMTPError, job: Job, lease: Lease) -> Rest | None:
        now = lease.now()
        elsewhere = self._try_other_family(result, job, now) if is_policy(result) else None
        if elsewhere is not None:
            return elsewhere
        if result.action == "hold":
            return self._hold(result, error, job, now)
        if result.action == "pause":
            self._rest(error, now)
        elif result.action == "slow":
            self.slowed = True
            pacing.book_slow(self._way, error, self._pace(), now)
        elif result.action == "next_host":
            return self._next_host(result, error, now)
        elif result.action == "reconnect":
            self.leaves = True
            self._reconnects += 1
            if self._reconnects >= (2 if self.probing else _RECONNECTS):
                self._rest(error, now)
        return None

    def _rest(self, error: SMTPError, now: datetime) -> datetime | None:
        self.closed = True
        return pacing.book_failure(self._way, error, now)

    def _hold(self, result: Result, error: SMTPError, job: Job, now: datetime) -> Rest | None:
        if result.category in pacing.HOLDS:
            return Rest(self._rest(error, now), park=True)
        if result.category != "sender_rejected":
            return None
        row = job.rows[0]
        # Of all that was claimed: others of this sender are not to be begun.
        self._from_headers.update(ledger.from_headers([row, *self._claimed]))
        from_header = self._from_headers.get(row.message, "")
        key = pacing.key_of(result.phase, row.envelope_sender, from_header)
        self._held.add(key)
        self._probes.pop(key, None)
        return Rest(pacing.hold_sender(self._way, key, error, now), park=True)

    def _next_host(self, result: Result, error: SMTPError, now: datetime) -> Rest | None:
        """Leave a host that is too busy: another one gets the message now, if there is one.

        Nothing that was answered after the content goes to another host at once.
        """
        self._busy_hosts.add(result.host)
        pacing.book_host_failure(self._way, self.hosts, error, now)
        self.leaves = len(self.hosts) > 1
        others = any(options.host not in self._busy_hosts for options in self.hosts)
        if others and result.phase in _BEFORE_CONTENT:
            return Rest(now, park=False)
        self._busy += 1
        if self._busy >= (1 if self.probing and not others else _BUSY):
            self._rest(error, now)
        return None

    def _try_other_family(self, result: Result, job: Job, now: datetime) -> Rest | None:
        """Let a message that a policy refused over one IP family be tried over the other, once."""
        host = next((one for one in self.hosts if one.host == result.host), None)
        other = other_family(host, result.ip) if host is not None else None
        if other is None or job.rows[0].mode == "now" or result.category in pacing.HOLDS:
            return None
        turned = self._turned.get(result.host)
        if turned is not None and version(turned[0]) == version(result.ip):
            # Refused over both: that much this course knows by itself.
            return None
        refused = ledger.policy_refusals(job.rows)
        elsewhere = any(version(ip) != version(result.ip) for ip in refused)
        if elsewhere or len(refused) >= _REFUSALS:
            return None
        self._turned[result.host] = other.addresses
        self.leaves = True
        return Rest(now, park=False)

    def _taken(self, job: Job, lease: Lease) -> None:
        """Open a sender again whose probe was taken."""
        if not self._probes:
            return
        proven = [key for key in self._keys(job.rows[0]) if key in self._probes]
        if proven:
            pacing.book_sender_success(self._way, proven, lease.now())
        for key in proven:
            del self._probes[key]
