"""Hosts that rest while others of their way go on."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from django_smtpx import pacing
from django_smtpx.mailer import Mailer, Way
from django_smtpx.models import Route
from django_smtpx.smtp import ConnectError
from django_smtpx.smtp.options import Options, Security

pytestmark = pytest.mark.django_db

WAY = Way(Mailer(name="default", hosts=()), "example.com")


@pytest.mark.parametrize("name", ["mx.example.com", ".".join(["a" * 60] * 4)])
def test_a_host_rests_whatever_its_name(name):
    """A name as long as the DNS has them is no error, on any database."""
    at = timezone.now()
    hosts = tuple(
        Options(host=host, port=25, security=Security.NONE, relay=False)
        for host in (name, "other.example.com")
    )
    error = ConnectError("refused", phase="connect", category="unreachable", host=name)
    until = pacing.book_host_failure(WAY, hosts, error, at)
    assert until == at + timedelta(minutes=1)
    assert len(Route.objects.get().host) <= 191
    assert pacing.hosts_to_try(WAY, hosts, at).options == hosts[1:]
    assert pacing.hosts_to_try(WAY, hosts, until) == pacing.Hosts(hosts, frozenset({name}))
    elsewhere = pacing.hosts_to_try(WAY, hosts[:1], until)
    assert (elsewhere.options, elsewhere.rests) == ((), until + timedelta(minutes=1))
    pacing.book_host_success(WAY, name)
    assert pacing.hosts_to_try(WAY, hosts, at) == pacing.Hosts(hosts)
