from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier

from django_smtpx.smtp import chains
from django_smtpx.smtp.certificates import Refused
from tests.smtp.certificates import DAY, NOW, authority, make

HOST = "mx.example.com"
UNTRUSTED = "certificate-not-trusted"
SERVER = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH])
CLIENT = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH])
STRANGE = x509.UnrecognizedExtension(ObjectIdentifier("1.2.3.4"), b"\x05\x00")


def leads(chain, anchor, *names, now=NOW):
    """Whether a chain leads to the certificate ``anchor``, for ``names``."""
    anchors = chains.Anchors(matches=lambda der: der == anchor.der)
    return chains.verify([each.der for each in chain], anchors, names or (HOST,), now)


def refusal(chain, anchor, *names, now=NOW):
    """Return why a chain is refused."""
    with pytest.raises(Refused) as caught:
        leads(chain, anchor, *names, now=now)
    return caught.value.failure, str(caught.value)


def usage(*, sign):
    """Return what a key is for."""
    fields = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
         "crl_sign", "encipher_only", "decipher_only"), False,
    )  # fmt: skip
    return x509.KeyUsage(digital_signature=not sign, key_cert_sign=sign, **fields)


def test_in_any_order():
    """The order in which authorities are sent does not matter, nor does what else is sent."""
    root = authority("root")
    one = authority("one", root)
    two = authority("two", one)
    leaf = make(HOST, two, dns=[HOST])
    assert leads((leaf, root, authority("other"), one, two), root)
    assert leads((leaf, two, one, root), one)
    assert not leads((leaf, two, root), root)


def test_renewed_authority():
    """Of two certificates of one authority either may be the one that leads up."""
    root, key = authority("root"), ec.generate_private_key(ec.SECP256R1())
    lost = authority("between", authority("lost"), key=key)
    between = authority("between", root, key=key)
    leaf = make(HOST, between, dns=[HOST])
    assert leads((leaf, lost, between, root), root)
    assert leads((leaf, between, lost, root), root)


def test_an_expired_way_beside_a_good_one():
    """Where one way does not hold another one may."""
    key = ec.generate_private_key(ec.SECP256R1())
    old = authority("root", key=key, begin=-9 * DAY, end=-2 * DAY)
    new = authority("root", key=key)
    leaf = make(HOST, new, dns=[HOST])
    anchors = chains.Anchors(matches=lambda der: der in (old.der, new.der))
    assert chains.verify([leaf.der, old.der, new.der], anchors, (HOST,), NOW)
    assert refusal((leaf, old), old)[0] == "certificate-expired"


def test_round_in_circles():
    """Authorities that have signed each other come to an end, and so do very many of them."""
    one_key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "the same")])
    same = [authority("", key=one_key, subject=name) for _ in range(30)]
    leaf = make(HOST, same[0], dns=[HOST])
    assert not leads((leaf, *same), authority("nobody's"))
    assert leads((leaf, *same), same[5])
    assert not leads((leaf, *same), same[25]), "so many are not looked at"


def test_dates():
    """Each certificate counts only in its time, the authority's as well."""
    root = authority("root", end=3 * DAY)
    leaf = make(HOST, root, dns=[HOST], begin=-DAY, end=9 * DAY)
    minute = timedelta(minutes=1)
    assert leads((leaf, root), root, now=NOW + 3 * DAY - minute)
    failure, reason = refusal((leaf, root), root, now=NOW + 3 * DAY + minute)
    assert failure == "certificate-expired"
    assert reason.startswith("its authority's (CN=root) expired on ")
    failure, reason = refusal((leaf, root), root, now=NOW - DAY - minute)
    assert failure == UNTRUSTED
    assert reason.startswith("it is valid only from ")


@pytest.mark.parametrize("ca", [None, False])
def test_not_an_authority(ca):
    """Who may not sign others vouches for nobody: anybody's certificate could be used else."""
    root = authority("root")
    mallory = make("mallory", root, ca=ca)
    leaf = make(HOST, mallory, dns=[HOST])
    assert refusal((leaf, mallory, root), root) == (
        UNTRUSTED,
        "its authority's (CN=mallory) is none that may sign others",
    )
    assert refusal((leaf, mallory), mallory)[0] == UNTRUSTED


def test_key_usage():
    """A key that is not for signing certificates signs none."""
    good = authority("root", extensions=[(usage(sign=True), True)])
    assert leads((make(HOST, good, dns=[HOST]), good), good)
    bad = authority("root", extensions=[(usage(sign=False), True)])
    assert "may sign" in refusal((make(HOST, bad, dns=[HOST]), bad), bad)[1]


@pytest.mark.parametrize(("most", "between", "holds"), [(0, 0, True), (0, 1, False), (1, 1, True)])
def test_path_length(most, between, holds):
    """An authority may limit how many stand below it."""
    chain = [authority("root", path_length=most)]
    for number in range(between):
        chain.insert(0, authority(f"between {number}", chain[0]))
    root = chain[-1]
    chain.insert(0, make(HOST, chain[0], dns=[HOST]))
    if holds:
        assert leads(chain, root)
    else:
        assert "allows 0 authorities below, not 1" in refusal(chain, root)[1]


