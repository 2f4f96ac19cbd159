"""Many domains with all kinds of trouble, and four drains: nothing is lost, sent twice, or shown to
whom it is not for.

``SMTPX_STORM_SEED`` chooses another storm; a failure says which one it was.
"""

from __future__ import annotations

import os
import random
import threading
from collections import Counter

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import load_pem_x509_certificate
from django.db import connection

from django_smtpx import delivery, pacing
from django_smtpx.config import get_mailer
from django_smtpx.delivery import idle
from django_smtpx.models import Delivery
from django_smtpx.smtp.dane import TLSA
from django_smtpx.smtp.pool import default_pool
from django_smtpx.testing import KEYWORDS, Close, MidContent, Reply
from tests.delivery.mxsite import MXSite, later, send

pytestmark = pytest.mark.django_db(transaction=True)

SEED = int(os.environ.get("SMTPX_STORM_SEED", "1"))
DRAINS = 4
YOUNG = 2
"""Rounds after which what still waits is made old."""

ROUNDS = 12
OLD = 3 * 86400.0
"""Seconds after which no schedule goes on."""

GOOD, PLAIN, OTHERS, LOSES, DANE, FORGED = (
    f"{name}.host.example" for name in ("good", "plain", "others", "loses", "dane", "forged")
)
DEAD, NAMELESS, SILENT = (f"{name}.host.example" for name in ("dead", "nameless", "silent"))
HOSTS = (GOOD, PLAIN, OTHERS, LOSES, DANE, FORGED, DEAD, NAMELESS, SILENT)
HOLDS = {GOOD, LOSES}
"""Those that show a certificate for their name."""


@pytest.fixture(autouse=True)
def _fresh_process():
    yield
    default_pool.close()
    pacing.forget_resting()


class Storm:
    """A site in trouble: ``enforced`` has the hosts that a domain's policy names."""

    def __init__(self, site, domains):
        self.site = site
        self.count = domains
        self.chance = random.Random(SEED)
        self.enforced = {}
        self.verified = set()
        self.optional = set()
        self.errors = []

    def servers(self):
        """Start the servers, each with its own vice."""
        start = self.site.server
        moods = random.Random(SEED + 1)
        keywords = (*KEYWORDS, "REQUIRETLS")
        start(GOOD, "127.0.0.101", certificate=GOOD, keywords=keywords)
        start(PLAIN, "127.0.0.102", script=self._script(moods))
        start(OTHERS, "127.0.0.103", certificate="www.example", script=self._script(moods))
        start(LOSES, "127.0.0.104", certificate=LOSES, script=self._script(moods))
        for place, host in enumerate((DANE, FORGED), 105):
            start(host, f"127.0.0.{place}", certificate=host, keywords=keywords)
            pem = self.site.certificate.cert_chain_pems[0].bytes()
            der = load_pem_x509_certificate(pem).public_bytes(Encoding.DER)
            data = TLSA(3, 1, 1, b"").of(der).data.hex() if host == DANE else "00" * 32
            name = f"_{self.site.port}._tcp.{host}"
            self.site.dns.gives(name, "TLSA", f"3 1 1 {data}", ad=True)
        self.site.host(DEAD, "127.0.0.110")
        self.site.dns.gives(SILENT, "*", rcode="SERVFAIL")

    @staticmethod
    def _script(moods):
        bye = Reply("421 4.3.2 Not now", then=Close())

        def now_and_then(share, *actions):
            return lambda *_: moods.choice(actions) if moods.random() < share else None

        return {
            "CONNECT": now_and_then(0.05, bye, "554 5.3.2 Closed", Close()),
            "MAIL": now_and_then(0.05, "451 4.3.0 Later", bye),
            "RCPT": now_and_then(
                0.2, "450 4.2.0 Later", "550 5.1.1 Nobody", "452 4.5.3 Many", bye, Close()
            ),
            "DATA": now_and_then(0.05, "451 4.3.0 Later", MidContent(2)),
            "EOD": now_and_then(0.1, "451 4.3.0 Later", "554 5.6.0 No", bye),
        }

    def domains(self):
        """Give each domain its servers, and many a policy."""
        dns, chance = self.site.dns, self.chance
        for number in range(self.count):
            name = f"d{number}.example"
            fate = chance.random()
            if fate < 0.05:
                continue
            if fate < 0.1:
                dns.gives(name, "MX", "0 .")
                continue
            if fate < 0.2:
                dns.gives(name, "MX", rcode="SERVFAIL")
            hosts = chance.sample(HOSTS, chance.choice((1, 1, 2, 3)))
            self.site.domain(name, *hosts)
            mode = chance.choice(("", "testing", "enforce", "enforce"))
            if mode:
                named = chance.choice((hosts, hosts, hosts[:1], [DEAD]))
                self.site.policy(name, mode, *named)
                if mode == "enforce":
                    self.enforced[name] = set(named)

    def mail(self):
        """Queue mail, some of it with a wish, some to several domains."""
        for number in range(self.count):
            to = f"a{number}@d{number}.example"
            wish = self.chance.random()
            if wish < 0.1:
                self.verified.add(to)
                send(to, require_tls=True)
            elif wish < 0.2:
                self.optional.add(to)
                send(to, headers={"TLS-Required": "No"})
            else:
                others = self.chance.sample(range(self.count), self.chance.choice((0, 0, 2)))
                send(to, *(f"b{number}@d{other}.example" for other in others))

    def round(self):
        """Let the drains go over it side by side."""
        idle.upkeep()
        drains = [threading.Thread(target=self._drain) for _ in range(DRAINS)]
        for drain in drains:
            drain.start()
        for drain in drains:
            drain.join()

    def _drain(self):
        try:
            delivery.drain(get_mailer("default"))
        except Exception as error:  # noqa: BLE001 (the test says what it was)
            self.errors.append(error)
        finally:
            connection.close()


