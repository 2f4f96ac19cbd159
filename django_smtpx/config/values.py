"""Readers of single option values: each takes a key and a raw value, and returns it typed.

They raise :class:`BadOption` with the key, the value (never that of a secret)
and the mend.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from django_smtpx.addresses import a_labels, addr_spec
from django_smtpx.config.unknown import BadOption, did_you_mean, refuse_unknown
from django_smtpx.mailer import STANDARD_RETRY, RetryPolicy
from django_smtpx.pace import Rate
from django_smtpx.smtp.sasl import MECHANISMS
from django_smtpx.smtp.wording import because, joined, said

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST = 10 * 365 * 86400.0
"""Seconds: more than anybody waits, and little enough to add to any date."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_BLANK_OR_CONTROL = re.compile(r"[\x00-\x20\x7f-\xa0<>]")
_PATH = re.compile(r"[^\W\d]\w{0,63}(?:\.[^\W\d]\w{0,63})+")


def boolean(key: str, value: Any) -> bool:
    """True or False, and nothing that is merely true-ish ("False" would be)."""
    if not isinstance(value, bool):
        raise BadOption(
            said("%(key)s must be True or False, not %(value)s.", key=key, value=repr(value))
        )
    return value


def integer(low: int, high: int) -> Callable[[str, Any], int]:
    """Return a reader of whole numbers from ``low`` to ``high``."""

    def read(key: str, value: Any) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            if isinstance(value, str):
                raise BadOption(
                    said(
                        "%(key)s must be a whole number (int), not %(value)s: write it without "
                        "quotes, or through int().",
                        key=key,
                        value=repr(value),
                    )
                )
            raise BadOption(
                said(
                    "%(key)s must be a whole number (int), not %(value)s.",
                    key=key,
                    value=repr(value),
                )
            )
        if not low <= value <= high:
            raise BadOption(
                said(
                    "%(key)s must be from %(low)s to %(high)s, not %(value)s.",
                    key=key,
                    low=low,
                    high=high,
                    value=repr(value),
                )
            )
        return value

    return read


