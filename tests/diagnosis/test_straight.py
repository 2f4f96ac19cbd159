"""Mail that goes straight to domains: the first server of a recipient's, and the domain it is from."""

from __future__ import annotations

import hashlib
import json
from contextlib import contextmanager

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from django_smtpx.config import get_mailer
from django_smtpx.diagnosis import DOMAIN_STEPS, STEPS, diagnose, receiving, world
from django_smtpx.mx import policy_host
from django_smtpx.testing import real_queue
from tests.delivery.mxsite import MXSite
from tests.i18n.saying import assert_diagnosis_said
from tests.mx.responder import silence
from tests.signing import ed25519_key, pem, record, rsa_key

pytestmark = pytest.mark.django_db

ADDRESS = "203.0.113.5"
NAME = "out.sender.example"
DOMAIN = "sender.example"
KEY = f"r1._domainkey.{DOMAIN}"
SIGNING = {"dkim": [{"domain": DOMAIN, "selector": "r1", "private_key": pem(rsa_key())}]}


def strings(text):
    """Return a TXT record as a zone has it: in strings of 255 characters at most."""
    return " ".join(f'"{text[at : at + 255]}"' for at in range(0, len(text), 255))


RECORDS = {
    (DOMAIN, "TXT"): ('"another thing"', f'"v=spf1 ip4:{ADDRESS} -all"'),
    (NAME, "TXT"): ('"v=spf1 a -all"',),
    (NAME, "A"): (ADDRESS,),
    ("5.113.0.203.in-addr.arpa", "PTR"): (f"{NAME}.",),
    (f"_dmarc.{DOMAIN}", "TXT"): ('"v=DMARC1; p=reject; adkim=s; aspf=s"',),
    (KEY, "TXT"): (strings(record(rsa_key()).decode()),),
    (DOMAIN, "MX"): (f"10 mx.{DOMAIN}.",),
    (f"mx.{DOMAIN}", "A"): ("127.0.0.103",),
}
"""A sending domain in good order."""


@pytest.fixture(autouse=True)
def _sender(settings):
    settings.DEFAULT_FROM_EMAIL = f"Me <from@{DOMAIN}>"


@contextmanager
def sending(tmp_path, changes=None, **options):
    """Give a site whose sending domain is in good order, but for ``changes``."""
    with MXSite(tmp_path, **{**SIGNING, **options}) as site:
        for (name, rdtype), records in {**RECORDS, **(changes or {})}.items():
            if records is None:
                site.dns.does(name, rdtype, silence)
            else:
                site.dns.gives(name, rdtype, *records, ad=True)
        yield site


def look(to="", address=ADDRESS):
    """Return the only diagnosis of the mailer."""
    (diagnosis,) = diagnose("default", to, address=address)
    assert [step.name for step in diagnosis.steps] == [*STEPS, *DOMAIN_STEPS]
    for found in diagnosis.failed:
        assert found.cause
        assert found.mend.endswith(".")
    assert "PRIVATE" not in json.dumps(diagnosis.as_dict())
    assert_diagnosis_said(diagnosis)
    return diagnosis


def step(diagnosis, name):
    """Return a step by its name."""
    return next(one for one in diagnosis.steps if one.name == name)


def failure(diagnosis):
    """Return the only step that fails."""
    (found,) = diagnosis.failed
    return found


# -- the recipient's servers ---------------------------------------------------------------------


def test_the_route_is_shown(tmp_path):
    """Its servers and the TLS that each must show, and then the first of them, step by step."""
    with sending(tmp_path) as site:
        site.server("mx1.one.example", "127.0.0.101", certificate="mx1.one.example")
        site.server("mx2.one.example", "127.0.0.102")
        site.domain("one.example", "mx1.one.example", "mx2.one.example")
        site.policy("one.example", "enforce", "mx1.one.example", "mx2.one.example")
        assert get_mailer("default").transport == "mx"
        diagnosis = look("you@one.example")
    assert diagnosis.ok
    assert diagnosis.host == "mx1.one.example"
    route = step(diagnosis, "configuration").evidence
    assert route["mta_sts"] == "enforce"
    assert [text.partition(":")[0] for text in route["servers"]] == [
        "mx1.one.example",
        "mx2.one.example",
    ]
    assert "MTA-STS" in route["servers"][0]
    assert step(diagnosis, "recipient").ok is True


