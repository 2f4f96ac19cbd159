"""``SMTPX_WEBHOOKS``: where delivery events are posted to."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import urlsplit

from django.core.signals import setting_changed

from django_smtpx.addresses import a_labels
from django_smtpx.config import values
from django_smtpx.config.settings import raw
from django_smtpx.config.unknown import BadOption, did_you_mean, refuse_unknown
from django_smtpx.webhooks import EVENTS, Endpoint

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

NAME = "SMTPX_WEBHOOKS"

NAME_LENGTH = 100
"""Characters that a row has for the name of an endpoint."""

PREFIX = "whsec_"
"""What a secret begins with, by the convention of Standard Webhooks."""

_LEAST, _MOST = 24, 64
_SHORTEST_TIMEOUT, _LONGEST_TIMEOUT = 0.1, 60.0
_GENERATE = (
    'python -c "import base64, secrets; '
    "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_PRINTABLE = re.compile(r"[\x21-\x7e]+")


class _Read(NamedTuple):
    """What the setting came to."""

    endpoints: Mapping[str, Endpoint]
    errors: Mapping[str, str]


_NOTHING = _Read(MappingProxyType({}), MappingProxyType({}))
_known: _Read | None = None


def webhooks() -> Mapping[str, Endpoint]:
    """Return the endpoints by name; one entry's mistake stops no other."""
    return _read().endpoints


def webhook_errors() -> Mapping[str, str]:
    """Return what is wrong with each entry that cannot be used, by name ("": with the setting)."""
    return _read().errors


def goes_in_clear(endpoint: Endpoint) -> bool:
    """Say whether events go to another machine without TLS."""
    return not endpoint.tls and not _is_loopback(endpoint.host)


def _read() -> _Read:
    global _known  # noqa: PLW0603 (a cache of one value)
    read = _known
    if read is None:
        read = _known = _parse(raw(NAME))
    return read


def _parse(setting: Any) -> _Read:
    if setting is None:
        return _NOTHING
    if not isinstance(setting, Mapping):
        text = f"{NAME} must be a dict of endpoints by name, not {type(setting).__name__}."
        return _Read({}, {"": text})
    endpoints: dict[str, Endpoint] = {}
    errors: dict[str, str] = {}
    for name, entry in setting.items():
        try:
            _refuse_twin(name, endpoints)
            endpoints[name] = _endpoint(name, entry)
        except BadOption as error:
            errors[str(name)] = str(error)
    return _Read(MappingProxyType(endpoints), MappingProxyType(errors))


def _refuse_twin(name: Any, others: Mapping[str, Endpoint]) -> None:
    """Refuse a name that a database may take for another's: collations are blind for case."""
    for other in others:
        if isinstance(name, str) and name.lower() == other.lower():
            raise BadOption(f"{NAME} has {name!r} and {other!r}: let more than the case differ.")


def _endpoint(name: Any, entry: Any) -> Endpoint:
    if not isinstance(name, str) or not _NAME.fullmatch(name) or len(name) > NAME_LENGTH:
        raise BadOption(
            f"{NAME} has the name {name!r}: it must be letters, digits, '.', '_' and '-', at most "
            f"{NAME_LENGTH}."
        )
    key = f"{NAME}[{name!r}]"
    if not isinstance(entry, Mapping):
        raise BadOption(f"{key} must be a dict with 'url' and 'secret', not {_kind(entry)}.")
    refuse_unknown(entry, (*_READERS, "url", "secret"), within=key)
    for required in ("url", "secret"):
        if entry.get(required) is None:
            raise BadOption(f"{key} lacks {required!r}.{_mend(required)}")
    url = _url(f"{key}['url']", entry["url"])
    options = {
        name: read(f"{key}[{name!r}]", entry[name])
        for name, read in _READERS.items()
        if entry.get(name) is not None
    }
    target = url.path or "/"
    return Endpoint(
        name=name,
        tls=url.scheme == "https",
        host=_host(f"{key}['url']", url),
        port=url.port or (443 if url.scheme == "https" else 80),
        target=f"{target}?{url.query}" if url.query else target,
        secrets=_secrets(f"{key}['secret']", entry["secret"]),
        **options,
    )