_LONG = [pytest.mark.exhaustive, pytest.mark.timeout(300)]


@pytest.fixture(params=[50, pytest.param(300, marks=_LONG)])
def storm(request, tmp_path):
    """The storm before it breaks loose."""
    with MXSite(tmp_path, timeout=10) as site:
        storm = Storm(site, request.param)
        storm.servers()
        storm.domains()
        storm.mail()
        yield storm


def test_what_is_left_when_it_is_over(storm):
    """Each recipient has one end, and its message once where that is to have been sent; unknown is
    only whom a server hung up on amid the content, and took nothing for; no byte went where a
    policy, TLSA records or the message did not let it.
    """
    stored = set(Delivery.objects.values_list("recipient", flat=True))
    for number in range(ROUNDS):
        storm.round()
        counts = Counter(Delivery.objects.values_list("status", flat=True))
        assert sum(counts.values()) == len(stored), SEED
        assert not counts["sending"], (SEED, counts)
        if not counts["queued"] + counts["deferred"]:
            break
        later(OLD if number >= YOUNG else 0.0)
    assert not storm.errors, SEED
    assert set(counts) <= {"sent", "failed", "unknown"}, (SEED, counts)
    for left in Delivery.objects.filter(status="unknown"):
        last = left.attempts.latest("number")
        assert (last.outcome, last.phase, last.code) == ("unknown", "eod", None), (SEED, last)
    taken = Counter()
    for host, server in storm.site.servers.items():
        for message in server.messages:
            for recipient in message.recipients:
                taken[recipient] += message.confirmed
                check(storm, host, message, recipient)
    sent = set(Delivery.objects.filter(status="sent").values_list("recipient", flat=True))
    assert +taken == Counter(sent), SEED
    assert len(sent) > storm.count / 4


def check(storm, host, message, recipient):
    """Say that ``host`` may have the message in the way that it came."""
    domain = recipient.rpartition("@")[2]
    where = (SEED, recipient, host)
    if recipient in storm.optional:
        return
    assert host != FORGED, where
    if host == DANE:
        assert message.tls, where
    elif domain in storm.enforced:
        assert message.tls, where
        assert host in storm.enforced[domain] & HOLDS, where
    if recipient in storm.verified:
        assert message.tls, where
        assert "REQUIRETLS" in str(message.mail_params), where