def test_path_length_and_new_keys():
    """An authority that has signed its own next key stands once (RFC 5280 section 4.2.1.9)."""
    root = authority("root", path_length=0)
    again = authority("root", root)
    leaf = make(HOST, again, dns=[HOST])
    assert leads((leaf, again, root), root)


@pytest.mark.parametrize("whose", ["leaf", "root"])
def test_purpose(whose):
    """A certificate that is for something else does not do for a server."""
    of_root = [(CLIENT if whose == "root" else SERVER, False)]
    of_leaf = [(CLIENT if whose == "leaf" else SERVER, False)]
    root = authority("root", extensions=of_root)
    leaf = make(HOST, root, dns=[HOST], extensions=of_leaf)
    assert "is not made for a server" in refusal((leaf, root), root)[1]
    anything = x509.ExtendedKeyUsage([ExtendedKeyUsageOID.ANY_EXTENDED_KEY_USAGE])
    root = authority("root", extensions=[(anything, False)])
    assert leads((make(HOST, root, dns=[HOST], extensions=[(SERVER, True)]), root), root)


def test_critical_extensions():
    """What is critical, and not known here, is not passed over (RFC 5280 section 4.2)."""
    root = authority("root")
    assert leads((make(HOST, root, dns=[HOST], extensions=[(STRANGE, False)]), root), root)
    strange = make(HOST, root, dns=[HOST], extensions=[(STRANGE, True)])
    assert refusal((strange, root), root) == (
        UNTRUSTED, "it is bound to what is unknown here (1.2.3.4)",
    )  # fmt: skip


DNS, IP, MAIL = x509.DNSName, x509.IPAddress, x509.RFC822Name


def below(*parts):
    """Return a name of people and machines, as a directory has it."""
    kinds = (NameOID.ORGANIZATION_NAME, NameOID.COMMON_NAME)
    return x509.Name(
        [x509.NameAttribute(kind, part) for kind, part in zip(kinds, parts, strict=False)]
    )


def network(text):
    """Return a range of addresses."""
    import ipaddress

    return IP(ipaddress.ip_network(text))


@pytest.mark.parametrize(
    ("permitted", "excluded", "holds"),
    [
        ([DNS("example.com")], None, True),
        ([DNS("example.org")], None, False),
        ([DNS("example.org"), DNS("com")], None, True),
        ([DNS(".example.com")], None, True),
        (None, [DNS("mx.example.com")], False),
        (None, [DNS("example.org")], True),
        (None, [DNS("ple.com")], True),
        ([network("192.0.2.0/24")], None, True),
        ([network("198.51.100.0/24")], None, False),
        (None, [network("0.0.0.0/0")], False),
        (None, [network("::/0")], True),
        ([MAIL("example.com")], None, True),
        ([x509.DirectoryName(below("An Organisation"))], None, True),
        ([x509.DirectoryName(below("Another"))], None, False),
        (None, [x509.DirectoryName(below("An Organisation", HOST))], False),
    ],
)
def test_name_constraints(permitted, excluded, holds):
    """An authority may be limited to names, and what is below it stays within them."""
    limits = x509.NameConstraints(permitted, excluded)
    root = authority("root", extensions=[(limits, True)])
    subject = below("An Organisation", HOST)
    leaf = make("", root, dns=[HOST], ips=["192.0.2.1"], subject=subject)
    if holds:
        assert leads((leaf, root), root)
    else:
        failure, reason = refusal((leaf, root), root)
        assert failure == UNTRUSTED
        assert reason.startswith("its authority's (CN=root) may not sign for ")


@pytest.mark.parametrize(("permitted", "holds"), [(HOST, True), ("example.org", False)])
def test_name_constraints_and_common_names(permitted, holds):
    """A common name that stands in for a DNS name is limited as one."""
    limits = x509.NameConstraints([DNS(permitted)], None)
    root = authority("root", extensions=[(limits, True)])
    leaf = make(HOST, root)
    assert leads((leaf, root), root) if holds else refusal((leaf, root), root)


@pytest.mark.parametrize(("permitted", "excluded"), [(["example.com"], None), (None, ["a@b.c"])])
def test_name_constraints_of_unknown_kinds(permitted, excluded):
    """A name of a kind that nobody here can compare counts against the certificate."""
    mail = x509.SubjectAlternativeName([DNS(HOST), MAIL("me@example.com")])
    limits = x509.NameConstraints(
        permitted and [MAIL(each) for each in permitted],
        excluded and [MAIL(each) for each in excluded],
    )
    root = authority("root", extensions=[(limits, True)])
    leaf = make(HOST, root, extensions=[(mail, False)])
    assert "may not sign for me@example.com" in refusal((leaf, root), root)[1]