def seconds(key: str, value: Any) -> float:
    """A number of seconds above 0."""
    number = seconds_or_zero(key, value)
    if number == 0:
        raise BadOption(
            said(
                "%(key)s must be a number of seconds above 0, not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    return number


def seconds_or_zero(key: str, value: Any) -> float:
    """A number of seconds, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise BadOption(
            said("%(key)s must be a number of seconds, not %(value)s.", key=key, value=repr(value))
        )
    if not (math.isfinite(value) and 0 <= value <= LONGEST):
        raise BadOption(
            said(
                "%(key)s must be a number of seconds from 0 to %(most)s (ten years), "
                "not %(value)s.",
                key=key,
                most=f"{LONGEST:.0f}",
                value=repr(value),
            )
        )
    return float(value)


def choice(*allowed: str) -> Callable[[str, Any], str]:
    """Return a reader of one of ``allowed``."""

    def read(key: str, value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            known = ", ".join(repr(one) for one in allowed)
            raise BadOption(
                joined(
                    "",
                    (
                        said(
                            "%(key)s must be one of %(known)s, not %(value)s.",
                            key=key,
                            known=known,
                            value=repr(value),
                        ),
                        did_you_mean(value, allowed),
                    ),
                )
            )
        return str(value)

    return read


def text(key: str, value: Any) -> str:
    """A string; "" counts."""
    if not isinstance(value, str):
        raise BadOption(
            said("%(key)s must be a string, not %(value)s.", key=key, value=repr(value))
        )
    if "\0" in value:
        raise BadOption(said("%(key)s must not hold a NUL character.", key=key))
    return str(value)


def secret(key: str, value: Any) -> str:
    """A string that no message may show."""
    if not isinstance(value, str):
        raise BadOption(
            said("%(key)s must be a string, not %(kind)s.", key=key, kind=type(value).__name__)
        )
    if "\0" in value:
        raise BadOption(said("%(key)s must not hold a NUL character.", key=key))
    return str(value)


def dotted_path(key: str, value: Any) -> str:
    """The dotted path of something to import later.

    No message shows it: somebody may have put here what the path is meant to lead to.
    """
    if not isinstance(value, str) or len(value) > 250 or _PATH.fullmatch(value) is None:
        raise BadOption(
            said(
                "%(key)s must be the dotted path of a callable that returns a bearer "
                "token, such as 'site.mail.token' (what is set is not shown here: it "
                "could be a token).",
                key=key,
            )
        )
    return str(value)


def hosts(key: str, value: Any) -> tuple[str, ...]:
    """One host or a sequence of them, in the order to try."""
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)):
        raise BadOption(
            said(
                "%(key)s must be a host name or a list of them, not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    if not names:
        raise BadOption(
            said("%(key)s must name at least one host, not %(value)s.", key=key, value=repr(value))
        )
    found = tuple(_host(key, name) for name in names)
    if len(set(found)) != len(found):
        raise BadOption(said("%(key)s names a host twice: %(value)s.", key=key, value=repr(value)))
    return found


def _host(key: str, value: Any) -> str:
    if not isinstance(value, str) or not value or _BLANK_OR_CONTROL.search(value):
        raise BadOption(
            said(
                "%(key)s must be a host name or an IP address without blanks (or a list "
                "of them), not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    if value.count(":") == 1:
        raise BadOption(
            said(
                "%(key)s must be a name without a port, not %(value)s: use 'port'.",
                key=key,
                value=repr(value),
            )
        )
    try:
        return a_labels(value)
    except ValueError as error:
        raise BadOption(
            said(
                "%(key)s is %(value)s, which is no host name: %(error)s",
                key=key,
                value=repr(value),
                error=error,
            )
        ) from None


def helo(key: str, value: Any) -> str:
    """The name for EHLO: a domain or an address literal, in ASCII."""
    if not isinstance(value, str) or not value or _BLANK_OR_CONTROL.search(value):
        raise BadOption(
            said(
                "%(key)s must be a domain name or an address literal such as "
                "'[192.0.2.1]', not %(value)s; leave it out for this machine's own name.",
                key=key,
                value=repr(value),
            )
        )
    if len(value) > 255:
        raise BadOption(said("%(key)s must not be longer than 255 characters.", key=key))
    try:
        return a_labels(value)
    except ValueError as error:
        raise BadOption(
            said(
                "%(key)s is %(value)s, which is no domain: %(error)s",
                key=key,
                value=repr(value),
                error=error,
            )
        ) from None


def ip_address(key: str, value: Any) -> str:
    """An IPv4 or IPv6 address."""
    try:
        if isinstance(value, str):
            return str(ipaddress.ip_address(value))
    except ValueError:
        pass
    raise BadOption(
        said(
            "%(key)s must be an IP address of this machine, not %(value)s.",
            key=key,
            value=repr(value),
        )
    )


def existing_file(key: str, value: Any) -> str:
    """The path of a file that is there."""
    if not isinstance(value, (str, Path)) or not str(value) or "\0" in str(value):
        raise BadOption(
            said(
                "%(key)s must be the path of a PEM file, not %(value)s.", key=key, value=repr(value)
            )
        )
    if not Path(value).is_file():
        raise BadOption(
            said(
                "%(key)s is %(value)s, and there is no such file (or it is hidden).",
                key=key,
                value=repr(str(value)),
            )
        )
    return str(value)


def mechanisms(key: str, value: Any) -> tuple[str, ...]:
    """SASL mechanisms, best first; empty for "auto"."""
    if value == "auto":
        return ()
    names = [value] if isinstance(value, str) else value
    if not isinstance(names, (list, tuple)) or not names:
        raise BadOption(
            said(
                "%(key)s must be 'auto' or a list of SASL mechanisms, not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    found = tuple(name.upper() if isinstance(name, str) else name for name in names)
    for name in found:
        if name not in MECHANISMS:
            raise BadOption(
                joined(
                    "",
                    (
                        said(
                            "%(key)s names %(name)s, which is none of %(mechanisms)s.",
                            key=key,
                            name=repr(name),
                            mechanisms=", ".join(MECHANISMS),
                        ),
                        did_you_mean(name, MECHANISMS),
                    ),
                )
            )
    return found


def rate(key: str, value: Any) -> Rate:
    """A rate such as "14/s"."""
    try:
        if isinstance(value, str):
            return Rate.parse(value)
    except ValueError:
        pass
    raise BadOption(
        said(
            "%(key)s must be a whole number above 0 for each second, minute, hour or "
            "day, such as '14/s', '500/m', '100/h' or '10000/d', not %(value)s.",
            key=key,
            value=repr(value),
        )
    )


def retry(key: str, value: Any) -> RetryPolicy:
    """The standard policy, or one of the site's own."""
    if value == "standard":
        return STANDARD_RETRY
    if not isinstance(value, Mapping):
        raise BadOption(
            said(
                "%(key)s must be 'standard' or {'schedule': [seconds, ...], 'max_age': "
                "seconds}, not %(value)s.",
                key=key,
                value=repr(value),
            )
        )
    refuse_unknown(value, ("schedule", "max_age"), within=key)
    steps = value.get("schedule", STANDARD_RETRY.schedule)
    if not isinstance(steps, (list, tuple)) or not steps:
        raise BadOption(
            said(
                "%(key)s['schedule'] must be a list of seconds with at least one step, "
                "not %(steps)s.",
                key=key,
                steps=repr(steps),
            )
        )
    return RetryPolicy(
        schedule=tuple(seconds(f"{key}['schedule'][{at}]", step) for at, step in enumerate(steps)),
        max_age=seconds(f"{key}['max_age']", value.get("max_age", STANDARD_RETRY.max_age)),
    )


def addresses(key: str, value: Any) -> tuple[str, ...]:
    """One address or a sequence of them."""
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not given:
        raise BadOption(
            said(
                "%(key)s must be an address or a list with at least one, not %(value)s; "
                "leave it out (or set None) to send to the real recipients.",
                key=key,
                value=repr(value),
            )
        )
    try:
        return tuple(dict.fromkeys(addr_spec(text(key, one)) for one in given))
    except BadOption:
        raise
    except ValueError as error:
        raise BadOption(because(key, error)) from None
