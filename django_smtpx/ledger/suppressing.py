"""The suppression list: whose mail is not sent, and how an address gets on it and off it.

An address is on the list exactly as it is: tags and dots are not folded, the
local part is taken as written and the domain in lower case (RFC 5321 section
2.4). Rows are told by a digest of that, since some collations take two local
parts for one.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING

from django.db.models import Q, QuerySet
from django.utils import timezone

from django_smtpx.addresses import addr_spec, same_mailbox_key
from django_smtpx.ledger.rows import atomically, database, patiently, storable
from django_smtpx.models import Action, Attempt, Category, Phase, Suppression
from django_smtpx.models.suppression import digest_of
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from datetime import datetime

    from django_smtpx.ledger.rows import Booking
    from django_smtpx.smtp import Result

_BATCH = 500

# What says that there is nobody at an address, for good, and will say so to every mail.
_DEAD = frozenset({Category.MAILBOX_UNKNOWN.value, Category.MAILBOX_DISABLED.value})
_ABOUT_RECIPIENT = frozenset({Phase.RCPT.value, Phase.DATA.value, Phase.EOD.value})


@dataclass(frozen=True, slots=True)
class Suppressed:
    """Why an address is on the list, since when, and until when (None: for good)."""

    address: str
    reason: str
    category: str
    since: datetime
    expires_at: datetime | None

    @property
    def words(self) -> str:
        """It in a sentence, for the reply of a delivery that it stops."""
        day = f"{self.since:%Y-%m-%d}"
        if self.reason:
            return said(
                "On the suppression list since %(day)s: %(reason)s", day=day, reason=self.reason
            )
        return said("On the suppression list since %(day)s.", day=day)


def condemns(result: Result) -> bool:
    """Say whether a result puts its recipient on the list, where there is one.

    Final verdicts on the recipient alone: ``mailbox_unknown`` and
    ``mailbox_disabled`` whose action is ``suppress``, and ``domain_unknown``
    in answer to RCPT. What the DNS says is not among them: a resolver that is
    wrong for an hour would empty an address book.
    """
    if result.outcome != "failed" or result.phase not in _ABOUT_RECIPIENT:
        return False
    if result.action == Action.SUPPRESS:
        return result.category in _DEAD or result.category == Category.DOMAIN_UNKNOWN
    final = result.action == Action.FAIL and result.phase == Phase.RCPT.value
    return final and result.category == Category.DOMAIN_UNKNOWN


def suppressed(recipients: Iterable[str], at: datetime) -> dict[str, Suppressed]:
    """Return those of ``recipients`` that are on the list at the time ``at``, and why.

    One statement for some hundreds of them.
    """
    by_digest: dict[str, list[str]] = {}
    for recipient in recipients:
        by_digest.setdefault(digest_of(recipient), []).append(recipient)
    valid = _rows().filter(Q(expires_at=None) | Q(expires_at__gt=at))
    found: dict[str, Suppressed] = {}
    for digests in _batches(by_digest):
        for row in valid.filter(digest__in=digests):
            entry = Suppressed(
                row.address, row.reason, row.category, row.created_at, row.expires_at
            )
            found.update((recipient, entry) for recipient in by_digest[row.digest])
    return found


def feed(written: Iterable[tuple[Booking, int]], at: datetime, using: str) -> None:
    """Put the recipients of outcomes that say so on the list, with the attempt as evidence.

    ``written`` are bookings with the numbers of their attempts, and this is the transaction that
    wrote them. Who is on it already stays there as he is; a row that has expired begins anew.
    """
    condemned = {
        digest_of(booking.row.recipient): (booking, number)
        for booking, number in written
        if booking.suppress
    }
    if not condemned:
        return
    keys = _attempt_keys([booking.row.pk for booking, _ in condemned.values()], using)
    # In one order everywhere: two that wait for each other's new row would be a deadlock.
    rows = [
        Suppression(
            address=same_mailbox_key(booking.row.recipient),
            reason=_reason(booking.result),
            category=booking.result.category,
            created_at=at,
            attempt_id=keys[booking.row.pk, number],
        )
        for _, (booking, number) in sorted(condemned.items())
    ]
    _insert(rows, at, using)


def add(address: str, reason: str = "", *, expires_at: datetime | None = None) -> Suppression:
    """Put an address on the list by a person's word, and return its row.

    Who is on it already gets this reason and this expiry; the evidence stays.
    Raises ``ValueError`` for what is no single valid address, and for an
    ``expires_at`` that is naive or over.
    """
    at, using = timezone.now(), database()
    if expires_at is not None and (timezone.is_naive(expires_at) or expires_at <= at):
        raise ValueError("expires_at must be an aware datetime in the future.")
    key = same_mailbox_key(addr_spec(address))
    row = Suppression(address=key, reason=storable(reason), created_at=at, expires_at=expires_at)

    def write() -> Suppression:
        mine = _rows(using).filter(digest=digest_of(key))
        _insert([row], at, using)
        while not mine.update(reason=row.reason, expires_at=expires_at):
            # Somebody took the address off the list between the two.
            _insert([row], at, using)
        return mine.get()

    return atomically(write, using)


def amend(address: str, *, reason: str, expires_at: datetime | None) -> bool:
    """Give who is on the list another reason and expiry; False if the address is not there."""
    using = database()
    mine = _rows(using).filter(digest=digest_of(_as_stored(address)))
    values = {"reason": storable(reason), "expires_at": expires_at}
    return patiently(lambda: mine.update(**values), using) > 0


def remove(*addresses: str) -> int:
    """Take addresses off the list, so that mail is sent to them again, and count them."""
    using = database()
    count = 0
    # As it is, too: a site may have written a row that is no address.
    spelled = [spelling for address in addresses for spelling in (address, _as_stored(address))]
    for digests in _batches({digest_of(spelling): "" for spelling in spelled}):
        mine = _rows(using).filter(digest__in=digests)
        count += patiently(lambda mine=mine: mine.delete()[0], using)  # type: ignore[misc]
    return count


def entry(address: str) -> Suppression | None:
    """Return the row of an address, expired or not, however the address is spelled."""
    return _rows().filter(digest=digest_of(_as_stored(address))).first()


def forget_expired(before: datetime) -> int:
    """Delete what expired before then, at most some hundreds, and count it."""
    using = database()
    old = _rows(using).filter(expires_at__lte=before)
    keys = list(old.values_list("pk", flat=True)[:_BATCH])
    # Who was renewed meanwhile stays.
    return patiently(lambda: old.filter(pk__in=keys).delete()[0], using) if keys else 0


def _insert(rows: Sequence[Suppression], at: datetime, using: str) -> None:
    """Write rows whose address is not there yet, or has expired."""
    manager = Suppression.objects.using(using)
    manager.bulk_create(rows, ignore_conflicts=True, batch_size=_BATCH)
    by_digest = {row.digest: row for row in rows}
    for digests in _batches(by_digest):
        expired = manager.filter(digest__in=digests, expires_at__lte=at)
        for digest in sorted(expired.values_list("digest", flat=True)):
            row = by_digest[digest]
            expired.filter(digest=digest).update(
                reason=row.reason,
                category=row.category,
                created_at=row.created_at,
                expires_at=row.expires_at,
                attempt=row.attempt_id,
            )


def _attempt_keys(deliveries: Sequence[int], using: str) -> dict[tuple[int, int], int]:
    """Return the primary key of each attempt of ``deliveries``, by delivery and number."""
    rows = Attempt.objects.using(using).filter(delivery__in=deliveries)
    return {
        (delivery, number): pk
        for delivery, number, pk in rows.values_list("delivery", "number", "pk")
    }


def _reason(result: Result) -> str:
    """Return what the server said: it is to be read when the attempt is gone, too."""
    parts = (str(result.code or ""), result.enhanced_code, result.reply)
    text = " ".join(part for part in parts if part)
    return storable(f"{text} ({result.host})" if result.host else text)


def _as_stored(address: str) -> str:
    """Return an address as a recipient is stored, if it is one at all."""
    try:
        return addr_spec(address)
    except ValueError:
        return address


def _rows(using: str | None = None) -> QuerySet[Suppression]:
    return Suppression.objects.using(using or database())


def _batches(items: Iterable[str]) -> Iterator[list[str]]:
    remaining = iter(items)
    while batch := list(islice(remaining, _BATCH)):
        yield batch
