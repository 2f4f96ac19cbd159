from __future__ import annotations

import contextlib
import pickle
from dataclasses import replace

import pytest

from django_smtpx.smtp import certificates, dane, tls
from django_smtpx.smtp.certificates import Refused
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.errors import TLSError
from django_smtpx.smtp.options import Security, relaxed, verifies
from django_smtpx.smtp.pool import Pool
from tests.smtp.certificates import DAY, authority, make, server_context
from tests.smtp.talk import BYE, PLAIN_HELLO, Server, error_of, opening, options

HOST = "mx.example.com"
NAMES = (HOST, "example.com")
REASON = "the TLSA records of _25._tcp.mx.example.com"
KINDS = [(selector, mtype) for selector in (0, 1) for mtype in (0, 1, 2)]
STARTTLS = [*opening(b"250-mx\r\n250 STARTTLS\r\n"), "line", b"220 go\r\n", "tls"]
HEARD_BEFORE_TLS = [b"EHLO me.example", b"STARTTLS"]
NOW = 1_000_000_000.0
DIGEST = bytes(32)


@pytest.fixture(scope="module")
def root():
    """An authority of a domain's own."""
    return authority("The Root")


@pytest.fixture(scope="module")
def between(root):
    """An authority below it."""
    return authority("The One Between", root)


@pytest.fixture(scope="module")
def leaf(between):
    """A server's certificate, and it is for that server."""
    return make(HOST, between, dns=[HOST])


@pytest.fixture(scope="module")
def old():
    """A certificate that vouches for itself, has expired, and is for somebody else."""
    return make("other.example", dns=["other.example"], begin=-9 * DAY, end=-2 * DAY)


def made(server, *records, **changes):
    """Return options for a server that is judged by ``records``."""
    given = {
        "host": HOST,
        "addresses": ("127.0.0.1",),
        "port": server.port,
        "security": Security.STARTTLS,
        "names": NAMES,
        "tlsa": records,
        "tls_reason": REASON,
    }
    return options(**given | changes)


def taken(context, *records, **changes):
    """Open a connection that is to succeed; return how the certificate was verified."""
    script = [*STARTTLS, "line", PLAIN_HELLO, "eof"]
    with Server(script, context=context) as server:
        connection = Connection.open(made(server, *records, **changes))
        facts = connection.facts
        connection.abort()
    assert facts["tls"].startswith("TLSv1.")
    assert facts["host"] == HOST
    return facts["tls_verified_by"]


def refused(context, *records, **changes):
    """Open a connection that is to fail, with not a byte said in TLS; return the error."""
    with Server([*STARTTLS, "line"], context=context) as server:
        error = error_of(Connection.open, made(server, *records, **changes))
    assert [line for line in server.heard if line is not None] == HEARD_BEFORE_TLS
    assert type(error) is TLSError
    assert (error.phase, error.command, error.host) == ("starttls", "STARTTLS", HOST)
    assert (error.category, error.action, error.temporary) == ("tls_error", "next_host", True)
    assert str(error).endswith(f"; TLS is asked for by {REASON}")
    assert pickle.loads(pickle.dumps(error)).tls_failure == error.tls_failure
    return error


# -- the server's own certificate (DANE-EE) -----


@pytest.mark.parametrize(("selector", "mtype"), KINDS)
def test_own_certificate(old, selector, mtype):
    """A record of the server's own certificate or key is enough: it may have expired, be for
    another name and vouch for itself (RFC 7672 section 3.1.1).
    """
    assert taken(server_context(old), old.tlsa(3, selector, mtype)) == "dane"


@pytest.mark.parametrize(("selector", "mtype"), KINDS)
def test_another_certificate(leaf, old, selector, mtype):
    """What does not match is refused, and both sides are named."""
    wanted, own = old.tlsa(3, selector, mtype), leaf.tlsa(3, selector, mtype)
    error = refused(server_context(leaf), wanted)
    assert error.tls_failure == "tlsa-invalid"
    assert f"matches no TLSA records ({wanted}; its own are {own})" in str(error)
    assert f"(expected {HOST} or example.com, shown {HOST}, issued by The One Betw" in str(error)