def test_a_domain_whose_policy_names_none_of_its_servers(tmp_path):
    """No mail goes there before those who run it mend it."""
    with sending(tmp_path) as site:
        site.host("mx.one.example", "127.0.0.101")
        site.domain("one.example", "mx.one.example")
        site.policy("one.example", "enforce", "mx.other.example")
        found = failure(look("you@one.example"))
    assert found.name == "tls"
    assert "MTA-STS" in found.cause
    assert "do not fit its policy" in found.mend


def test_a_domain_that_does_not_exist(tmp_path):
    """The DNS is the step that fails."""
    with sending(tmp_path) as site:
        site.dns.gives("none.example", "MX", rcode="NXDOMAIN")
        found = failure(look("you@none.example"))
    assert found.name == "dns"
    assert "none.example" in found.cause


# -- the sending domain --------------------------------------------------------------------------


def test_a_sending_domain_in_good_order(tmp_path):
    """What others will find of it is evidence; without a recipient that is all there is to see."""
    with sending(tmp_path) as site:
        diagnosis = look()
        asked = len(site.dns.asked)
    assert diagnosis.ok
    assert "--to" in step(diagnosis, "configuration").cause
    oks = {one.name: one.ok for one in diagnosis.steps if one.name in DOMAIN_STEPS}
    assert oks == {
        "spf": True, "dkim": True, "dmarc": True, "reverse_dns": True, "mx": True,
        "mta_sts": None, "tlsa": None,
    }  # fmt: skip
    assert step(diagnosis, "spf").evidence["record"] == f"v=spf1 ip4:{ADDRESS} -all"
    assert step(diagnosis, "spf").evidence["helo"] == f"pass for {NAME}"
    assert step(diagnosis, "dkim").evidence == {"keys": [f"{KEY}: rsa, 2048 bits"]}
    dmarc = step(diagnosis, "dmarc").evidence
    assert (dmarc["policy"], dmarc["aligned"]) == (
        "reject",
        [f"SPF of {DOMAIN}", f"DKIM of {DOMAIN}"],
    )
    assert step(diagnosis, "reverse_dns").evidence["names"] == [f"{ADDRESS}: {NAME}"]
    assert step(diagnosis, "mx").evidence["servers"] == [f"mx.{DOMAIN}"]
    assert all(one.cause == "" for one in diagnosis.steps if one.name in DOMAIN_STEPS)
    assert asked < 20


