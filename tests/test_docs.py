"""The pages of reference have what the code has, with its defaults."""

from __future__ import annotations

import ast
import inspect
import re

import pytest
from django.core.management import get_commands
from django.core.management.base import BaseCommand

from django_smtpx import checks, signals
from django_smtpx.config.options import KNOWN_KEYS, parse
from django_smtpx.config.site import KNOWN_SETTINGS
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.smtp import Client
from tests.docs.blocks import DOCS
from tests.docs.commands import options_of

SAID_IN_WORDS = {
    *("host", "port", "username", "password", "helo", "source_address", "resolver", "mx_port"),
    *(
        "mta_sts",
        "dane",
        "security",
        "use_ssl",
        "use_tls",
        "ca_file",
        "ssl_certfile",
        "ssl_keyfile",
    ),
    *("auth", "oauth_token", "dkim", "retry", "redirect_to", "rate"),
}
"""Options whose default is none, or follows from others."""


def rows(text):
    """Return what a table's first two columns say: names, and what stands beside each."""
    shown = {}
    for names, defaults in re.findall(r"^\| (`.*?) \| (.*?) \|", text, re.MULTILINE):
        words, given = re.findall(r"`(\w+)`", names), defaults.split(", ")
        shown |= dict(zip(words, given * len(words) if len(given) == 1 else given, strict=False))
    return shown


def options_page():
    """Return the tables of the page on options."""
    return rows((DOCS / "options.md").read_text(encoding="utf-8"))


def test_each_option_is_documented():
    """The page has a row for each key that a mailer may have, and for nothing else."""
    assert sorted(options_page()) == sorted(KNOWN_KEYS)


@pytest.mark.parametrize("key", sorted(set(KNOWN_KEYS) - SAID_IN_WORDS))
def test_its_default_is_the_one_that_is_documented(key):
    """What the page shows is what a mailer has that says nothing of it."""
    mailer = parse("default", {"host": "smtp.example.com"})
    held = getattr(mailer, key) if hasattr(mailer, key) else getattr(mailer.hosts[0], key)
    assert ast.literal_eval(options_page()[key].strip("`")) == held


def named_values():
    """Return each value in quotes that the page names for an option which takes such."""
    text = (DOCS / "options.md").read_text(encoding="utf-8")
    keys = {"auth", "mode", "on_unknown", "rate", "retry", "security", "transcript", "transport"}
    for name, meaning in re.findall(r"^\| `(\w+)` \| (.*)$", text, re.MULTILINE):
        if name in keys:
            yield from ((name, value) for value in re.findall(r'`"([^"`]+)"`', meaning))
        if name == "auth":
            named = re.findall(r"`((?:SCRAM|CRAM|PLAIN|LOGIN|EXTERNAL)[\w-]*)`", meaning)
            yield from ((name, [value]) for value in named)


@pytest.mark.parametrize(("key", "value"), list(named_values()))
def test_each_value_that_is_named_is_taken(key, value):
    """What the page says may stand there may."""
    where = {} if value == "mx" else {"host": "smtp.example.com"}
    login = {"username": "u", "password": "p"} if key == "auth" else {}
    certificate = (
        {"ssl_certfile": __file__, "ssl_keyfile": __file__} if value == ["EXTERNAL"] else {}
    )
    parse("default", {**where, **(certificate or login), key: value})


def test_each_setting_is_documented():
    """The page has an entry for each of them."""
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    terms = re.findall(r"^(`SMTPX_.*`)$", text, re.MULTILINE)
    named = {name for term in terms for name in re.findall(r"`(\w+)`", term)}
    assert named | {"SMTPX_MAILERS"} == set(KNOWN_SETTINGS)


def test_each_check_is_documented():
    """The page has the ids that the checks have, and what the code says of each."""
    ids = set(re.findall(r'id="(django_smtpx\.[EWI]\d{3})"', inspect.getsource(checks)))
    text = (DOCS / "settings.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^\| `(django_smtpx\.\w+)` \|", text, re.MULTILINE)) == ids


def test_each_command_is_documented():
    """The page has a row for each of them, with each of its own options."""
    text = (DOCS / "commands.md").read_text(encoding="utf-8")
    inherited = set(BaseCommand().create_parser("manage.py", "command")._option_string_actions)
    shown = {}
    for row in re.findall(r"^\| (`smtpx_.*?) \|(?= )", text, re.MULTILINE):
        for name in re.findall(r"smtpx_\w+", row):
            shown[name] = set(re.findall(r"--[a-z-]+", row))
    assert sorted(shown) == sorted(name for name in get_commands() if name.startswith("smtpx_"))
    for name, options in shown.items():
        own = {option for option in options_of(name) - inherited if option.startswith("--")}
        assert own - {"--arrived"} == options, name


INTERNAL = {
    Message: {"id", "idempotency_digest", "traceparent", "body"},
    Delivery: {
        *("id", "destination", "lane", "age_from", "step", "unknowns", "parked_at", "lease_token"),
        *("lease_expires_at", "marked", "leases_lost", "delay_notice_at"),
    },
    Attempt: {"id"},
}
"""Fields that are the queue's own, and not promised to anybody."""


@pytest.mark.parametrize("model", INTERNAL, ids=lambda model: model.__name__)
def test_each_field_is_documented(model):
    """The page has a row for each field of a row but the queue's own, and for nothing else."""
    text = (DOCS / "models.md").read_text(encoding="utf-8")
    table = text.partition(f"\n## {model.__name__}\n")[2].partition("\n## ")[0]
    shown = set()
    for names in re.findall(r"^\| (`.*?`) \| ", table, re.MULTILINE):
        shown |= set(re.findall(r"`(\w+)`", names))
    fields = {field.name for field in model._meta.concrete_fields}
    assert shown == fields - INTERNAL[model]
    assert fields >= INTERNAL[model] - {"body"}


def test_each_signal_is_documented():
    """The page has each of them, but for this package's own."""
    text = (DOCS / "models.md").read_text(encoding="utf-8").partition("\n## Signals\n")[2]
    known = {name for name, each in vars(signals).items() if isinstance(each, signals.Signal)}
    rows = "\n".join(re.findall(r"^\| (`.*?`) \| ", text, re.MULTILINE))
    assert set(re.findall(r"`(\w+)`", rows)) == known - {"events_stored", "outcomes_counted"}


def test_every_argument_of_the_client_is_documented():
    """The page has a row for each of them, and for nothing else, with its default."""
    text = (DOCS / "client.md").read_text(encoding="utf-8")
    shown = rows(text.partition("## Arguments of `Client`")[2].partition("\n## ")[0])
    arguments = inspect.signature(Client).parameters
    assert set(shown) == set(arguments)
    for name in ("security", "auth", "transcript"):
        assert shown[name] == f'`"{arguments[name].default}"`'
    for name in ("verify", "allow_plaintext_auth", "pipelining", "chunking"):
        assert shown[name] == f"`{arguments[name].default}`"
    for name in ("timeout", "eod_timeout", "chunking_window"):
        assert float(shown[name]) == arguments[name].default
