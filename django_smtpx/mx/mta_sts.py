"""MTA-STS (RFC 8461): which servers a domain's mail may go to, and that they show a certificate.

A domain says by a TXT record that it has a policy, and which one by its ``id``; the policy itself
is a file on a web server of its own. Once it was read it holds for its ``max_age``, whoever hides
the record or the server meanwhile: that is what it is for. So what cannot be had never takes away
what is known, and only a policy with the mode ``none`` ends one (section 8.3).

What is known is kept in a :class:`Store`, and no lock is held while a policy is fetched.
"""

from __future__ import annotations

import logging
import re
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from django_smtpx.mx.cache import Cache
from django_smtpx.mx.policy_host import PolicyHosts, Unavailable
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import because, said

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from django_smtpx.mx.answers import Answer

Mode = Literal["none", "testing", "enforce"]

LONGEST = 31_557_600
"""The most seconds that a policy may ask to be kept for (section 3.2): about a year."""

SHORTEST = 300.0
"""Seconds that a policy is used for in any case, so that its host is not asked for each mail."""

REFRESH = 86_400.0
"""After so many seconds a policy is fetched anew, though its id is the same (section 10.2)."""

PAUSE = 300.0
"""Seconds without another try after one that failed (section 3.3)."""

REFRESH_PAUSE = 3600.0
"""The same while a policy that is known holds anyway."""

_TRIES = 3

