"""What a message asks for through its attributes, checked before anything is stored."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, NoReturn

from django.utils.functional import Promise
from django.utils.timezone import is_aware

from django_smtpx.smtp.options import verifies
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.config import Mailer, MXOptions

_PRIORITY_LIMIT = 2**31
_KEY_LENGTH = 255
_UNSTORABLE = re.compile(r"[\x00\ud800-\udfff]")


def read(message: object, mailer: Mailer, *, now: datetime) -> dict[str, Any]:
    """Return the wishes of ``message`` by the names that ``Composed`` has for them.

    Raises ``ValueError`` that names the attribute, its value and the mend.
    """
    send_at = _moment(message, "send_at")
    expires_at = _moment(message, "expires_at")
    if send_at is not None and mailer.mode == "now":
        _refuse(
            f"send_at is {send_at!r}, but this mailer delivers at once (mode='now'). "
            "Send through a mailer with mode='queue', or leave send_at out."
        )
    if expires_at is not None and expires_at <= now:
        _refuse(f"expires_at is {expires_at!r}, which has passed. Set a time to come.")
    if send_at is not None and expires_at is not None and send_at >= expires_at:
        _refuse(
            f"send_at ({send_at!r}) is not before expires_at ({expires_at!r}). Nothing would ever "
            "be sent: set a later expires_at."
        )
    return {
        "require_tls": require_tls(message, mailer),
        "priority": _priority(message),
        "send_at": send_at,
        "expires_at": expires_at,
        "tags": _tags(message),
        "metadata": _metadata(message),
        "idempotency_key": _key(message),
        "mailer": _mailer(message),
    }


def _moment(message: object, name: str) -> datetime | None:
    value = getattr(message, name, None)
    if value is None:
        return None
    if not isinstance(value, datetime):
        _refuse(f"{name} must be a datetime with a time zone, not {value!r}.")
    if not is_aware(value):
        _refuse(
            f"{name} is {value!r}, which has no time zone. Use django.utils.timezone.now(), "
            "or make_aware()."
        )
    return value


def _priority(message: object) -> int:
    value = getattr(message, "priority", None)
    if value is None:
        return 0
    if isinstance(value, bool) or not isinstance(value, int):
        _refuse(f"priority must be an int (higher goes first), not {value!r}.")
    if not -_PRIORITY_LIMIT <= value < _PRIORITY_LIMIT:
        _refuse(f"priority is {value!r}, which does not fit into 32 bits.")
    return value


def _tags(message: object) -> list[str]:
    value = getattr(message, "tags", None)
    if value is None:
        return []
    if not isinstance(value, (list, tuple)):
        _refuse(f"tags must be a list of strings, not {value!r}.")
    for tag in value:
        if not isinstance(tag, (str, Promise)):
            _refuse(f"tags must hold strings alone, not {tag!r}.")
    return [_storable("tags", str(tag)) for tag in value]


def _metadata(message: object) -> dict[str, Any]:
    value = getattr(message, "metadata", None)
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        _refuse(f"metadata must be a dict that JSON can hold, not {value!r}.")
    try:
        copied: dict[str, Any] = _json("metadata", value)
        json.dumps(copied, allow_nan=False)
    except (TypeError, RecursionError) as error:
        _refuse(f"metadata must be a dict that JSON can hold: {error}.")
    return copied


def _json(path: str, value: Any) -> Any:
    """Return a copy of ``value`` that is what JSON gives back, so nothing changes on the way."""
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                _refuse(f"{path} has the key {key!r}: JSON has strings for keys alone.")
        return {
            _storable(path, str(key)): _json(f"{path}[{key!r}]", one) for key, one in value.items()
        }
    if isinstance(value, (list, tuple)):
        return [_json(f"{path}[{at}]", one) for at, one in enumerate(value)]
    if isinstance(value, (str, Promise)):
        return _storable(path, str(value))
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        if value - value != 0:
            _refuse(f"{path} is {value!r}, which JSON cannot hold.")
        return value
    return _refuse(f"{path} is {value!r}, which JSON cannot hold. Turn it into a string.")


def _key(message: object) -> str | None:
    value = getattr(message, "idempotency_key", None)
    if value is None:
        return None
    if not isinstance(value, str) or not 1 <= len(value) <= _KEY_LENGTH:
        _refuse(
            f"idempotency_key must be a string of 1 to {_KEY_LENGTH} characters, not {value!r}."
        )
    return _storable("idempotency_key", str(value))


def _mailer(message: object) -> str | None:
    value = getattr(message, "mailer", None)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        _refuse(f"mailer must be the name of a configured mailer, not {value!r}.")
    return str(value)


def require_tls(message: object, mailer: Mailer) -> bool:
    """Return whether verified TLS is asked for; ``ValueError`` where ``mailer`` has none."""
    value = getattr(message, "require_tls", None)
    if value is not None and not isinstance(value, bool):
        _refuse(f"require_tls must be True or False, not {value!r}.")
    if value and mailer.mx is not None:
        _require_policies(mailer.name, mailer.mx)
    elif value and not any(verifies(options) for options in mailer.hosts):
        _refuse(
            said(
                "require_tls is True, but the mailer %(mailer)s verifies no certificate, and "
                "nothing would ever be sent: set its security to 'starttls' or 'implicit', with "
                "verify=True.",
                mailer=repr(mailer.name),
            )
        )
    return bool(value)


def _require_policies(name: str, mx: MXOptions) -> None:
    """Refuse where nothing could say which servers are a domain's own (RFC 8689 section 4.2.1)."""
    if not (mx.mta_sts or mx.dane):
        _refuse(
            said(
                "require_tls is True, but the mailer %(mailer)s heeds neither DANE nor MTA-STS, "
                "and nothing would ever be sent: set mta_sts=True, or what DANE needs.",
                mailer=repr(name),
            )
        )


def _storable(name: str, text: str) -> str:
    if _UNSTORABLE.search(text):
        _refuse(f"{name} holds a NUL or a lone surrogate, which no database takes: {text!r}.")
    return text


def _refuse(text: str) -> NoReturn:
    raise ValueError(text)