def test_one_of_several(leaf, old):
    """One record that matches is enough, as while a key is renewed."""
    records = (old.tlsa(3, 1, 1), old.tlsa(2, 0, 1), leaf.tlsa(3, 1, 1))
    assert taken(server_context(leaf), *records) == "dane"


def test_trust_does_not_help(authority, ca_file, leaf):
    """A certificate that this machine's authorities vouch for is refused all the same."""
    context = server_context(leaf)
    authority.issue_cert(HOST).configure_cert(context)
    assert refused(context, leaf.tlsa(3, 1, 1), ca_file=ca_file).tls_failure == "tlsa-invalid"


def test_verify_false_does_not_matter(leaf, old):
    """Records count, whatever verify says of other servers."""
    assert taken(server_context(old), old.tlsa(3, 1, 1), verify=False) == "dane"
    refused(server_context(leaf), old.tlsa(3, 1, 1), verify=False)


# -- an authority's (DANE-TA) -----


@pytest.mark.parametrize(("selector", "mtype"), KINDS)
def test_authority(leaf, between, root, selector, mtype):
    """A chain to the authority that a record names, sent by the server."""
    context = server_context(leaf, between, root)
    assert taken(context, root.tlsa(2, selector, mtype)) == "dane"


@pytest.mark.parametrize(("selector", "mtype"), KINDS)
def test_authority_between(leaf, between, selector, mtype):
    """An authority that is below another one may be named as well."""
    context = server_context(leaf, between)
    assert taken(context, between.tlsa(2, selector, mtype)) == "dane"


@pytest.mark.parametrize("selector", [0, 1])
def test_authority_in_full(leaf, between, root, selector):
    """One that the server does not send can be had from the record itself, or its key can."""
    assert taken(server_context(leaf, between), root.tlsa(2, selector, 0)) == "dane"


def test_authority_not_sent(leaf, between, root):
    """Of one that the server does not send a digest says nothing."""
    error = refused(server_context(leaf, between), root.tlsa(2, 0, 1))
    assert error.tls_failure == "tlsa-invalid"
    assert f"nor a chain that came with it matches its TLSA records ({root.tlsa(2, 0, 1)};" in str(
        error
    )


def test_chain_with_a_gap(leaf, between, root):
    """An authority that has nothing to do with the certificate does not help."""
    error = refused(server_context(leaf, root), root.tlsa(2, 0, 1))
    assert error.tls_failure == "tlsa-invalid"


@pytest.mark.parametrize("name", NAMES)
def test_names(root, name):
    """The certificate may be for the server or for the domain (RFC 7672 section 3.2.2)."""
    context = server_context(make("x", root, dns=["a.example", name]), root)
    assert taken(context, root.tlsa(2, 1, 1)) == "dane"


def test_wildcard_and_common_name(root):
    """A wildcard does, and the common name where there is no other (RFC 7672 section 3.2.3)."""
    assert taken(server_context(make("x", root, dns=["*.example.com"]), root), root.tlsa(2, 0, 1))
    assert taken(server_context(make(HOST, root), root), root.tlsa(2, 0, 1))


def test_wrong_name(root):
    """A certificate of the right authority for somebody else is refused."""
    wrong = make(HOST, root, dns=["other.example"])
    error = refused(server_context(wrong, root), root.tlsa(2, 1, 1))
    assert error.tls_failure == "certificate-host-mismatch"
    assert "somebody else's (expected mx.example.com or example.com, shown other.ex" in str(error)


def test_expired(root):
    """Behind an authority, a certificate has to be in its time."""
    late = make(HOST, root, dns=[HOST], begin=-9 * DAY, end=-2 * DAY)
    error = refused(server_context(late, root), root.tlsa(2, 1, 1))
    assert error.tls_failure == "certificate-expired"
    assert "does not hold: it expired on 20" in str(error)