_RECORD = re.compile(r"v=STSv1[ \t]*;")
_RECORD_FIELD = re.compile(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,31})=([\x21-\x3a\x3c\x3e-\x7e]+)")
_ID = re.compile(r"[A-Za-z0-9]{1,32}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_MAX_AGE = re.compile(r"[0-9]{1,10}")
_LABEL = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_PATTERN = re.compile(rf"(?:\*\.)?{_LABEL}(?:\.{_LABEL})*")
_LONGEST_NAME = 253
_MODES: dict[str, Mode] = {"none": "none", "testing": "testing", "enforce": "enforce"}

logger = logging.getLogger("django_smtpx.mx")


class BadPolicy(ValueError):
    """A record or a policy is not what RFC 8461 has."""


@dataclass(frozen=True, slots=True)
class Policy:
    """What a domain asks of whoever sends mail to it; ``max_age`` is in seconds.

    ``mx`` are names and patterns such as ``*.example.com``, in lower case. ``id`` is that of the
    TXT record by which it was fetched.
    """

    domain: str
    mode: Mode
    mx: tuple[str, ...]
    max_age: int
    id: str

    def matches(self, host: str) -> bool:
        """Say whether ``host`` is one that mail may go to (section 4.1): ``*`` is one label."""
        name = host.lower().rstrip(".")
        behind = name.partition(".")[2]
        return any(
            pattern[2:] == behind if pattern.startswith("*.") else pattern == name
            for pattern in self.mx
        )

    @property
    def lines(self) -> tuple[str, ...]:
        """The policy as it is written, without fields that are not known here."""
        return (
            "version: STSv1",
            f"mode: {self.mode}",
            *(f"mx: {pattern}" for pattern in self.mx),
            f"max_age: {self.max_age}",
        )


class Failure(NamedTuple):
    """Why a policy could not be had: a result type of RFC 8460 section 4.3, and in words."""

    tls_failure: str
    text: str


@dataclass(frozen=True, slots=True)
class Found:
    """What holds for a domain now, if anything; ``failure`` may come with a policy, which is the
    one that was known before.
    """

    policy: Policy | None = None
    failure: Failure | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """What is known of a domain, in seconds since the epoch.

    ``tried_id`` is the id at the last try, which failed if there is a ``failure``; for the same
    id there is none before ``next_try``. ``version`` is the store's.
    """

    domain: str
    policy: Policy | None = None
    fetched_at: float = 0.0
    tried_id: str = ""
    tried_at: float = 0.0
    next_try: float = 0.0
    failure: Failure | None = None
    version: int = 0

    @property
    def expires_at(self) -> float:
        """When the policy ends to hold; where there is none, when the next try is due."""
        if self.policy is None:
            return self.next_try
        return self.fetched_at + max(SHORTEST, self.policy.max_age)

    def policy_at(self, now: float) -> Policy | None:
        """Return the policy if it holds still."""
        return self.policy if now < self.expires_at else None


class Store(Protocol):
    """Where policies are kept, for all processes."""

    def get(self, domain: str) -> Stored | None:
        """Return what is known."""

    def put(self, stored: Stored) -> bool:
        """Keep ``stored`` if what is there still has its ``version`` (0: nothing is there), and say
        whether that was so.
        """


class Texts(Protocol):
    """As much of a :class:`~django_smtpx.mx.dns.Resolver` as is needed here."""

    def txt(self, name: str) -> Answer[str]:
        """Return the TXT records at ``name``."""

    def addresses(self, host: str) -> Answer[str]:
        """Return the IP addresses of ``host``."""


# -- reading -------------------------------------------------------------------------------------


def parse_record(records: Sequence[str]) -> str | None:
    """Return the id that the TXT records at ``_mta-sts`` tell, None where they tell of no policy.

    Raises :class:`BadPolicy` where more than one does, or what it says is no record (section 3.1).
    """
    ours = [record for record in records if _RECORD.match(record)]
    if not ours:
        return None
    if len(ours) > 1:
        raise BadPolicy(
            said("there are %(count)s TXT records for MTA-STS, and one is allowed", count=len(ours))
        )
    fields: dict[str, str] = {}
    parts = [part.strip(" \t") for part in ours[0].split(";")]
    if not parts[-1]:
        parts.pop()
    for part in parts:
        field = _RECORD_FIELD.fullmatch(part)
        if field is None:
            raise BadPolicy(said("its TXT record has the field %(part)s", part=repr(part[:80])))
        fields.setdefault(field[1], field[2])
    if not _ID.fullmatch(fields.get("id", "")):
        raise BadPolicy(said("its TXT record has no id of 1 to 32 letters and digits"))
    return fields["id"]


def parse_policy(body: bytes, domain: str, record_id: str) -> Policy:
    """Return the policy in a file (section 3.2). Raises :class:`BadPolicy`.

    Fields that are not known are passed over, and of one that may be there once the first counts.
    A ``max_age`` beyond the longest is that.
    """
    try:
        text = body.decode()
    except UnicodeDecodeError as error:
        raise BadPolicy(said("its policy is not in UTF-8")) from error
    fields: dict[str, str] = {}
    hosts: dict[str, None] = {}
    for line in re.split(r"\r?\n", text):
        if not line.strip(" \t"):
            continue
        key, colon, value = line.partition(":")
        if not colon or not _KEY.fullmatch(key):
            raise BadPolicy(said("its policy has the line %(line)s", line=repr(line[:80])))
        if key == "mx":
            hosts[_pattern(value.strip(" \t"))] = None
        else:
            fields.setdefault(key, value.strip(" \t"))
    return _policy(fields, tuple(hosts), domain, record_id)


def _pattern(value: str) -> str:
    pattern = value.lower()
    if len(pattern) > _LONGEST_NAME or not _PATTERN.fullmatch(pattern):
        raise BadPolicy(said("its policy has the mx %(value)s", value=repr(value[:80])))
    return pattern


def _policy(fields: dict[str, str], mx: tuple[str, ...], domain: str, record_id: str) -> Policy:
    if fields.get("version") != "STSv1":
        raise BadPolicy(said("its policy has no 'version: STSv1'"))
    mode = _MODES.get(fields.get("mode", ""))
    if mode is None:
        raise BadPolicy(
            said(
                "its policy has no mode that is known: %(value)s",
                value=repr(fields.get("mode", "")[:80]),
            )
        )
    if not _MAX_AGE.fullmatch(fields.get("max_age", "")):
        raise BadPolicy(
            said(
                "its policy has no max_age in seconds: %(value)s",
                value=repr(fields.get("max_age", "")[:80]),
            )
        )
    if mode != "none" and not mx:
        raise BadPolicy(said("its policy names no mx"))
    return Policy(domain, mode, mx, min(int(fields["max_age"]), LONGEST), record_id)


# -- finding -------------------------------------------------------------------------------------


class Policies:
    """The policies of domains: known ones, and where they are new or old, fetched ones.

    ``fetch`` returns the bytes of a domain's policy file, or raises
    :class:`~django_smtpx.mx.policy_host.Unavailable`. Thread-safe.
    """

    def __init__(
        self,
        resolver: Texts,
        store: Store,
        *,
        fetch: Callable[[str], bytes] | None = None,
        now: Callable[[], float] = time.time,
    ) -> None:
        self._resolver = resolver
        self._store = store
        self._fetch = PolicyHosts(resolver) if fetch is None else fetch
        self._now = now
        # A name server that does not answer costs its timeout once, too.
        self._silent: Cache[Failure] = Cache(now)
        self._doubted: Cache[bool] = Cache(now)

    def policy_for(self, domain: str) -> Found:
        """Return what holds for mail to ``domain``, which is in lower case and in A-labels.

        A policy that cannot be had is no error: what was known before holds then, or nothing
        (section 3.3). It may take as long as a lookup and a fetch do.
        """
        now = self._now()
        stored = self._store.get(domain)
        policy = None if stored is None else stored.policy_at(now)
        try:
            record_id = self._record_id(domain)
        except _NoRecord as unknown:
            return Found(policy, unknown.failure)
        if record_id is None:
            return Found(policy)
        stored = stored or Stored(domain=domain)
        if policy is not None and policy.id == record_id and not self._is_old(stored, now):
            return Found(policy)
        if record_id == stored.tried_id and now < self._next_try(stored):
            return Found(policy, stored.failure)
        if policy is not None and policy.id == record_id:
            # One process is enough; for the others what they have is good enough.
            taken = replace(stored, next_try=now + REFRESH_PAUSE, tried_id=record_id, tried_at=now)
            if not self._store.put(taken):
                return Found(policy)
            stored = replace(taken, version=stored.version + 1)
        return self._fetched(stored, policy, record_id)

    def doubt(self, domain: str) -> None:
        """Say that no server of ``domain`` is as its policy has it, so that it is fetched anew when
        it is asked for next, whatever its id (section 5.1), unless that was minutes ago.

        Mail that waits for the better server finds the better policy: a domain may have changed its
        record before its file, and been asked in between.
        """
        self._silent.drop(domain)
        self._doubted.put(domain, True, LONGEST)

    def _record_id(self, domain: str) -> str | None:
        """Return the id that the DNS tells now, or None where there is no record."""
        silent = self._silent.get(domain)
        if silent is not None:
            raise _NoRecord(silent)
        try:
            return parse_record(self._resolver.txt(f"_mta-sts.{domain}").records)
        except ResolveError as error:
            failure = Failure("sts-policy-fetch-error", str(error))
            self._silent.put(domain, failure, PAUSE)
            raise _NoRecord(failure) from error
        except BadPolicy as error:
            raise _NoRecord(Failure("sts-policy-invalid", because(domain, error))) from error

    def _is_old(self, stored: Stored, now: float) -> bool:
        """Say whether a policy that holds is to be fetched anew all the same."""
        assert stored.policy is not None
        if self._doubted.get(stored.domain):
            return True
        age = now - stored.fetched_at
        return age >= max(SHORTEST, min(REFRESH, stored.policy.max_age / 2))

    def _next_try(self, stored: Stored) -> float:
        if self._doubted.get(stored.domain):
            return min(stored.next_try, stored.tried_at + PAUSE)
        return stored.next_try

    def _fetched(self, stored: Stored, known: Policy | None, record_id: str) -> Found:
        """Fetch the policy, and write down what came of it."""
        domain = stored.domain
        self._doubted.drop(domain)
        try:
            policy = parse_policy(self._fetch(domain), domain, record_id)
        except Unavailable as error:
            failure = Failure(error.tls_failure, str(error))
        except BadPolicy as error:
            failure = Failure("sts-policy-invalid", because(domain, error))
        else:
            self._keep(stored, policy)
            return Found(policy)
        now = self._now()
        pause = PAUSE if known is None or known.id != record_id else REFRESH_PAUSE
        self._store.put(
            replace(stored, tried_id=record_id, tried_at=now, next_try=now + pause, failure=failure)
        )
        if known is not None and known.mode != "none":
            logger.warning(
                "The MTA-STS policy of %s cannot be fetched, and the known one holds until it "
                "expires: %s",
                domain,
                failure.text,
            )
        return Found(known, failure)

    def _keep(self, stored: Stored, policy: Policy) -> None:
        """Write down a policy that was fetched, also where another process has written meanwhile:
        what it could not fetch must not hide what we could.
        """
        for _ in range(_TRIES):
            now = self._now()
            fresh = replace(
                stored,
                policy=policy,
                fetched_at=now,
                tried_id=policy.id,
                tried_at=now,
                next_try=now + PAUSE,
                failure=None,
            )
            if self._store.put(fresh):
                return
            stored = self._store.get(policy.domain) or Stored(domain=policy.domain)


class _NoRecord(Exception):
    """Nobody could say whether there is a policy."""

    def __init__(self, failure: Failure) -> None:
        super().__init__(failure.text)
        self.failure = failure
