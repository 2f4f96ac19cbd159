"""Mail straight to the recipients' servers: real Postfix and Exim, a real validating resolver.

Each test asks what was decided, what the log says, what the server has got, and what could be read
on the wire.
"""

from __future__ import annotations

import re
import socket
import uuid
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any
from unittest import mock

import pytest
from django.core.mail import EmailMessage

from django_smtpx.delivery import routing
from django_smtpx.models import Attempt, Delivery, TLSResult
from django_smtpx.mx.policy_host import PolicyHosts
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import deliver, real_queue
from tests.integration.conftest import skipping
from tests.integration.faces import KINDS
from tests.integration.lab import DEAD, NETWORKS, Lab, laboratory
from tests.integration.nameservers import HOST

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = [pytest.mark.integration, pytest.mark.django_db, pytest.mark.timeout(120)]

TLS = re.compile(rb"\bwith e?smtps\b", re.IGNORECASE)
"""How both servers write into a message that it came over TLS."""


@pytest.fixture(scope="module")
def _lab() -> Iterator[Lab]:
    with ExitStack() as stack:
        with skipping():
            running = stack.enter_context(laboratory())
        # The port of web servers is nobody's who is not root.
        policy_hosts = partial(PolicyHosts, port=running.policies.port)
        stack.enter_context(mock.patch("django_smtpx.mx.policy_host.PolicyHosts", policy_hosts))
        yield running


@pytest.fixture
def lab(_lab: Lab) -> Iterator[Lab]:
    """The laboratory, with nothing recorded, in a process that knows nothing yet."""
    routing.forget()
    _lab.recorder.clear()
    texts = dict(_lab.policies.texts)
    yield _lab
    _lab.policies.texts = texts
    default_pool.close()


def send(
    lab: Lab,
    *recipients: str,
    headers: dict[str, str] | None = None,
    require_tls: bool = False,
    **options: Any,
) -> str:
    """Send one mail as far as it goes, and return the word that is in it and in no other."""
    token = uuid.uuid4().hex
    with real_queue(**lab.options(**options)):
        mail = EmailMessage(
            f"Subject {token}", "Body", "me@out.lab.test", recipients, headers=headers
        )
        mail.require_tls = require_tls
        mail.send()
        deliver()
    return token


def the_attempt() -> Attempt:
    """Return the only row of the log."""
    (attempt,) = attempts()
    return attempt


def attempts() -> list[Attempt]:
    """Return the rows of the log, oldest first."""
    return list(Attempt.objects.select_related("delivery").order_by("pk"))


@dataclass(frozen=True)
class Branch:
    """What is to come of mail to a domain.

    ``face`` is the one that it goes to, or would. ``says`` is a pattern for what the log gives as
    the reason, and ``before`` for the reason of another attempt that comes before. ``by`` is what
    verified the certificate. ``clear``: it goes without TLS.
    """

    domain: str
    face: str = ""
    by: str = ""
    clear: bool = False
    category: str = "ok"
    outcome: str = "sent"
    phase: str = "eod"
    says: str = ""
    before: str = ""


def refused(domain: str, face: str, says: str, phase: str = "starttls") -> Branch:
    """Return what is to come of mail that finds no TLS that is good enough."""
    return Branch(domain, face, category="tls_error", outcome="deferred", phase=phase, says=says)


def unresolved(domain: str, says: str) -> Branch:
    """Return what is to come of mail where the DNS cannot be believed."""
    return Branch(domain, category="dns_error", outcome="deferred", phase="resolve", says=says)


def unknown(domain: str, says: str) -> Branch:
    """Return what is to come of mail that nobody takes."""
    return Branch(domain, category="domain_unknown", outcome="failed", phase="resolve", says=says)