def test_self_signed(old):
    """A certificate that vouches for itself may be its own authority, and then has to hold."""
    own = make(HOST, dns=[HOST])
    assert taken(server_context(own), own.tlsa(2, 0, 1)) == "dane"
    error = refused(server_context(old), old.tlsa(2, 0, 1))
    assert error.tls_failure == "certificate-expired"


def test_own_certificate_as_authority(leaf, between):
    """A certificate that another has signed is no authority of its own."""
    error = refused(server_context(leaf, between), leaf.tlsa(2, 0, 1))
    assert error.tls_failure == "tlsa-invalid"


# -- what cannot be used -----


def test_unusable_alone(old):
    """Records of which none can be used ask for TLS, with whatever certificate (RFC 7672
    section 2.2).
    """
    assert taken(server_context(old), TLSA(1, 1, 1, DIGEST), TLSA(3, 9, 1, DIGEST)) == ""


def test_no_tls_at_all():
    """Records require TLS: who does not offer it gets no mail."""
    with Server([*opening(PLAIN_HELLO), *BYE]) as server:
        error = error_of(Connection.open, made(server, TLSA(3, 1, 1, DIGEST)))
    assert error.tls_failure == "starttls-not-supported"
    assert str(error).endswith(f"; TLS is asked for by {REASON}")
    assert server.heard[:2] == [b"EHLO me.example", b"QUIT"]


@pytest.mark.parametrize("security", [Security.NONE, Security.OPPORTUNISTIC])
def test_tls_is_not_left_open(security):
    """Records beside a security that may end in clear are a mistake."""
    with pytest.raises(ValueError, match="require TLS"):
        options(security=security, tlsa=(TLSA(3, 1, 1, DIGEST),))


@pytest.mark.parametrize(
    ("record", "expected"),
    [
        (TLSA(3, 1, 1, DIGEST), True),
        (TLSA(3, 0, 2, bytes(64)), True),
        (TLSA(2, 0, 1, DIGEST), True),
        (TLSA(0, 0, 1, DIGEST), False),
        (TLSA(1, 1, 1, DIGEST), False),
        (TLSA(4, 1, 1, DIGEST), False),
        (TLSA(255, 1, 1, DIGEST), False),
        (TLSA(3, 2, 1, DIGEST), False),
        (TLSA(3, 1, 3, DIGEST), False),
        (TLSA(3, 1, 1, DIGEST[1:]), False),
        (TLSA(3, 1, 2, DIGEST), False),
        (TLSA(3, 1, 1, b""), False),
        (TLSA(3, 0, 0, b""), False),
        (TLSA(3, 0, 0, b"no certificate"), False),
        (TLSA(3, 0, 0, b"\x30\x01\x00"), True),
        (TLSA(3, 0, 0, b"\x30\x01\x00\x00"), False),
        (TLSA(3, 0, 0, b"\x30\x80\x00\x00"), False),
    ],
)
def test_usable(record, expected):
    """SMTP knows two usages, and data has to be what it is said to be."""
    assert dane.usable([record, record]) == ((record,) if expected else ())


@pytest.mark.parametrize("lack", ["chains", "cryptography"])
def test_what_authorities_need(monkeypatch, lack):
    """Where nobody can tell what a server has sent, or read it, usage 2 counts as unusable."""
    if lack == "chains":
        monkeypatch.setattr(certificates, "sees_chains", lambda: False)
    else:
        monkeypatch.setattr(dane, "find_spec", lambda name: None)
    assert not dane.available()
    records = [TLSA(2, 1, 1, DIGEST), TLSA(3, 1, 1, DIGEST)]
    assert dane.usable(records) == (records[1],)


