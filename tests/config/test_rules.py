"""SMTPX_RULES: the site's own verdict rules."""

from __future__ import annotations

import pytest
from django.core.exceptions import ImproperlyConfigured

from django_smtpx import config
from django_smtpx.smtp import Rule

FULL = Rule(id="acme-full", category="server_busy", action="pause", text="come back tomorrow")
RULES = [FULL]
OTHERS = (Rule(id="acme-other", category="policy", action="fail", code="554"),)
BAD_ENTRY = [FULL, ("acme", "policy", "fail")]
TWICE = [FULL, FULL]
OURS = [Rule(id="code-4yz", category="policy", action="fail")]
NO_SEQUENCE = {"acme": FULL}
HERE = "tests.config.test_rules"
HOST = {"host": "a.example"}


def test_rules_reach_every_host(configure, settings):
    """The rules are those of each host of each mailer, and change with the setting."""
    configure(default=HOST, other={"host": ["a.example", "b.example"]})
    assert config.rules() == ()
    assert config.get_mailer("default").hosts[0].rules == ()
    settings.SMTPX_RULES = f"{HERE}.RULES"
    hosts = [host for mailer in config.mailers().values() for host in mailer.hosts]
    assert [host.rules for host in hosts] == [(FULL,)] * 3
    settings.SMTPX_RULES = f"{HERE}.OTHERS"
    assert config.get_mailer("default").hosts[0].rules == OTHERS
    settings.SMTPX_RULES = None
    assert config.get_mailer("default").hosts[0].rules == ()


def test_a_connection_by_hand_has_them_too(configure, settings):
    """A mailer that get_connection() is asked for by its options is still the configured one."""
    settings.SMTPX_RULES = f"{HERE}.RULES"
    configure(default=HOST)
    assert config.mailer_from_kwargs(None, {}).name == "default"
    nameless = config.mailer_from_kwargs(None, {"host": "b.example"})
    assert (nameless.name, nameless.hosts[0].rules) == ("", (FULL,))


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (RULES, "must be the dotted path of a list of rules, such as 'site.mail.RULES'"),
        ("rules", "must be the dotted path"),
        (f"{HERE}.NOTHING", "'tests.config.test_rules.NOTHING' cannot be imported: "),
        ("tests.nowhere.RULES", "cannot be imported: No module named 'tests.nowhere'"),
        ("tests.config.bad_rules.RULES", "Rule 'acme': category has 'nonsense', which is none of"),
        (f"{HERE}.NO_SEQUENCE", "must be a list or tuple of django_smtpx.smtp.Rule, not dict"),
        (f"{HERE}.BAD_ENTRY", "entry 2 of 'tests.config.test_rules.BAD_ENTRY' must be a"),
        (f"{HERE}.TWICE", "entry 2 .* has the id 'acme-full', which is entry 1's as well"),
        (f"{HERE}.OURS", "entry 1 .* has the id 'code-4yz', which is this package's own"),
    ],
)
def test_bad_rules(configure, settings, value, text):
    """What is wrong is told with the setting, the entry and the mend, and no mailer goes without."""
    configure(default=HOST)
    settings.SMTPX_RULES = value
    with pytest.raises(ImproperlyConfigured, match=f"SMTPX_RULES.*{text}"):
        config.rules()
    with pytest.raises(ImproperlyConfigured, match="SMTPX_RULES"):
        config.get_mailer("default")
