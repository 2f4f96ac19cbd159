"""The way from a server's certificate up to an authority that TLSA records name (RFC 7671 section
5.2, RFC 5280 section 6): who has signed whom, whether each may, and for which names.

The authorities are those of a domain's own, made with all kinds of tools: what is asked of them is
what protects, and no more. Whatever a server sends, nothing but :class:`Refused` is raised.
"""

from __future__ import annotations

import contextlib
import ipaddress
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, TypeAlias, TypeVar

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PSS, PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, load_der_public_key
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from django_smtpx.smtp import names as naming
from django_smtpx.smtp.certificates import Refused, of_authority, wrong_time
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from datetime import datetime

    from django_smtpx.smtp.failures import TLSFailure

_MOST = 16
"""Certificates that are looked at, of those that a server sends: each may cost as many checks of a
signature.
"""
_TOO_WEAK = frozenset({"md5", "sha1"})
_SERVER_USES = frozenset(
    {ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE}
)
_UNTRUSTED: TLSFailure = "certificate-not-trusted"

_Certificate: TypeAlias = x509.Certificate
_R = TypeVar("_R")
_T = TypeVar("_T", bound=x509.ExtensionType)


class Anchors(NamedTuple):
    """What a chain may end at: a certificate that ``matches``, be it sent or one of
    ``certificates``, or one of the public ``keys``; all of it in DER.
    """

    matches: Callable[[bytes], bool]
    certificates: tuple[bytes, ...] = ()
    keys: tuple[bytes, ...] = ()


class _Path(NamedTuple):
    """Certificates, the server's own first, each signed by the next; ``whole`` where the last one
    is the anchor itself, and not merely signed with its key.
    """

    certificates: tuple[_Certificate, ...]
    whole: bool


def verify(chain: Sequence[bytes], anchors: Anchors, names: Sequence[str], now: datetime) -> bool:
    """Return whether a chain leads from the first certificate to an anchor.

    Raises :class:`Refused` where one does, and it does not hold ``now``, or for none of the
    reference ``names``.
    """
    leaf = _read(x509.load_der_x509_certificate, chain[:1])
    if not leaf:
        raise Refused(said("it cannot be read"), _UNTRUSTED)
    first: Refused | None = None
    for path in _paths(leaf[0], chain[1:_MOST], anchors):
        try:
            _check(path, names, now)
        except Refused as refused:
            first = first or refused
        except Exception as error:  # noqa: BLE001 (what a server sends, by a foreign parser)
            what = said(
                "its chain cannot be read (%(kind)s: %(error)s)",
                kind=type(error).__name__,
                error=error,
            )
            first = first or Refused(what, _UNTRUSTED)
        else:
            return True
    if first is not None:
        raise first
    return False


# -- the way up ----------------------------------------------------------------------------------


def _paths(leaf: _Certificate, sent: Sequence[bytes], anchors: Anchors) -> Iterator[_Path]:
    """Give the ways to an anchor, the shortest first; each certificate is on one of them alone."""
    others = _read(x509.load_der_x509_certificate, (*anchors.certificates, *sent))
    keys = _read(load_der_public_key, anchors.keys)
    waiting: deque[tuple[_Certificate, ...]] = deque([(leaf,)])
    while waiting:
        path = waiting.popleft()
        top = path[-1]
        if (top is not leaf or _has_issued(leaf, leaf)) and anchors.matches(_der(top)):
            yield _Path(path, whole=True)
            continue
        if any(_is_signed_with(key, top) for key in keys):
            yield _Path(path, whole=False)
        issuers = [each for each in others if _has_issued(each, top)]
        others = [each for each in others if each not in issuers]
        waiting.extend((*path, each) for each in issuers)


def _read(load: Callable[[bytes], _R], found: Iterable[bytes]) -> list[_R]:
    """Return what can be read, each once: something strange leads nowhere."""
    read = []
    for der in dict.fromkeys(found):
        # A foreign parser has errors of many kinds, and is not asked for any of them.
        with contextlib.suppress(Exception):
            read.append(load(der))
    return read