@pytest.mark.parametrize(
    ("kinds", "expected"),
    [
        (["3 1 1", "3 1 2"], ["3 1 2"]),
        (["3 1 1", "3 0 2"], ["3 1 1", "3 0 2"]),
        (["2 1 2", "3 1 1"], ["2 1 2", "3 1 1"]),
        (["3 1 0", "3 1 1"], ["3 1 0", "3 1 1"]),
        (["3 1 0", "3 1 1", "3 1 2"], ["3 1 0", "3 1 2"]),
    ],
)
def test_strongest(kinds, expected):
    """Of two digests of one kind the weaker does not count (RFC 7671 section 9)."""
    records = [TLSA(*map(int, kind.split()), b"") for kind in kinds]
    assert [str(record).strip() for record in dane.strongest(records)] == expected


def test_weaker_digest_does_not_match(leaf, old):
    """A match by the weaker digest is none where the stronger one says otherwise."""
    error = refused(server_context(leaf), leaf.tlsa(3, 1, 1), old.tlsa(3, 1, 2))
    assert error.tls_failure == "tlsa-invalid"
    assert taken(server_context(leaf), leaf.tlsa(3, 1, 1), old.tlsa(3, 0, 2)) == "dane"


# -- around it -----


def test_server_name(leaf):
    """The server is told the base domain of its records: the first of the names."""
    told = []
    context = server_context(leaf)
    context.sni_callback = lambda sock, name, context: told.append(name)
    taken(context, leaf.tlsa(3, 1, 1), names=("base.example.", "example.com"))
    assert told == ["base.example"]


def test_pool_key(leaf):
    """A session that was opened by other records, names or addresses, or none, is not used."""
    pool = Pool()
    context = server_context(leaf)
    script = [*STARTTLS, "line", PLAIN_HELLO, *BYE]
    with Server(script, context=context) as server:
        by_records = made(server, leaf.tlsa(3, 1, 1))
        session = pool.lease(by_records)
        assert session.tls_verified_by == "dane"
        assert pool.release(session)
        for others in (
            {"tlsa": ()},
            {"tlsa": (leaf.tlsa(3, 0, 1),)},
            {"names": (HOST,)},
            {"addresses": ("127.0.0.2",)},
            {"tls_reason": ""},
        ):
            assert pool.lease_idle(replace(by_records, **others)) is None
        assert pool.lease_idle(replace(by_records)) is session
        session.quit()


def test_verifies_and_relaxed():
    """Records ask for a certificate that holds; ``TLS-Required: No`` leaves them aside."""
    record = TLSA(3, 1, 1, DIGEST)
    by_records = options(
        security=Security.STARTTLS, tlsa=(record,), tls_reason=REASON, verify=False
    )
    assert verifies(by_records)
    encrypted = options(security=Security.STARTTLS, verify=False, tls_reason=REASON)
    assert not verifies(encrypted)
    for asked in (by_records, encrypted):
        tried = relaxed(asked)
        assert [each.security for each in tried] == [Security.OPPORTUNISTIC, Security.NONE]
        assert not any(each.tlsa or each.tls_reason or verifies(each) for each in tried)
    assert relaxed(replace(encrypted, tls_reason="")) == ()


def test_repr():
    """A record shows what it is, and not a whole certificate."""
    assert repr(TLSA(3, 1, 1, DIGEST)) == f"<TLSA 3 1 1 {'0' * 16}...>"
    assert str(TLSA(2, 0, 0, b"\x30\x00")) == "2 0 0 3000"


# -- strange certificates -----


def test_nothing_shown():
    """A server without a certificate matches nothing."""
    with pytest.raises(Refused, match="showed none"):
        dane.verify((), (TLSA(3, 1, 1, DIGEST),), NAMES, now=NOW)


@pytest.mark.parametrize("usage", [2, 3])
@pytest.mark.parametrize("selector", [0, 1])
def test_cut_certificates(leaf, between, usage, selector):
    """A certificate that ends anywhere, or of which any byte is another one, is refused or, where
    it is the whole that does not matter, taken; nothing else happens.
    """
    record = (between if usage == 2 else leaf).tlsa(usage, selector, 1)
    step = 7
    for place in range(0, len(leaf.der), step):
        broken = bytearray(leaf.der)
        broken[place] ^= 0xFF
        for own in (leaf.der[:place], bytes(broken)):
            with contextlib.suppress(Refused):
                dane.verify((own, between.der), (record,), NAMES, now=between_time(leaf))
                # The key is in its place, and nothing else is asked about.
                assert (usage, selector) == (3, 1)


