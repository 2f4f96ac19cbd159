"""The option ``dkim``: whose signatures a mailer's mail bears, and with which keys.

A key is read, and tried, when the configuration is: one that does not sign is told of by a system
check, and not by the first mail. What is said of it never holds a part of it.
"""

from __future__ import annotations

import base64
import re
from binascii import Error as Base64Error
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django_smtpx.addresses import a_labels
from django_smtpx.config.unknown import BadOption, refuse_unknown
from django_smtpx.mailer import DKIMKey
from django_smtpx.smtp.wording import said

INSTALL = 'pip install "django-smtpx[dkim]"'

RSA_LEAST = 1024
"""Bits below which verifiers take no RSA key (RFC 8301 section 3.2)."""

_KEYS = ("domain", "selector", "private_key", "private_key_file")
_LARGEST_FILE = 64 * 1024
_LONGEST_NAME = 64
"""Characters of a domain or a selector: dkimpy cuts in two what is longer than a line."""

_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9](?:[A-Za-z0-9_-]{0,62}))*")
_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----\n(.*?)\n-----END \1-----", re.DOTALL)
_ED25519_SEED = 32
# A OneAsymmetricKey with the OID 1.3.101.112, and maybe the public key behind (RFC 8410 section 7).
_ED25519_PKCS8 = re.compile(
    rb"\x30.\x02\x01[\x00\x01]\x30\x05\x06\x03\x2b\x65\x70\x04\x22\x04\x20(.{32})", re.DOTALL
)


def keys(key: str, value: Any) -> tuple[DKIMKey, ...]:
    """Read a list of ``{"domain", "selector", "private_key" or "private_key_file"}``."""
    if not isinstance(value, (list, tuple)):
        raise BadOption(
            said(
                "%(key)s must be a list of dictionaries, not %(kind)s.",
                key=key,
                kind=type(value).__name__,
            )
        )
    found: dict[tuple[str, str], DKIMKey] = {}
    for at, entry in enumerate(value):
        one = _entry(f"{key}[{at}]", entry)
        if (one.domain, one.selector) in found:
            raise BadOption(
                said(
                    "%(key)s[%(at)s] is %(name)s once more. Each key has a selector of its own.",
                    key=key,
                    at=at,
                    name=repr(one.name),
                )
            )
        found[one.domain, one.selector] = one
    return tuple(found.values())


def _entry(where: str, entry: Any) -> DKIMKey:
    if not isinstance(entry, Mapping):
        raise BadOption(
            said(
                "%(where)s must be a dictionary, not %(kind)s.",
                where=where,
                kind=type(entry).__name__,
            )
        )
    refuse_unknown(entry, _KEYS, within=where)
    domain = _name(where, "domain", entry, said("the domain that signs, such as 'example.com'"))
    selector = _name(where, "selector", entry, said("what stands before ._domainkey in the DNS"))
    text_at, text = _text(where, entry)
    if find_spec("dkim") is None:
        raise BadOption(
            said(
                "%(where)s asks for signatures, and dkimpy is not installed: "
                "%(install)s. Without it, leave 'dkim' out.",
                where=where,
                install=INSTALL,
            )
        )
    algorithm, secret = _key(text_at, text)
    return DKIMKey(domain, selector, algorithm, secret)


def _name(where: str, name: str, entry: Mapping[Any, Any], meaning: str) -> str:
    value = entry.get(name)
    if value is None:
        raise BadOption(
            said(
                "%(where)s has no %(name)s: add %(meaning)s.",
                where=where,
                name=repr(name),
                meaning=meaning,
            )
        )
    if not isinstance(value, str):
        raise BadOption(
            said(
                "%(where)s[%(name)s] must be a string, not %(kind)s.",
                where=where,
                name=repr(name),
                kind=type(value).__name__,
            )
        )
    try:
        found = a_labels(value).lower()
    except ValueError:
        found = ""
    if not _NAME.fullmatch(found) or (name == "domain" and "." not in found):
        raise BadOption(
            said(
                "%(where)s[%(name)s] must be %(meaning)s, not %(value)s.",
                where=where,
                name=repr(name),
                meaning=meaning,
                value=repr(value),
            )
        )
    if len(found) > _LONGEST_NAME:
        raise BadOption(
            said(
                "%(where)s[%(name)s] is %(value)s, which is longer than "
                "%(most)s characters: the signature's header cannot be folded "
                "around it. Use a shorter one.",
                where=where,
                name=repr(name),
                value=repr(value),
                most=_LONGEST_NAME,
            )
        )
    return found


def _text(where: str, entry: Mapping[Any, Any]) -> tuple[str, str]:
    """Return how the user calls what holds the key, and the key's text."""
    text, path = entry.get("private_key"), entry.get("private_key_file")
    if text is not None and path is not None:
        raise BadOption(
            said(
                "%(where)s has both 'private_key' and 'private_key_file'. Remove one of them.",
                where=where,
            )
        )
    if path is not None:
        return f"{where}['private_key_file'] ({str(path)!r})", _file(where, path)
    if text is None:
        raise BadOption(
            said(
                "%(where)s has no key: set 'private_key' (its text) or "
                "'private_key_file' (a path).",
                where=where,
            )
        )
    if not isinstance(text, str):
        raise BadOption(
            said(
                "%(where)s['private_key'] must be a string, the text of the key, not "
                "%(kind)s. For a path there is 'private_key_file'.",
                where=where,
                kind=type(text).__name__,
            )
        )
    return f"{where}['private_key']", text


