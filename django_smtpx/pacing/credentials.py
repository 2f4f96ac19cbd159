"""Refused credentials, by a keyed fingerprint, each with its own next probe.

Apart from the route's state: in a rolling deploy workers with the old password
and workers with the new one are at work at once. Neither walks through the
other's door, and the old one is not tried again and again.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django.utils.crypto import salted_hmac

from django_smtpx import ledger
from django_smtpx.models import RefusedCredential
from django_smtpx.pacing.routes import PROBES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from datetime import datetime

    from django.db.models import QuerySet

    from django_smtpx.mailer import Mailer


def credential_mac(mailer: Mailer) -> str:
    """Return a keyed fingerprint of the mailer's credential, which tells two apart and no more."""
    parts = []
    for options in mailer.hosts:
        credential = options.credential
        if credential is not None:
            source = getattr(credential.token, "path", "")
            parts += [credential.username, credential.password, source]
    value = "\0".join(parts)
    return salted_hmac("django_smtpx.credential", value, algorithm="sha256").hexdigest()


def refusal(mailer: Mailer) -> RefusedCredential | None:
    """Return what is on record of the mailer's credential, if it was refused."""
    return _of(mailer).first()


def refusals(mailers: Iterable[Mailer]) -> dict[str, RefusedCredential]:
    """Return what is on record of these mailers' credentials, by name, in one statement."""
    by_name = {mailer.name: mailer for mailer in mailers}
    rows = RefusedCredential.objects.using(ledger.database()).filter(mailer__in=by_name)
    return {row.mailer: row for row in rows if row.mac == credential_mac(by_name[row.mailer])}


def refuse(mailer: Mailer, at: datetime) -> datetime:
    """Note that the mailer's credential was refused, and return its next probe.

    After 15 minutes, then hourly. Two workers that were refused together count as one.
    """
    first = RefusedCredential(
        mailer=mailer.name,
        mac=credential_mac(mailer),
        refusals=1,
        refused_at=at,
        next_probe_at=at + PROBES[0],
    )
    known = refusal(mailer)
    if known is None:
        # Whole from the first moment; nor does it matter who else writes it, or forgives it.
        _patiently(lambda: _of(mailer).bulk_create([first], ignore_conflicts=True))
        return first.next_probe_at
    if known.next_probe_at > at:
        return known.next_probe_at
    until = at + PROBES[min(known.refusals, len(PROBES) - 1)]
    same = _of(mailer).filter(refusals=known.refusals)
    _patiently(lambda: same.update(refusals=known.refusals + 1, refused_at=at, next_probe_at=until))
    return until


def forgive(mailer: Mailer) -> None:
    """Forget that the mailer's credential was ever refused: it has just worked."""
    _patiently(_of(mailer).delete)


def forget_refused(before: datetime) -> int:
    """Delete what was refused last before that time: nobody has tried it since; count them."""
    old = RefusedCredential.objects.using(ledger.database()).filter(refused_at__lt=before)
    return old.delete()[0]


def refused_elsewhere(mailers: Mapping[str, Mailer], at: datetime) -> list[str]:
    """Return whose mail this process may send, while others are refused with what they know.

    In a rolling deploy these are the new workers: a hint that an old one takes is lost.
    """
    rows = RefusedCredential.objects.using(ledger.database()).filter(next_probe_at__gt=at)
    macs: dict[str, set[str]] = {}
    for name, mac in rows.values_list("mailer", "mac"):
        macs.setdefault(name, set()).add(mac)
    return sorted(
        name
        for name, refused in macs.items()
        if name in mailers and credential_mac(mailers[name]) not in refused
    )


def _of(mailer: Mailer) -> QuerySet[RefusedCredential]:
    rows = RefusedCredential.objects.using(ledger.database())
    return rows.filter(mailer=mailer.name, mac=credential_mac(mailer))


def _patiently(work: Callable[[], object]) -> None:
    """Write, though others write beside it: who is forgiven and refused at once is a deadlock."""
    ledger.patiently(work, ledger.database())
