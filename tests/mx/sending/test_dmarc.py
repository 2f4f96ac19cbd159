"""DMARC: which record holds for a domain, and whose checks count for it (RFC 9989 section 4.10)."""

from __future__ import annotations

import pytest

from django_smtpx.mx.sending import dmarc
from tests.mx.sending.zone import Zone


def zone(**records):
    """Return a resolver that knows these records, by their domains with "_" for dots."""
    return Zone({f"_dmarc.{name.replace('_', '.')}": {"TXT": own} for name, own in records.items()})


def test_the_domains_own_record_holds():
    """Its policy is for mail from it, whatever those above say."""
    found = zone(a_test="v=DMARC1; p=reject; adkim=s", b_a_test="v=DMARC1;p=none;aspf=s;sp=reject")
    record, policy = dmarc.discover(found, "b.a.test")
    assert (record.domain, policy) == ("b.a.test", "none")
    assert (record.strict_dkim, record.strict_spf) == (False, True)


def test_the_organisations_record_holds_for_those_below():
    """By ``sp`` where there is one, by ``p`` where not."""
    record, policy = dmarc.discover(zone(a_test="v=DMARC1; p=reject; sp=quarantine"), "x.y.a.test")
    assert (record.domain, policy) == ("a.test", "quarantine")
    assert dmarc.discover(zone(a_test="v=DMARC1; p=reject"), "y.a.test")[1] == "reject"


def test_no_record():
    """A TXT record that is another's is none, nor is one above that cannot be read."""
    assert dmarc.discover(zone(), "a.test") is None
    assert dmarc.discover(zone(a_test="v=spf1 -all"), "a.test") is None
    assert dmarc.discover(zone(a_test="v=DMARC1; p=odd"), "b.a.test") is None


@pytest.mark.parametrize(
    ("records", "why"),
    [
        (["v=DMARC1; p=none", "v=DMARC1; p=reject"], "2 DMARC records"),
        (["v=DMARC1; p=always"], "policy that nobody knows"),
        (["v=DMARC1; sp=always"], "policy that nobody knows"),
        (["v=DMARC1; p"], "malformed"),
    ],
)
def test_what_is_no_record(records, why):
    """Receivers take no heed of it, and that is told."""
    with pytest.raises(dmarc.BadRecord, match=why):
        dmarc.discover(zone(a_test=records), "a.test")


def test_the_organisation():
    """The topmost record's, unless one says that it is a public suffix, or is none."""
    found = zone(a_test="v=DMARC1; p=none", c_b_a_test="v=DMARC1; p=none")
    assert dmarc.organisation(found, "d.c.b.a.test") == "a.test"
    suffix = zone(test="v=DMARC1; psd=y", c_a_test="v=DMARC1; p=none")
    assert dmarc.organisation(suffix, "d.c.a.test") == "a.test"
    own = zone(test="v=DMARC1; p=none", b_a_test="v=DMARC1; psd=n")
    assert dmarc.organisation(own, "c.b.a.test") == "b.a.test"
    assert dmarc.organisation(zone(), "c.b.a.test") == "c.b.a.test"
    assert dmarc.organisation(zone(a_test="v=DMARC1; psd=y"), "a.test") == "a.test"


def test_a_long_name_is_walked_up_in_eight_steps():
    """Whoever takes names of a hundred labels has receivers ask no more for that."""
    asking = zone(a_test="v=DMARC1; p=none")
    assert dmarc.organisation(asking, f"{'x.' * 20}a.test") == "a.test"
    assert len(asking.asked) == dmarc.MOST_STEPS
    assert asking.asked[1][0] == f"_dmarc.{'x.' * 5}a.test"


def test_alignment():
    """The same domain counts always, one of the same organisation where that is enough."""
    found = zone(a_test="v=DMARC1; p=none")
    assert dmarc.aligned(found, "a.test", "a.test", strict=True)
    assert not dmarc.aligned(found, "a.test", "b.a.test", strict=True)
    assert dmarc.aligned(found, "a.test", "b.a.test", strict=False)
    assert not dmarc.aligned(found, "a.test", "b.test", strict=False)