def _url(key: str, value: Any) -> SplitResult:
    """An http or https address; what is wrong is not shown but told: it may hold a secret."""
    if not isinstance(value, str) or not _PRINTABLE.fullmatch(value):
        raise BadOption(
            f"{key} must be an https:// address in ASCII without blanks: other characters are "
            "written as A-labels and with %-escapes (what is set is not shown: it may be secret)."
        )
    try:
        url = urlsplit(value)
        port = url.port
    except ValueError:
        raise BadOption(f"{key} is no address: look at its host and its port.") from None
    if url.scheme not in ("https", "http") or not url.hostname or port == 0:
        raise BadOption(
            f"{key} must begin with https:// (http:// on this machine) and a host, "
            f"not with {url.scheme + '://' if url.scheme else 'nothing of the kind'!r}."
        )
    if url.username is not None or url.password is not None:
        raise BadOption(f"{key} must hold no user or password: the signature says who it is from.")
    if url.fragment:
        raise BadOption(f"{key} must have no fragment ('#…'): it is never sent. Remove it.")
    return url


def _host(key: str, url: SplitResult) -> str:
    try:
        return a_labels(url.hostname or "")
    except ValueError as error:
        raise BadOption(f"{key} has the host {url.hostname!r}, which is none: {error}") from None


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")


def _secrets(key: str, value: Any) -> tuple[bytes, ...]:
    given = [value] if isinstance(value, str) else value
    if not isinstance(given, (list, tuple)) or not given:
        raise BadOption(
            f"{key} must be a secret, or a list of them to change one for another, "
            f"not {_kind(value)}."
        )
    found = tuple(_secret(key, one) for one in given)
    if len(set(found)) != len(found):
        raise BadOption(f"{key} holds a secret twice: remove one of them.")
    return found


def _secret(key: str, value: Any) -> bytes:
    if not isinstance(value, str) or not value.startswith(PREFIX):
        raise BadOption(
            f"{key} must begin with {PREFIX!r} (it is not shown). Make one by: {_GENERATE}"
        )
    text = value.removeprefix(PREFIX)
    try:
        secret = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise BadOption(
            f"{key} has something behind {PREFIX!r} that is no base64 (it is not shown). "
            f"Make one by: {_GENERATE}"
        ) from None
    if not _LEAST <= len(secret) <= _MOST:
        raise BadOption(
            f"{key} must be from {_LEAST} to {_MOST} bytes long, in base64; it has {len(secret)}. "
            f"Make one by: {_GENERATE}"
        )
    return secret


def _events(key: str, value: Any) -> frozenset[str]:
    names = _names(key, value, f"such as {list(EVENTS[:2])}")
    for name in names:
        if name not in EVENTS:
            raise BadOption(
                f"{key} names {name!r}, which is none of {', '.join(map(repr, EVENTS))}."
                f"{did_you_mean(name, EVENTS)}"
            )
    return names


def _mailers(key: str, value: Any) -> frozenset[str]:
    return _names(key, value, "or be left out for all of them")


def _names(key: str, value: Any, mend: str) -> frozenset[str]:
    good = isinstance(value, (list, tuple, set, frozenset)) and value
    if not good or not all(isinstance(one, str) for one in value):
        raise BadOption(f"{key} must be a list of names with at least one, {mend}, not {value!r}.")
    return frozenset(value)


def _timeout(key: str, value: Any) -> float:
    seconds = values.seconds(key, value)
    if not _SHORTEST_TIMEOUT <= seconds <= _LONGEST_TIMEOUT:
        raise BadOption(
            f"{key} must be from {_SHORTEST_TIMEOUT} to {_LONGEST_TIMEOUT:g} seconds, "
            f"not {value!r}: a receiver stores the event, and works on it later."
        )
    return seconds


def _kind(value: Any) -> str:
    return type(value).__name__


def _mend(required: str) -> str:
    return f" Make one by: {_GENERATE}" if required == "secret" else " Name where to post to."


_READERS: dict[str, Callable[[str, Any], Any]] = {
    "events": _events,
    "mailers": _mailers,
    "timeout": _timeout,
    "max_connections": values.integer(1, 32),
    "disable_after": values.seconds,
    "ca_file": values.existing_file,
}


def _on_setting_changed(*, setting: str, **_: Any) -> None:
    global _known  # noqa: PLW0603 (as above)
    if setting == NAME:
        _known = None


setting_changed.connect(_on_setting_changed, dispatch_uid="django_smtpx.config.webhooks")