@pytest.mark.parametrize(
    ("changes", "name", "cause", "mend"),
    [
        (
            {(DOMAIN, "TXT"): ()}, "spf",
            f"{DOMAIN} has no SPF record", f'"v=spf1 ip4:{ADDRESS} -all"',
        ),
        (
            {(DOMAIN, "TXT"): ('"v=spf1 a:mail.example.net -all"',)}, "spf",
            f"SPF says fail for mail of {DOMAIN} from {ADDRESS}: -all", f"Add ip4:{ADDRESS} to",
        ),
        (
            {(DOMAIN, "TXT"): ('"v=spf1 ~all"',)}, "spf", "SPF says softfail", "Add ip4",
        ),
        (
            {(DOMAIN, "TXT"): ('"v=spf1 -all"', '"v=spf1 mx -all"')}, "spf",
            "has 2 SPF records, and one is allowed", "Correct the SPF record",
        ),
        (
            {(DOMAIN, "TXT"): ('"v=spf1 ip4:1.2.3 -all"',)}, "spf",
            "'ip4:1.2.3' names no network", "Correct the SPF record",
        ),
        (
            {(KEY, "TXT"): ()}, "dkim",
            f"There is no TXT record at {KEY}", "Publish the key's public half",
        ),
        (
            {(KEY, "TXT"): ('"v=DKIM1; k=rsa; p="',)}, "dkim", "the key is revoked", "Publish",
        ),
        (
            {(KEY, "TXT"): ('"v=DKIM1; k=rsa; p=abc"',)}, "dkim", "it is damaged", "Publish",
        ),
        (
            {(KEY, "TXT"): ('"v=DKIM1; k=rsa; p=AAAA"',)}, "dkim", "it is no RSA key", "Publish",
        ),
        (
            {(KEY, "TXT"): (strings(record(rsa_key(1024)).decode()),)}, "dkim",
            "not the other half of the one that signs mail here", "Publish",
        ),
        (
            {(KEY, "TXT"): (strings(record(ed25519_key()).decode()),)}, "dkim",
            "of another kind (ed25519)", "Publish",
        ),
        (
            {(f"_dmarc.{DOMAIN}", "TXT"): ('"v=DMARC1; p=sometimes"',)}, "dmarc",
            "has a policy that nobody knows", "Correct the record",
        ),
        (
            {("5.113.0.203.in-addr.arpa", "PTR"): ()}, "reverse_dns",
            f"{ADDRESS} has no name in the DNS", "set the name of this machine",
        ),
        (
            {("5.113.0.203.in-addr.arpa", "PTR"): ("elsewhere.example.",)}, "reverse_dns",
            "elsewhere.example, does not have that address", "correct its name",
        ),
        (
            {(DOMAIN, "MX"): ("0 .",)}, "mx", "it has a null MX", "failure reports have nowhere",
        ),
    ],
)  # fmt: skip
def test_what_is_wrong_with_the_sending_domain(tmp_path, changes, name, cause, mend):
    """Its step alone fails, with what is to be published."""
    with sending(tmp_path, changes) as site:
        del site
        found = failure(look())
    assert found.name == name
    assert cause in found.cause
    assert mend in found.mend


def test_dmarc_that_nothing_meets(tmp_path):
    """A policy takes mail away that neither SPF nor a signature speaks for."""
    changes = {(DOMAIN, "TXT"): ('"v=spf1 -all"',)}
    with sending(tmp_path, changes, dkim=[]):
        spf, dmarc = look().failed
    assert (spf.name, dmarc.name) == ("spf", "dmarc")
    assert "Neither SPF nor DKIM passes" in dmarc.cause
    assert "(reject)" in dmarc.cause
    changes[f"_dmarc.{DOMAIN}", "TXT"] = ('"v=DMARC1; p=none"',)
    with sending(tmp_path, changes, dkim=[]):
        diagnosis = look()
    assert "(none)" in step(diagnosis, "dmarc").cause
    assert failure(diagnosis).name == "spf"


def test_what_could_be_better_is_a_note(tmp_path):
    """Nothing fails: mail arrives as it is."""
    changes = {
        (KEY, "TXT"): (strings("t=y; " + record(rsa_key()).decode().removeprefix("v=DKIM1; ")),),
        (f"_dmarc.{DOMAIN}", "TXT"): (),
        ("5.113.0.203.in-addr.arpa", "PTR"): (f"other.{DOMAIN}.",),
        (f"other.{DOMAIN}", "A"): (ADDRESS,),
        (NAME, "TXT"): ('"v=spf1 -all"',),
    }
    with sending(tmp_path, changes):
        diagnosis = look()
    assert diagnosis.ok
    assert "t=y" in step(diagnosis, "dkim").cause
    assert "no DMARC record" in step(diagnosis, "dmarc").cause
    assert 'v=DMARC1; p=none"' in step(diagnosis, "dmarc").mend
    assert "is not that of the address" in step(diagnosis, "reverse_dns").cause
    assert "said in EHLO, does not allow this machine" in step(diagnosis, "spf").cause