def _file(where: str, path: Any) -> str:
    name = f"{where}['private_key_file']"
    if not isinstance(path, (str, Path)) or not str(path) or "\0" in str(path):
        raise BadOption(
            said(
                "%(name)s must be the path of a file with the key, not %(path)s.",
                name=name,
                path=repr(path),
            )
        )
    try:
        with Path(path).open("rb") as file:
            data = file.read(_LARGEST_FILE + 1)
    except OSError as error:
        raise BadOption(
            said(
                "%(name)s is %(path)s, which cannot be read: %(strerror)s. Name a file "
                "that this process may read.",
                name=name,
                path=repr(str(path)),
                strerror=error.strerror,
            )
        ) from None
    if len(data) > _LARGEST_FILE or not data.isascii():
        raise BadOption(
            said(
                "%(name)s is %(path)s, which is no text of a private key.",
                name=name,
                path=repr(str(path)),
            )
        )
    return data.decode("ascii")


def _key(where: str, text: str) -> tuple[str, str]:
    """Return the algorithm of a key, and the key as dkimpy takes it."""
    text = text.strip().replace("\r\n", "\n")
    if "-----BEGIN" not in text:
        return _bare(where, text)
    if "\\n" in text:
        raise BadOption(
            said(
                "%(where)s has the two characters \\ and n where lines should end, as "
                "environment variables often do. Put .replace('\\\\n', '\\n') behind it.",
                where=where,
            )
        )
    found = next((one for one in _PEM.finditer(text) if "PRIVATE" in one[1]), None)
    if found is None:
        raise BadOption(
            said(
                "%(where)s is no private key: it has no whole block of PEM that begins "
                "with '-----BEGIN PRIVATE KEY-----' or '-----BEGIN RSA PRIVATE KEY-----'.",
                where=where,
            )
        )
    kind, block = found.groups()
    if "ENCRYPTED" in kind or "ENCRYPTED" in block:
        raise BadOption(
            said(
                "%(where)s is encrypted. Give it without its passphrase: openssl pkey "
                "-in KEY -out NEW.",
                where=where,
            )
        )
    try:
        der = base64.b64decode("".join(block.split()), validate=True)
    except Base64Error:
        raise BadOption(
            said("%(where)s is damaged: its PEM is no base64. Copy it once more.", where=where)
        ) from None
    seed = _ED25519_PKCS8.match(der) if kind == "PRIVATE KEY" else None
    return _ed25519(where, seed[1]) if seed else _rsa(where, kind, block, der)


def _bare(where: str, text: str) -> tuple[str, str]:
    """Return an Ed25519 key as dkimpy's own dknewkey writes it: its seed in base64."""
    try:
        seed = base64.b64decode(text, validate=True)
    except (Base64Error, ValueError):
        seed = b""
    if len(seed) != _ED25519_SEED:
        raise BadOption(
            said(
                "%(where)s is no private key: neither PEM ('-----BEGIN PRIVATE "
                "KEY-----') nor the base64 of an Ed25519 key. For a path there is "
                "'private_key_file'.",
                where=where,
            )
        )
    return _ed25519(where, seed)


def _ed25519(where: str, seed: bytes) -> tuple[str, str]:
    if find_spec("nacl") is None:
        raise BadOption(
            said(
                "%(where)s is an Ed25519 key, and PyNaCl is not installed: %(install)s.",
                where=where,
                install=INSTALL,
            )
        )
    return "ed25519-sha256", base64.b64encode(seed).decode("ascii")


def _rsa(where: str, kind: str, block: str, der: bytes) -> tuple[str, str]:
    bits = _rsa_bits(der)
    if not bits:
        raise BadOption(
            said(
                "%(where)s is a %(kind)s that cannot be used: it must be of RSA (PKCS#1 "
                "or PKCS#8) or of Ed25519 (PKCS#8), and whole. Make one: openssl genpkey "
                "-algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out KEY.",
                where=where,
                kind=kind,
            )
        )
    if bits < RSA_LEAST:
        raise BadOption(
            said(
                "%(where)s is an RSA key of %(bits)s bits, and nobody accepts one of "
                "less than %(least)s (RFC 8301). Make one of 2048.",
                where=where,
                bits=bits,
                least=RSA_LEAST,
            )
        )
    return "rsa-sha256", f"-----BEGIN {kind}-----\n{block}\n-----END {kind}-----\n"


def _rsa_bits(der: bytes) -> int:
    """Return the length of a key that signs as it should; 0 for what is none."""
    import hashlib

    from dkim import crypto

    try:
        key = crypto.parse_private_key(der)
        tried = hashlib.sha256(b"tried")
        modulus: int = key["modulus"]
        if modulus.bit_length() >= RSA_LEAST and not crypto.RSASSA_PKCS1_v1_5_verify(
            tried, crypto.RSASSA_PKCS1_v1_5_sign(tried, key), key
        ):
            return 0
        return modulus.bit_length()
    except Exception:  # noqa: BLE001 (its parser raises whatever odd bytes lead to)
        return 0