def test_name_constraints_hold_for_all_below():
    """An authority between is held to them, too; one that has signed its own next key is not."""
    limits = x509.NameConstraints([x509.DirectoryName(below("An Organisation"))], None)
    root = authority("root", extensions=[(limits, True)])
    again = authority("root", root)
    other = authority("", again, subject=below("Another"))
    good = authority("", again, subject=below("An Organisation", "between"))
    subject = below("An Organisation", HOST)
    assert leads((make("", good, dns=[HOST], subject=subject), good, again, root), root)
    assert "may not sign for" in refusal(
        (make("", other, dns=[HOST], subject=subject), other, again, root), root
    )[1]  # fmt: skip


def test_weak_signatures():
    """Nobody is vouched for by way of SHA-1; how the anchor itself is signed does not matter."""
    root = authority("root").certificate
    issuer = authority("issuer")
    leaf = make(HOST, issuer, dns=[HOST]).certificate
    chains._check(chains._Path((leaf, Weakly(issuer.certificate)), whole=True), (HOST,), NOW)
    for path, who in (
        (chains._Path((Weakly(leaf), issuer.certificate), whole=True), "it"),
        (chains._Path((leaf, Weakly(issuer.certificate), root), whole=True), "its authority's"),
        (chains._Path((leaf, Weakly(issuer.certificate)), whole=False), "its authority's"),
    ):
        with pytest.raises(Refused, match=f"^{who}.* is signed by way of sha1$"):
            chains._check(path, (HOST,), NOW)


class Weakly:
    """A certificate that says to be signed by way of SHA-1: no library makes any more."""

    signature_hash_algorithm = hashes.SHA1()

    def __init__(self, certificate):
        self.certificate = certificate

    def __getattr__(self, name):
        return getattr(self.certificate, name)


KEYS = {
    "RSA": lambda: rsa.generate_private_key(65537, 2048),
    "P-256": lambda: ec.generate_private_key(ec.SECP256R1()),
    "Ed25519": ed25519.Ed25519PrivateKey.generate,
}


def key_of(made):
    """Return a public key as a record in full has it."""
    return made.key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


@pytest.mark.parametrize("kind", KEYS)
def test_bare_keys(kind):
    """A key may be the anchor, without anybody's certificate, for whatever kind of signature."""
    root = authority("root", key=KEYS[kind]())
    others = [authority("root", key=make_key()) for make_key in KEYS.values()]
    between = authority("between", root)
    leaf = make(HOST, between, dns=[HOST])

    def by(*keys):
        anchors = chains.Anchors(matches=lambda der: False, keys=tuple(map(key_of, keys)))
        return chains.verify([leaf.der, between.der], anchors, (HOST,), NOW)

    assert by(root)
    assert by(*others, root)
    assert not by(*others)
    assert by(between), "the shortest way is enough"


def test_bare_key_of_another_kind():
    """RSA-PSS is a signature like any other; a key that signs nothing here is no anchor."""
    root = authority("root", key=KEYS["RSA"]())
    leaf = make(HOST, root, dns=[HOST]).certificate
    assert chains._is_signed_with(root.key.public_key(), leaf)
    assert not chains._is_signed_with(ed448.Ed448PrivateKey.generate().public_key(), leaf)
    assert not chains._is_signed_with(object(), leaf)
    name = x509.Name([])
    builder = x509.CertificateBuilder(name, name, root.key.public_key(), 7, NOW - DAY, NOW + DAY)
    pss = builder.sign(
        root.key, hashes.SHA256(), rsa_padding=padding.PSS(padding.MGF1(hashes.SHA256()), 32)
    )
    assert chains._is_signed_with(root.key.public_key(), pss)


def test_addresses():
    """A server that is known by its address has to have that in its certificate."""
    root = authority("root")
    leaf = make(HOST, root, ips=["192.0.2.1"])
    assert leads((leaf, root), root, "192.0.2.1")
    assert refusal((leaf, root), root, "192.0.2.2")[0] == "certificate-host-mismatch"


def test_authority_without_a_name():
    """One that has no name, or a strange one, can be told of."""
    line = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "two\nlines")])
    for subject, shown in ((x509.Name([]), "no name"), (line, "CN=two?lines")):
        root = make("", subject=subject)
        assert f"({shown})" in refusal((make(HOST, root, dns=[HOST]), root), root)[1]


def test_strange_fields():
    """A certificate that is signed well, and has a field that nobody can read, leads nowhere; another
    way may all the same.
    """
    garbage = x509.UnrecognizedExtension(ObjectIdentifier("2.5.29.30"), b"\x04\x01\x00")
    key = ec.generate_private_key(ec.SECP256R1())
    bad = authority("root", key=key, extensions=[(garbage, True)])
    good = authority("root", key=key)
    leaf = make(HOST, good, dns=[HOST])
    failure, reason = refusal((leaf, bad), bad)
    assert failure == UNTRUSTED
    assert reason.startswith("its chain cannot be read (ValueError: ")
    anchors = chains.Anchors(matches=lambda der: der in (good.der, bad.der))
    for others in ((bad, good), (good, bad)):
        assert chains.verify([leaf.der, *[each.der for each in others]], anchors, (HOST,), NOW)