BRANCHES = [
    # No policy: TLS where there is some, whatever the certificate.
    Branch("open-plain", "plain", clear=True),
    Branch("open-expired", "expired"),
    Branch("implicit", "right"),
    # Where the DNS says no, or nothing that can be believed.
    unknown("null", "null MX"),
    unknown("no-such-domain", "no domain"),
    unresolved("forged", r"MX of forged\..*SERVFAIL.*signature"),
    # DANE (RFC 7672).
    Branch("dane-ee", "stranger", by="dane"),
    Branch("dane-ta", "chain", by="dane"),
    Branch("dane-alias", "stranger", by="dane"),
    Branch("dane-unusable", "stranger"),
    refused("dane-mismatch", "right", "TLSA"),
    refused("dane-ta-other", "chain", "TLSA"),
    refused("dane-plain", "plain", "STARTTLS"),
    refused("dane-unusable-plain", "plain", "STARTTLS"),
    unresolved("dane-forged", r"TLSA of _\d+\._tcp\.dane-forged-mx\..*SERVFAIL.*signature"),
    # MTA-STS (RFC 8461).
    Branch("sts-right", "right", by="pkix"),
    refused("sts-other", "other", "MTA-STS policy"),
    refused("sts-expired", "expired", "MTA-STS policy.*expired|expired.*MTA-STS policy"),
    refused("sts-stranger", "stranger", "MTA-STS policy"),
    refused("sts-plain", "plain", "STARTTLS.*MTA-STS policy|MTA-STS policy.*STARTTLS"),
    refused("sts-unnamed", "", r"\*\.elsewhere\.test", phase="resolve"),
    Branch("sts-testing-other", "other", before="MTA-STS policy"),
    Branch("sts-testing-expired", "expired", before="MTA-STS policy"),
    Branch("sts-testing-plain", "plain", clear=True, before="STARTTLS"),
    Branch("sts-none", "plain", clear=True),
    Branch("sts-lost", "plain", clear=True),
    Branch("sts-and-dane", "stranger", by="dane"),
]


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize("branch", BRANCHES, ids=lambda branch: branch.domain)
def test_branches(lab: Lab, branch: Branch, kind: str) -> None:
    """Mail goes, waits or fails as the domain's records and its server's certificate have it; what
    may not be read by others is not on the wire.
    """
    recipient = f"to@{branch.domain}.{kind}.lab.test"
    token = send(lab, recipient)
    check(lab, branch, kind, recipient, token)


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_an_insecure_chain(lab: Lab, kind: str) -> None:
    """Below a delegation that is not signed nobody vouches for TLSA records: they do not count."""
    recipient = f"to@insecure.{kind}.unsigned.lab.test"
    token = send(lab, recipient)
    check(lab, Branch("insecure", "stranger"), kind, recipient, token)


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_a_resolver_that_is_not_trusted(lab: Lab, kind: str) -> None:
    """What it says of validation is not heard: no TLSA record counts."""
    resolver = lab.resolver.options(trust_ad=False)
    recipient = f"to@dane-mismatch.{kind}.lab.test"
    token = send(lab, recipient, resolver=resolver)
    check(lab, Branch("dane-mismatch", "right"), kind, recipient, token)


def check(lab: Lab, branch: Branch, kind: str, recipient: str, token: str) -> None:
    """See that all that happened is what ``branch`` says."""
    *before, attempt = attempts()
    decided = (attempt.outcome, attempt.category, attempt.phase)
    assert decided == (branch.outcome, branch.category, branch.phase), attempt.reply
    assert re.search(branch.says, attempt.reply), attempt.reply
    assert attempt.delivery.status == branch.outcome
    assert attempt.ip == (f"{NETWORKS[kind]}.{KINDS.index(branch.face) + 1}" if branch.face else "")
    assert [(one.outcome, one.category) for one in before] == (
        [("deferred", "tls_error")] if branch.before else []
    )
    assert all(re.search(branch.before, one.reply) for one in before), before[0].reply
    # What the server has.
    arrived = lab.received(kind, token)
    assert len(arrived) == (branch.outcome == "sent")
    assert all(bool(TLS.search(raw)) != branch.clear for raw in arrived)
    # What the log says of the connection.
    if branch.outcome == "sent":
        assert attempt.tls.startswith("TLSv1.") != branch.clear
        assert attempt.tls_verified_by == branch.by
        assert attempt.port == lab.port
    # What could be read on the wire: the mail, where that is allowed, and else no word of it.
    heard = lab.recorder.everything()
    assert [b"MAIL FROM" in heard, recipient.encode() in heard, token.encode() in heard] == (
        [branch.clear] * 3
    )
    if branch.phase == "resolve":
        assert heard == b""


# -- what a message wants ------------------------------------------------------------------------


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize(
    "branch",
    [
        Branch("dane-mismatch", "right"),
        Branch("dane-plain", "plain", clear=True),
        Branch("sts-unnamed", "right"),
        Branch("sts-other", "other"),
        Branch("sts-plain", "plain", clear=True),
    ],
    ids=lambda branch: branch.domain,
)
def test_tls_is_not_required(lab: Lab, branch: Branch, kind: str) -> None:
    """``TLS-Required: No`` wants the mail to arrive rather than to be unreadable (RFC 8689)."""
    recipient = f"to@{branch.domain}.{kind}.lab.test"
    token = send(lab, recipient, headers={"TLS-Required": "No"})
    assert len(lab.received(kind, token)) == 1
    *_, attempt = attempts()
    assert attempt.outcome == "sent"
    assert attempt.tls_verified_by == ""
    assert bool(attempt.tls) != branch.clear


@pytest.mark.parametrize("kind", list(NETWORKS))
@pytest.mark.parametrize(
    "branch",
    [
        # What is wrong may be mended; that nobody can promise it is final.
        refused("open-plain", "plain", "STARTTLS.*REQUIRETLS"),
        refused("open-expired", "expired", "expired.*REQUIRETLS"),
        refused("sts-other", "other", "MTA-STS policy"),
        Branch(
            "dane-ee",
            "stranger",
            category="unsupported",
            outcome="failed",
            phase="ehlo",
            says="the server does not know it",
        ),
        Branch(
            "insecure",
            category="unsupported",
            outcome="failed",
            phase="resolve",
            says="neither DNSSEC nor an MTA-STS policy",
        ),
    ],
    ids=lambda branch: branch.domain,
)
def test_tls_is_required(lab: Lab, branch: Branch, kind: str) -> None:
    """REQUIRETLS goes to nobody who cannot promise it, and neither of these servers can."""
    zone = "unsigned.lab.test" if branch.domain == "insecure" else "lab.test"
    recipient = f"to@{branch.domain}.{kind}.{zone}"
    token = send(lab, recipient, require_tls=True)
    check(lab, branch, kind, recipient, token)


