"""Options of mailers that go straight to the recipients' servers."""

from __future__ import annotations

import pytest

from django_smtpx import checks
from django_smtpx.config import get_mailer, straight
from django_smtpx.config.options import parse
from django_smtpx.config.unknown import BadOption
from django_smtpx.mx.dns import ResolverOptions
from django_smtpx.testing import real_queue


def mx(**options):
    """Return how a mailer goes straight."""
    return parse("m", {"transport": "mx", **options}).mx


def test_defaults():
    """Without any other option everything is as it is documented."""
    mailer = parse("m", {"transport": "mx"})
    assert (mailer.hosts, mailer.transport, mailer.max_connections) == ((), "mx", 4)
    found = mailer.mx
    assert (found.port, found.mta_sts, found.resolver) == (25, True, ResolverOptions())
    template = found.template
    assert (template.security, template.verify, template.credential) == (
        "opportunistic",
        True,
        None,
    )
    assert (template.relay, template.probe, template.port) == (False, False, 25)
    assert hash(mailer) == hash(parse("m", {"transport": "mx"}))


def test_all_options(tmp_path):
    """Each option arrives where it belongs."""
    pem = tmp_path / "some.pem"
    pem.touch()
    found = mx(
        resolver={
            "nameservers": ["127.0.0.1", "::1"],
            "port": 5353,
            "trust_ad": True,
            "timeout": 2,
        },
        mx_port=2525,
        mta_sts=False,
        dane=True,
        helo="out.example.com",
        source_address="192.0.2.1",
        ca_file=str(pem),
        security="starttls",
        verify=False,
        timeout=7,
        eod_timeout=8,
        pipelining=False,
        chunking=False,
        chunking_window=3,
        transcript="never",
    )
    assert found.resolver == ResolverOptions(
        nameservers=("127.0.0.1", "::1"), port=5353, trust_ad=True, timeout=2.0
    )
    assert (found.port, found.mta_sts, found.dane, found.dane_misses) == (2525, False, True, "")
    template = found.template
    assert (template.helo, template.source_address) == ("out.example.com", "192.0.2.1")
    assert (template.ca_file, template.security, template.verify) == (str(pem), "starttls", False)
    assert (template.timeout, template.eod_timeout, template.transcript) == (7, 8, "never")
    assert (template.pipelining, template.chunking, template.chunking_window) == (False, False, 3)
    assert template.port == 2525


def test_one_name_server_is_enough():
    """It may be given as it is, and None is not given."""
    assert mx(resolver={"nameservers": "127.0.0.1", "port": None}).resolver == ResolverOptions(
        nameservers=("127.0.0.1",)
    )


def test_no_tls_at_all():
    """It has to be said that no policy counts, either."""
    assert mx(security="none", mta_sts=False, dane=False).template.security == "none"


def test_what_dane_needs(monkeypatch):
    """It is left out where something is missing, unless somebody has asked for it by name."""
    found = mx()
    assert (found.dane, "trust_ad" in found.dane_misses) == (False, True)
    trusted = {"resolver": {"trust_ad": True}}
    assert mx(**trusted).dane
    assert (mx(dane=False).dane, mx(dane=False).dane_misses) == (False, "")
    monkeypatch.setattr(straight, "find_spec", lambda name: None)
    found = mx(**trusted)
    assert (found.dane, found.dane_misses) == (False, 'pip install "django-smtpx[dane]"')
    with pytest.raises(BadOption, match=r"'dane' is True.*pip install \"django-smtpx\[dane\]\""):
        mx(dane=True, **trusted)


def test_the_check_says_what_dane_misses():
    """A site learns of it once, and may say that it knows."""
    with real_queue(transport="mx"):
        (told,) = checks.check_dane()
        assert told.id == "django_smtpx.I001"
        assert "trust_ad" in told.msg
        assert checks.check_default_port() == []
    for options in ({"dane": False}, {"resolver": {"trust_ad": True}}):
        with real_queue(transport="mx", **options):
            assert checks.check_dane() == []


def test_the_other_settings_are_about_a_host(classic):
    """A default mailer that goes straight does not mind what EMAIL_* say of a server."""
    classic(
        EMAIL_HOST="a.example", EMAIL_PORT=587, EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="p",
        EMAIL_USE_TLS=True, EMAIL_TIMEOUT=9, SMTPX_MAILERS={"default": {"transport": "mx"}},
    )  # fmt: skip
    mailer = get_mailer("default")
    assert mailer.hosts == ()
    assert (mailer.mx.template.timeout, mailer.mx.template.credential) == (9, None)