def test_a_mailer_that_does_not_sign(tmp_path):
    """DMARC may be met by SPF; that large providers want signatures is a note."""
    with sending(tmp_path, dkim=[]):
        diagnosis = look()
    assert diagnosis.ok
    assert "does not sign" in step(diagnosis, "dkim").cause
    assert step(diagnosis, "dmarc").ok is True


def test_an_address_that_is_not_known(tmp_path, monkeypatch):
    """Behind a translation nothing is guessed, and what is wrong with any address is still told."""
    monkeypatch.setattr(world, "public_address_towards", lambda address: "")
    with sending(tmp_path, dkim=[]):
        diagnosis = look(address="")
    assert diagnosis.ok
    for name in ("spf", "dmarc", "reverse_dns"):
        assert step(diagnosis, name).ok is None
        assert "not known by which address others see this machine" in step(diagnosis, name).cause
        assert step(diagnosis, name).mend == "Say which it is: smtpx_check --address IP."
    changes = {(DOMAIN, "TXT"): ('"v=spf1 nonsense"',), (NAME, "A"): (), (NAME, "AAAA"): ()}
    with sending(tmp_path, changes):
        spf, names = look(address="").failed
    assert "'nonsense' is no mechanism" in spf.cause
    assert f"{NAME}, has no address in the DNS" in names.cause


def test_the_address_that_is_bound(tmp_path):
    """``source_address`` is where mail comes from, unless it is translated on the way; a person's
    word comes before it.
    """
    changes = {(DOMAIN, "TXT"): ('"v=spf1 ip4:9.9.9.9 -all"',)}
    with sending(tmp_path, changes, source_address="9.9.9.9"):
        assert step(look(address=""), "spf").ok is True
        assert step(look(), "spf").ok is False
    with sending(tmp_path, changes, source_address="10.0.0.9"):
        assert step(look(address=""), "spf").ok is None


def test_a_name_server_that_does_not_answer(tmp_path, monkeypatch):
    """It costs some seconds at most, and the DNS is named for the cause."""
    monkeypatch.setattr(world, "LIMIT", 0.3)
    monkeypatch.setattr(world, "LOOKUP", 0.1)
    changes = dict.fromkeys(RECORDS)
    with sending(tmp_path, changes):
        diagnosis = look()
    failed = {found.name: found for found in diagnosis.failed}
    assert failed.keys() == {"spf", "dkim", "dmarc", "reverse_dns", "mx", "mta_sts"}
    for found in failed.values():
        assert "The DNS gives no usable answer" in found.cause


def test_a_sender_without_a_domain(tmp_path, settings):
    """Django's default, webmaster@localhost, is nobody's address."""
    settings.DEFAULT_FROM_EMAIL = "webmaster@localhost"
    with sending(tmp_path, dkim=[]):
        found = failure(look())
    assert found.name == "spf"
    assert "Set DEFAULT_FROM_EMAIL" in found.mend


def test_an_address_that_is_none():
    """It is told before anything is asked."""
    with real_queue(transport="mx", helo=NAME), pytest.raises(ValueError, match=r"203\.0"):
        list(diagnose("default", address="203.0"))


# -- its own servers -----------------------------------------------------------------------------


def sts(site, monkeypatch, mode, *hosts):
    """Let the sending domain have a policy on a web server."""
    site.dns.gives(f"_mta-sts.{DOMAIN}", "TXT", '"v=STSv1; id=1;"')
    lines = ["version: STSv1", f"mode: {mode}", *(f"mx: {host}" for host in hosts), "max_age: 600"]
    body = "\n".join(lines).encode()
    monkeypatch.setattr(policy_host.PolicyHosts, "__call__", lambda self, domain: body)