def _der(certificate: _Certificate) -> bytes:
    return certificate.public_bytes(Encoding.DER)


def _has_issued(issuer: _Certificate, certificate: _Certificate) -> bool:
    try:
        certificate.verify_directly_issued_by(issuer)
    except Exception:  # noqa: BLE001 (whatever it is, it is no signature)
        return False
    return True


def _is_signed_with(key: object, certificate: _Certificate) -> bool:
    """Whether a bare public key has signed a certificate: nobody's name is known to go with it."""
    signature, signed = certificate.signature, certificate.tbs_certificate_bytes
    try:
        how, digest = (
            certificate.signature_algorithm_parameters,
            certificate.signature_hash_algorithm,
        )
        if isinstance(key, rsa.RSAPublicKey) and isinstance(how, PKCS1v15 | PSS) and digest:
            key.verify(signature, signed, how, digest)
        elif isinstance(key, ec.EllipticCurvePublicKey) and isinstance(how, ec.ECDSA):
            key.verify(signature, signed, how)
        elif isinstance(key, ed25519.Ed25519PublicKey | ed448.Ed448PublicKey):
            key.verify(signature, signed)
        else:
            return False
    except Exception:  # noqa: BLE001 (whatever it is, it is no signature)
        return False
    return True


# -- whether it holds ----------------------------------------------------------------------------


def _check(path: _Path, names: Sequence[str], now: datetime) -> None:
    leaf, *authorities = path.certificates
    for each in path.certificates:
        _check_time(each, leaf, now)
        _check_extensions(each, leaf)
    for each in path.certificates[:-1] if path.whole else path.certificates:
        digest = each.signature_hash_algorithm
        if digest is not None and digest.name in _TOO_WEAK:
            raise Refused(
                said(
                    "%(whose)s is signed by way of %(name)s",
                    whose=_who(each, leaf),
                    name=digest.name,
                ),
                _UNTRUSTED,
            )
    for place, authority in enumerate(authorities, start=1):
        _check_authority(authority, leaf, path.certificates[1:place])
        for below in path.certificates[:place]:
            _check_constraints(authority, leaf, below)
    if not naming.is_for(_dns_names(leaf), _addresses(leaf), names):
        raise Refused(said("it is somebody else's"), "certificate-host-mismatch")


def _who(certificate: _Certificate, leaf: _Certificate) -> str:
    return said("it") if certificate is leaf else of_authority(_name(certificate))


def _name(certificate: _Certificate) -> str:
    text = certificate.subject.rfc4514_string()
    return "".join(char if char.isprintable() else "?" for char in text)


def _check_time(certificate: _Certificate, leaf: _Certificate, now: datetime) -> None:
    begin, end = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    whose = _who(certificate, leaf)
    if now > end:
        raise Refused(wrong_time(whose, _utc(end), _utc(now), expired=True), "certificate-expired")
    if now < begin:
        raise Refused(wrong_time(whose, _utc(begin), _utc(now), expired=False), _UNTRUSTED)


def _utc(time: datetime) -> str:
    return f"{time:%Y-%m-%d %H:%M} UTC"


def _check_extensions(certificate: _Certificate, leaf: _Certificate) -> None:
    """What is critical has to be understood (RFC 5280 section 4.2), and a server's certificate is
    for servers.
    """
    for extension in certificate.extensions:
        value = extension.value
        if extension.critical and isinstance(value, x509.UnrecognizedExtension):
            raise Refused(
                said(
                    "%(whose)s is bound to what is unknown here (%(oid)s)",
                    whose=_who(certificate, leaf),
                    oid=value.oid.dotted_string,
                ),
                _UNTRUSTED,
            )
        if isinstance(value, x509.ExtendedKeyUsage) and not _SERVER_USES.intersection(value):
            raise Refused(
                said("%(whose)s is not made for a server", whose=_who(certificate, leaf)),
                _UNTRUSTED,
            )