# -- servers that do not answer ------------------------------------------------------------------


def test_a_dead_first_server_costs_its_timeout_once(lab: Lab) -> None:
    """It is not tried again for each message, though each has a connection of its own."""
    tried = []
    connect_ex = socket.socket.connect_ex

    def noting(sock: socket.socket, address: Any) -> int:
        tried.append(address[0])
        return connect_ex(sock, address)

    tokens = []
    with mock.patch.object(socket.socket, "connect_ex", noting):
        for _ in range(3):
            tokens.append(send(lab, "to@dead-first.postfix.lab.test", timeout=2))
            default_pool.close()
    right = f"{NETWORKS['postfix']}.1"
    assert tried == [DEAD, right, right, right]
    assert [len(lab.received("postfix", token)) for token in tokens] == [1, 1, 1]
    assert [(one.outcome, one.category, one.ip) for one in attempts()] == [
        ("deferred", "unreachable", DEAD),
        *[("sent", "ok", right)] * 3,
    ]


def test_a_domain_whose_servers_are_silent(lab: Lab) -> None:
    """Its mail waits, and the log says which address did not answer."""
    send(lab, "to@silent.postfix.lab.test", timeout=1)
    attempt = the_attempt()
    assert (attempt.outcome, attempt.category, attempt.phase) == (
        "deferred",
        "unreachable",
        "connect",
    )
    assert (attempt.host, attempt.port) == ("silent.postfix.lab.test", lab.port)
    assert DEAD in attempt.reply
    assert attempt.delivery.next_attempt_at is not None


def test_no_resolver(lab: Lab) -> None:
    """Its mail waits, and the log names the one who was asked."""
    resolver = lab.resolver.options(port=1)
    send(lab, "to@open-plain.postfix.lab.test", resolver=resolver)
    attempt = the_attempt()
    assert (attempt.outcome, attempt.category) == ("deferred", "dns_error")
    assert f"the DNS server {HOST}:1 cannot be reached: Connection refused" in attempt.reply


# -- policies that are kept ----------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_a_policy_outlives_its_web_server(lab: Lab) -> None:
    """What was fetched once is obeyed while nobody can fetch it, and after a restart."""
    domain = "sts-right.postfix.lab.test"
    send(lab, f"to@{domain}")
    del lab.policies.texts[domain]
    routing.forget()
    default_pool.close()
    send(lab, f"to@{domain}")
    assert lab.policies.asked.count(domain) >= 1
    assert [(one.outcome, one.tls_verified_by) for one in attempts()] == [("sent", "pkix")] * 2


# -- several domains -----------------------------------------------------------------------------


def test_one_message_to_many_domains(lab: Lab) -> None:
    """Each recipient's domain decides for itself, and nobody waits for the others."""
    names = ("dane-ee", "sts-right", "open-plain", "dane-mismatch", "null")
    send(lab, *(f"to@{name}.exim.lab.test" for name in names))
    found = dict(Delivery.objects.values_list("domain", "status"))
    assert found == {
        "dane-ee.exim.lab.test": "sent",
        "sts-right.exim.lab.test": "sent",
        "open-plain.exim.lab.test": "sent",
        "dane-mismatch.exim.lab.test": "deferred",
        "null.exim.lab.test": "failed",
    }


# -- what domains are told -----------------------------------------------------------------------

TOLD = [
    ("dane-ee", "tlsa", ""),
    ("dane-mismatch", "tlsa", "tlsa-invalid"),
    ("open-plain", "no-policy-found", "starttls-not-supported"),
    ("sts-expired", "sts", "certificate-expired"),
    ("sts-other", "sts", "certificate-host-mismatch"),
    ("sts-plain", "sts", "starttls-not-supported"),
    ("sts-right", "sts", ""),
    ("sts-stranger", "sts", "certificate-not-trusted"),
    ("sts-testing-other", "sts", "certificate-host-mismatch"),
    ("sts-unnamed", "sts", "validation-failure"),
]


@pytest.mark.parametrize("kind", list(NETWORKS))
def test_what_is_counted_for_reports(lab: Lab, kind: str) -> None:
    """One session each, by the policy that it was under, and with the result type of RFC 8460."""
    send(lab, *(f"to@{name}.{kind}.lab.test" for name, _, _ in TOLD))
    rows = TLSResult.objects.order_by("domain", "failure")
    counted = rows.values_list("domain", "policy_type", "failure", "count")
    assert list(counted) == [
        (f"{name}.{kind}.lab.test", policy, failure, 1) for name, policy, failure in TOLD
    ]