def between_time(made):
    """Return a Unix time at which a certificate is valid."""
    begin, end = made.certificate.not_valid_before_utc, made.certificate.not_valid_after_utc
    return (begin.timestamp() + end.timestamp()) / 2


def test_broken_authorities(leaf, between):
    """Certificates beside the server's own that cannot be read lead nowhere, and harm nobody."""
    record = between.tlsa(2, 0, 1)
    chain = (leaf.der, b"", b"\x30\x03abc", between.der[:-9], between.der)
    dane.verify(chain, (record,), NAMES, now=between_time(leaf))
    with pytest.raises(Refused):
        dane.verify(chain[:-1], (record,), NAMES, now=between_time(leaf))


def test_broken_records(leaf):
    """A record in full that is no certificate, or no key, is no authority."""
    for selector in (0, 1):
        with pytest.raises(Refused):
            record = TLSA(2, selector, 0, b"\x30\x03\x02\x01\x00")
            dane.verify((leaf.der,), (record,), NAMES, now=between_time(leaf))


def test_broken_records_beside_good_ones(leaf, between):
    """What cannot be read does not spoil what can."""
    strange = [TLSA(2, selector, 0, b"\x30\x03\x02\x01\x00") for selector in (0, 1)]
    other = other_version(between.der)
    for chain in ((leaf.der, other, between.der), (leaf.der, between.der, other)):
        records = (*strange, between.tlsa(2, 1, 1))
        dane.verify(chain, records, NAMES, now=between_time(leaf))
    with pytest.raises(Refused, match="it cannot be read"):
        dane.verify((other_version(leaf.der), between.der), records, NAMES, now=NOW)


def other_version(certificate):
    """Return the certificate as one of a version that nobody knows."""
    version = b"\xa0\x03\x02\x01"
    before, _, behind = certificate.partition(version)
    return before + version + b"\x63" + behind[1:]


def test_garbage_over_tls(monkeypatch, leaf):
    """Whatever the handshake lets through, the error is a TLSError."""
    for chain in ((), (b"",), (b"\x30\x80", b"\xff" * 9), (b"\x30\x84\xff\xff\xff\xff",)):
        monkeypatch.setattr(certificates, "der_chain", lambda sock, chain=chain: chain)
        for usage in (2, 3):
            for selector in (0, 1):
                refused(server_context(leaf), TLSA(usage, selector, 1, DIGEST))


# -- the chain that was sent -----


def test_chain_below_the_surface(leaf, between):
    """What a server has sent is seen on each Python; where it is not, its own certificate is."""
    seen = []

    class Certificate:
        def __init__(self, der):
            self.der = der

        def public_bytes(self, form):
            assert form == 2
            return self.der

    class Inner:
        def get_unverified_chain(self):
            return [Certificate(leaf.der), Certificate(between.der)]

    class Old:
        _sslobj = Inner()

        def getpeercert(self, *, binary_form):
            assert binary_form
            return leaf.der

    class Older(Old):
        _sslobj = None

    class New(Old):
        def get_unverified_chain(self):
            return [leaf.der, between.der]

    class Mute(Old):
        def get_unverified_chain(self):
            return None

    class Silent(Old):
        def getpeercert(self, *, binary_form):
            return None

    seen = [certificates.der_chain(kind()) for kind in (Old, New, Older, Mute, Silent)]
    assert seen == [(leaf.der, between.der)] * 2 + [(leaf.der,)] * 2 + [()]
    assert certificates.sees_chains()


def test_judged_by_this_clock(monkeypatch, leaf, between):
    """The time that counts is now."""
    monkeypatch.setattr(tls.time, "time", lambda: NOW)
    error = refused(server_context(leaf, between), between.tlsa(2, 0, 1))
    assert "is valid only from" in str(error)
    assert "by the clock here it is 2001-09-09" in str(error)