def _check_authority(
    authority: _Certificate, leaf: _Certificate, between: Sequence[_Certificate]
) -> None:
    """Whether it may sign certificates, with so many authorities between (RFC 5280 sections
    4.2.1.3 and 4.2.1.9).
    """
    basic = _extension(authority, x509.BasicConstraints)
    usage = _extension(authority, x509.KeyUsage)
    if basic is None or not basic.ca or not (usage is None or usage.key_cert_sign):
        raise Refused(
            said("%(whose)s is none that may sign others", whose=_who(authority, leaf)), _UNTRUSTED
        )
    counted = sum(each.subject != each.issuer for each in between)
    if basic.path_length is not None and counted > basic.path_length:
        raise Refused(
            said(
                "%(whose)s allows %(most)s authorities below, not %(counted)s",
                whose=_who(authority, leaf),
                most=basic.path_length,
                counted=counted,
            ),
            _UNTRUSTED,
        )


def _check_constraints(authority: _Certificate, leaf: _Certificate, below: _Certificate) -> None:
    """Whether ``below`` holds only names that it may sign (RFC 5280 section 4.2.1.10)."""
    limits = _extension(authority, x509.NameConstraints)
    if limits is None or (below is not leaf and below.subject == below.issuer):
        return
    dns = [x509.DNSName(name) for name in _dns_names(leaf)] if below is leaf else []
    for name in (*dns, *_general_names(below)):
        permitted = [each for each in limits.permitted_subtrees or () if type(each) is type(name)]
        excluded = [each for each in limits.excluded_subtrees or () if type(each) is type(name)]
        if (
            permitted and not any(_is_within(name, each, permitting=True) for each in permitted)
        ) or (any(_is_within(name, each, permitting=False) for each in excluded)):
            reason = said(
                "%(whose)s may not sign for %(name)s",
                whose=_who(authority, leaf),
                name=name.value,
            )
            raise Refused(reason, _UNTRUSTED)


def _is_within(name: x509.GeneralName, limit: x509.GeneralName, *, permitting: bool) -> bool:
    """Whether a name is below a limit of its own kind; where no rule for that is here, that counts
    against the name.
    """
    if isinstance(name, x509.DNSName) and isinstance(limit, x509.DNSName):
        return naming.is_below(name.value, limit.value)
    if isinstance(name, x509.DirectoryName) and isinstance(limit, x509.DirectoryName):
        wanted = limit.value.rdns
        return name.value.rdns[: len(wanted)] == wanted
    if isinstance(name, x509.IPAddress) and isinstance(limit, x509.IPAddress):
        network = ipaddress.ip_network(str(limit.value), strict=False)
        return ipaddress.ip_address(str(name.value)) in network
    return not permitting


# -- what it holds -------------------------------------------------------------------------------


def _extension(certificate: _Certificate, kind: type[_T]) -> _T | None:
    try:
        return certificate.extensions.get_extension_for_class(kind).value
    except x509.ExtensionNotFound:
        return None


def _dns_names(certificate: _Certificate) -> list[str]:
    """Return its DNS names; where it has none, its common names (RFC 7672 section 3.2.3)."""
    shown = _extension(certificate, x509.SubjectAlternativeName)
    found = shown.get_values_for_type(x509.DNSName) if shown else []
    return found or [
        str(attribute.value)
        for attribute in certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    ]


def _addresses(certificate: _Certificate) -> list[str]:
    shown = _extension(certificate, x509.SubjectAlternativeName)
    return [str(each) for each in shown.get_values_for_type(x509.IPAddress)] if shown else []


def _general_names(certificate: _Certificate) -> Iterator[x509.GeneralName]:
    shown = _extension(certificate, x509.SubjectAlternativeName)
    yield from shown or ()
    if certificate.subject.rdns:
        yield x509.DirectoryName(certificate.subject)
