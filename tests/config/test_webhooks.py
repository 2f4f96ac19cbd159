"""``SMTPX_WEBHOOKS``: what it comes to, and what is wrong with it."""

from __future__ import annotations

import base64
import re

import pytest
from django.core.checks import run_checks

from django_smtpx import config
from django_smtpx.testing import real_queue
from django_smtpx.webhooks import EVENTS

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
URL = "https://crm.example.com/hook"


def error(settings, entry, name="crm"):
    """Return what is said of an entry."""
    settings.SMTPX_WEBHOOKS = {name: entry}
    assert config.webhooks() == {}
    (text,) = config.webhook_errors().values()
    return text


def test_there_are_none(settings):
    """Unless the setting says so, read late."""
    settings.SMTPX_WEBHOOKS = None
    assert config.webhooks() == config.webhook_errors() == {}
    settings.SMTPX_WEBHOOKS = {}
    assert config.webhooks() == config.webhook_errors() == {}


def test_its_defaults(settings):
    """All events of all mailers, ten seconds, one connection, a day."""
    settings.SMTPX_WEBHOOKS = {"crm": {"url": URL, "secret": SECRET}}
    one = config.webhooks()["crm"]
    assert (one.tls, one.host, one.port, one.target) == (True, "crm.example.com", 443, "/hook")
    assert one.secrets == (base64.b64decode(SECRET[6:]),)
    assert (one.events, one.mailers) == (frozenset(EVENTS), None)
    assert (one.timeout, one.max_connections, one.disable_after) == (10.0, 1, 86400.0)


@pytest.mark.parametrize(
    ("url", "where", "target"),
    [
        ("http://localhost:8000", "http://localhost:8000", "/"),
        ("https://crm.example.com?a=b", "https://crm.example.com", "/?a=b"),
        ("https://[::1]:8443/x", "https://[::1]:8443", "/x"),
        ("HTTPS://CRM.example.com/X", "https://crm.example.com", "/X"),
    ],
)
def test_addresses(settings, url, where, target):
    """Path and query go as they are."""
    settings.SMTPX_WEBHOOKS = {"crm": {"url": url, "secret": [SECRET]}}
    one = config.webhooks()["crm"]
    assert (one.where, one.target) == (where, target)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"url": None}, "lacks 'url'"),
        ({"secret": None}, r"lacks 'secret'. Make one by: python -c"),
        ({"url": "ftp://x"}, "must begin with https://"),
        ({"url": "crm.example.com/hook"}, "must begin with https://"),
        ({"url": "https://u:sesame@x/"}, "must hold no user or password"),
        ({"url": "https://x/sesame y"}, "without blanks"),
        ({"url": "https://ü.example/"}, "in ASCII"),
        ({"url": "https://x/#sesame"}, "no fragment"),
        ({"url": "https://x:99999/"}, "is no address"),
        ({"url": 5}, "must be an https:// address"),
        ({"secret": "sesame"}, "must begin with 'whsec_'"),
        ({"secret": "whsec_sesame!"}, "no base64"),
        ({"secret": "whsec_c2VzYW1l"}, "from 24 to 64 bytes long, in base64; it has 6"),
        ({"secret": []}, "must be a secret, or a list"),
        ({"secret": [SECRET, SECRET]}, "twice"),
        ({"events": []}, "at least one"),
        ({"events": "sent"}, "must be a list"),
        ({"events": ["send"]}, "'send', which is none of .* Did you mean 'sent'"),
        ({"mailers": [1]}, "must be a list of names"),
        ({"timeout": 61}, "from 0.1 to 60 seconds, not 61"),
        ({"timeout": "5"}, "number of seconds"),
        ({"max_connections": 0}, "from 1 to 32, not 0"),
        ({"disable_after": 0}, "above 0"),
        ({"ca_file": "/nowhere"}, "no such file"),
        ({"urll": URL}, "Unknown option 'urll'.* Did you mean 'url'"),
    ],
)
def test_what_is_wrong_is_named(settings, changed, said):
    """The key, the value and the mend; never a secret, nor what may hold one."""
    text = error(settings, {"url": URL, "secret": SECRET, **changed})
    assert "SMTPX_WEBHOOKS['crm']" in text
    assert re.search(said, text), text
    assert "sesame" not in text
    assert SECRET not in text


@pytest.mark.parametrize("name", ["", "a b", "ü", "x" * 101, 5])
def test_names(settings, name):
    """They go over the broker and into rows."""
    assert "letters, digits" in error(settings, {"url": URL, "secret": SECRET}, name)


def test_one_mistake_stops_no_other(settings):
    """Nor is a database asked to tell two names apart by case."""
    good = {"url": URL, "secret": SECRET}
    settings.SMTPX_WEBHOOKS = {"crm": good, "CRM": good, "bad": 5}
    assert list(config.webhooks()) == ["crm"]
    assert list(config.webhook_errors()) == ["CRM", "bad"]
    settings.SMTPX_WEBHOOKS = [good]
    assert config.webhooks() == {}
    assert "must be a dict" in config.webhook_errors()[""]


@pytest.mark.django_db
def test_checks_tell(settings):
    """Of what cannot be used, of what goes in clear, and of mailers that there are not."""
    good = {"url": URL, "secret": SECRET}
    settings.SMTPX_WEBHOOKS = {
        "crm": good,
        "near": {**good, "url": "http://127.0.0.1:8000/"},
        "clear": {**good, "url": "http://crm.example.com/"},
        "shop": {**good, "mailers": ["default", "defualt"]},
        "bad": {"url": URL},
    }
    with real_queue(host="127.0.0.1"):
        every = run_checks()
    found = [one for one in every if one.id[-4:] in ("E005", "W011", "W012")]
    assert sorted(one.id[-4:] for one in found) == ["E005", "W011", "W012"]
    texts = " ".join(one.msg for one in found)
    assert "'clear' is at http://crm.example.com" in texts
    assert "Did you mean 'default'?" in texts
    assert SECRET not in texts