HERE = {(f"mx.{DOMAIN}", "A"): ("127.0.0.104",)}


@pytest.mark.parametrize(
    ("certificate", "mode", "named", "ok", "cause"),
    [
        (f"mx.{DOMAIN}", "enforce", f"mx.{DOMAIN}", True, ""),
        ("other.example", "enforce", f"mx.{DOMAIN}", False, "other.example"),
        ("other.example", "testing", f"mx.{DOMAIN}", True, "other.example"),
        (f"mx.{DOMAIN}", "enforce", "mx.other.example", False, "is not among the servers"),
    ],
)
def test_the_policy_of_the_sending_domain(
    tmp_path, monkeypatch, certificate, mode, named, ok, cause
):
    """Others obey it when they send failure reports, so its servers have to."""
    with sending(tmp_path, HERE) as site:
        site.server(f"mx.{DOMAIN}", "127.0.0.104", certificate=certificate)
        sts(site, monkeypatch, mode, named)
        found = step(look(), "mta_sts")
        verbs = [verb for one in site.servers[f"mx.{DOMAIN}"].sessions for verb in one.verbs]
    assert found.ok is ok
    assert found.evidence["policy"] == mode
    assert cause in found.cause
    assert not {"MAIL", "RCPT", "DATA"} & set(verbs)


def test_a_policy_that_cannot_be_had(tmp_path, monkeypatch):
    """Its record says that there is one."""
    with sending(tmp_path) as site:
        sts(site, monkeypatch, "whatever", f"mx.{DOMAIN}")
        found = failure(look())
    assert found.name == "mta_sts"
    assert "no mode that is known" in found.cause
    assert "take its TXT record out" in found.mend


@pytest.mark.parametrize("fits", [True, False])
def test_tlsa_records_of_the_sending_domain(tmp_path, fits):
    """They have to fit the certificate that the server shows."""
    with sending(tmp_path, HERE) as site:
        site.server(f"mx.{DOMAIN}", "127.0.0.104", certificate=f"mx.{DOMAIN}")
        (shown,) = x509.load_pem_x509_certificates(site.certificate.cert_chain_pems[0].bytes())
        digest = hashlib.sha256(shown.public_bytes(Encoding.DER) if fits else b"").hexdigest()
        site.dns.gives(f"_{site.port}._tcp.mx.{DOMAIN}", "TLSA", f"3 0 1 {digest}", ad=True)
        diagnosis = look()
    found = step(diagnosis, "tlsa")
    assert found.ok is fits
    assert found.evidence["servers"] == [f"mx.{DOMAIN}: 1 records"]
    if not fits:
        assert failure(diagnosis) is found
        assert "TLSA" in found.cause
        assert "the next one's before it changes" in found.mend


def test_a_server_that_is_not_reached_proves_nothing(tmp_path, monkeypatch):
    """Its port may be closed to this machine alone."""
    monkeypatch.setattr(receiving, "OPENING", 0.5)
    with sending(tmp_path) as site:
        sts(site, monkeypatch, "enforce", f"mx.{DOMAIN}")
        found = step(look(), "mta_sts")
    assert found.ok is True
    assert found.evidence["seen"] == [f"mx.{DOMAIN}: not reached (unreachable)"]


def test_a_resolver_that_does_not_validate(tmp_path):
    """Whether there are TLSA records that count is not known then."""
    with sending(tmp_path, trusted=False):
        found = step(look(), "tlsa")
    assert found.ok is None
    assert "trust_ad" in found.cause


def test_a_domain_that_this_machine_takes_mail_for(tmp_path):
    """It cannot be looked at from here as others see it, and nothing is wrong with that."""
    with sending(tmp_path, {(DOMAIN, "MX"): (f"10 {NAME}.",)}):
        found = step(look(), "mx")
    assert found.ok is None
    assert "takes the domain's mail itself" in found.cause
