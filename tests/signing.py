"""Keys to sign mail with, and what the DNS says of their public halves."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import cache

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, padding, rsa

PKCS1 = serialization.PrivateFormat.TraditionalOpenSSL
PKCS8 = serialization.PrivateFormat.PKCS8
PUBLIC_EXPONENT = 65537


@cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """Return a key of RSA, the same each time."""
    return rsa.generate_private_key(PUBLIC_EXPONENT, bits)


@cache
def ed25519_key() -> ed25519.Ed25519PrivateKey:
    """Return a key of Ed25519, the same each time."""
    return ed25519.Ed25519PrivateKey.generate()


def pem(key, form=PKCS8, password: bytes | None = None) -> str:
    """Return a private key as PEM."""
    how = serialization.BestAvailableEncryption(password) if password else None
    encryption = how or serialization.NoEncryption()
    return key.private_bytes(serialization.Encoding.PEM, form, encryption).decode()


def bare(key: ed25519.Ed25519PrivateKey) -> str:
    """Return a key of Ed25519 as dkimpy's dknewkey writes it."""
    return base64.b64encode(key.private_bytes_raw()).decode()


def record(key) -> bytes:
    """Return the TXT record of a key's public half (RFC 6376 section 3.6.1, RFC 8463)."""
    public = key.public_key()
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return b"v=DKIM1; k=ed25519; p=" + base64.b64encode(public.public_bytes_raw())
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    data = public.public_bytes(serialization.Encoding.DER, form)
    return b"v=DKIM1; k=rsa; p=" + base64.b64encode(data)


def rsa_option(form=PKCS8, selector: str = "r1") -> dict[str, str]:
    """Return an entry of the option with the RSA key."""
    text = pem(rsa_key(), form)
    return {"domain": "example.com", "selector": selector, "private_key": text}


def ed25519_option(selector: str = "e1") -> dict[str, str]:
    """Return an entry of the option with the Ed25519 key."""
    return {"domain": "example.com", "selector": selector, "private_key": pem(ed25519_key())}


def published(name: bytes, timeout: int = 5) -> bytes:
    """Answer a verifier's question to the DNS."""
    kind = name.decode().partition(".")[0]
    return record(ed25519_key() if kind.startswith("e") else rsa_key())


def verified(content: bytes) -> list[bool]:
    """Return whether each signature of a mail is good, from the top."""
    import dkim

    count = sum(name.lower() == b"dkim-signature" for name, _ in dkim.DKIM(content).headers)
    found = []
    for at in range(count):
        try:
            found.append(dkim.DKIM(content).verify(at, dnsfunc=published))
        except dkim.ValidationError:
            # The body is another one; what else is wrong with a signature is another error.
            found.append(False)
    return found


def verified_word_for_word(content: bytes) -> list[bool]:
    """Return the same as :func:`verified`, by nothing but RFC 6376 sections 3.4 and 3.7."""
    header, _, body = content.partition(b"\r\n\r\n")
    fields = [
        (name.lower(), line)
        for line in re.split(rb"\r\n(?![ \t])", header)
        for name in [line.partition(b":")[0]]
    ]
    return [
        _is_good(line, [one for one in fields if one[1] is not line], body)
        for name, line in fields
        if name == b"dkim-signature"
    ]


def relaxed_body(body: bytes) -> bytes:
    """Return a body as it is hashed: RFC 6376 section 3.4.4."""
    lines = [re.sub(rb"[ \t]+", b" ", line).rstrip(b" ") for line in body.split(b"\r\n")]
    while lines and not lines[-1]:
        lines.pop()
    return b"".join(line + b"\r\n" for line in lines)


def _relaxed_field(line: bytes) -> bytes:
    name, _, value = line.replace(b"\r\n", b"").partition(b":")
    return name.lower().rstrip() + b":" + re.sub(rb"[ \t]+", b" ", value).strip(b" \t")


def _is_good(signature: bytes, fields: list[tuple[bytes, bytes]], body: bytes) -> bool:
    value = signature.partition(b":")[2]
    pairs = (tag.split(b"=", 1) for tag in value.split(b";"))
    tags = {name.strip(): re.sub(rb"\s", b"", text) for name, text in pairs}
    left: dict[bytes, list[bytes]] = {}
    for name, line in fields:
        left.setdefault(name, []).append(line)
    # From the bottom up; a name that there is no more field of is nothing (section 5.4.2).
    named = [left[name].pop() for name in tags[b"h"].split(b":") if left.get(name)]
    empty = signature[: signature.rindex(b"b=") + 2]
    signed = b"".join(_relaxed_field(line) + b"\r\n" for line in named) + _relaxed_field(empty)
    good = base64.b64decode(tags[b"b"])
    if tags[b"bh"] != base64.b64encode(hashlib.sha256(relaxed_body(body)).digest()):
        return False
    try:
        if tags[b"a"] == b"ed25519-sha256":
            ed25519_key().public_key().verify(good, hashlib.sha256(signed).digest())
        else:
            rsa_key().public_key().verify(good, signed, padding.PKCS1v15(), hashes.SHA256())
    except InvalidSignature:
        return False
    return True
