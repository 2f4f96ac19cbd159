"""Who runs a server, by its name: bounded, and in the words that the rest of the house has."""

from __future__ import annotations

import pytest

from django_smtpx.models import Tally
from django_smtpx.pace.caps import DOCUMENTED
from django_smtpx.providers import NONE, OTHER, PROVIDERS, provider_of
from django_smtpx.smtp.rules.table import RULES


@pytest.mark.parametrize(
    ("host", "provider"),
    [
        ("aspmx.l.google.com", "google"),
        ("SMTP.Gmail.com.", "google"),
        ("example-com.mail.protection.outlook.com", "microsoft"),
        ("smtp.office365.com", "microsoft"),
        ("mta5.am0.yahoodns.net", "yahoo"),
        ("mx.yahoo.co.jp", "yahoo-japan"),
        ("email-smtp.eu-west-1.amazonaws.com", "ses"),
        ("email-smtp-fips.us-east-1.amazonaws.com", "ses"),
        ("ec2-192-0-2-1.compute.amazonaws.com", OTHER),
        ("smtp.sendgrid.net", "sendgrid"),
        ("notgoogle.com", OTHER),
        ("google.com.example.org", OTHER),
        ("mail.example.com", OTHER),
        ("192.0.2.1", OTHER),
        ("localhost", OTHER),
        ("", NONE),
    ],
)
def test_a_server_s_provider_is_told_by_its_name(host, provider):
    """By its last labels, without regard to case; what only looks alike is somebody else's."""
    assert provider_of(host) == provider
    assert provider in PROVIDERS


def test_whoever_the_rules_know_has_a_name_here():
    """The same one: who reads a verdict's rule finds its provider among the figures."""
    known = {rule.provider for rule in RULES} - {"", "text"}
    assert known <= PROVIDERS


@pytest.mark.parametrize("suffix", sorted({known.suffix for known in DOCUMENTED}))
def test_whose_limits_are_documented_has_a_name_here(suffix):
    """What is known of their servers' names is known here, too."""
    assert provider_of(f"mx1{suffix}") not in (OTHER, NONE)


def test_a_name_fits_its_column():
    """A database would cut it, or refuse it."""
    assert max(map(len, PROVIDERS)) <= Tally._meta.get_field("provider").max_length
