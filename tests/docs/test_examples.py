"""Each example of each page is tried: run where it can be, and checked against the code elsewhere."""

from __future__ import annotations

import ast
import configparser
import doctest
import importlib
import inspect
import os
import re
import warnings
from datetime import timedelta

import django
import pytest
from celery.app.defaults import NAMESPACES, flatten
from django.apps import apps
from django.core.mail import EmailMessage, send_mail
from django.core.management import get_commands
from django.test import override_settings

from django_smtpx import config, signals, smtp
from django_smtpx.config.site import KNOWN_SETTINGS
from django_smtpx.testing import ScriptedServer, real_queue
from tests.docs import commands
from tests.docs.blocks import ALL, DOCS, PAGES, blocks, name_of, of
from tests.webhooks.receiver import SECRET as WEBHOOK_SECRET

LANGUAGES = {"json", "python", "pycon", "console", "text", "sql", "shell", "ini", "powershell"}
GLOBAL = {"celery", "proj", "prometheus_client"}
"""Whoever imports these changes the process for all tests: that code is read, and not run."""

CELERY_SETTINGS = {f"CELERY_{name.upper()}" for name, _ in flatten(NAMESPACES)}
MAIL_SETTINGS = re.compile(r"EMAIL_|SMTPX_|MAILERS$|DEFAULT_FROM_EMAIL$|STORAGES$")
PYTHON = [block for block in of("python") if ">>>" not in block.text]


def names_of(found):
    """Return what tests of these blocks are called."""
    return list(map(str, found))


def as_code(block):
    """Return a block's syntax tree; an entry of a dictionary stands for that dictionary."""
    try:
        return ast.parse(block.text, str(block))
    except SyntaxError:
        return ast.parse(f"FRAGMENT = {{{block.text}}}", str(block))


def assigned(tree):
    """Return the settings that a block sets: the names in capitals at its top."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id.isupper()
    }


def imported(tree):
    """Return the modules that a block imports from, with the names that it takes."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            yield node.module, [alias.name for alias in node.names]
        elif isinstance(node, ast.Import):
            yield from ((alias.name, []) for alias in node.names)


def test_each_block_says_what_it_is():
    """No block is left out because it has no language, or one that nobody tries."""
    unknown = [f"{block}: {block.language or 'none'}" for block in ALL]
    known = [f"{block}: {block.language}" for block in of(*LANGUAGES)]
    assert unknown == known
    assert len(of("python", "pycon")) > 40
    assert len(of("console")) > 30


def test_no_command_stands_outside_of_a_block():
    """An indented block has no language, and so no test."""
    stray = re.compile(r"^ {4}(python |\$ |pip |celery )", re.MULTILINE)
    assert [name_of(page) for page in PAGES if stray.search(page.read_text("utf-8"))] == []


@pytest.mark.parametrize("block", of("console", "shell"), ids=names_of(of("console", "shell")))
def test_each_command_is_one(block):
    """Its name, its options and its arguments are those that the code takes."""
    for line in commands.lines_of(block):
        commands.check(line)


@pytest.mark.parametrize("block", of("ini"), ids=names_of(of("ini")))
def test_each_unit_starts_what_there_is(block):
    """A unit of systemd can be read, starts a command that is one, and lets it end in its own time."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str
    unit.read_string(block.text)
    service = unit["Service"]
    commands.check(service["ExecStart"].removeprefix("/srv/site/.venv/bin/"))
    assert service["KillMode"] == "mixed"
    assert int(service["TimeoutStopSec"]) >= 30


FIELDS = set(
    re.findall(r"^\| `(smtpx_\w+)` \|", (DOCS / "observe.md").read_text("utf-8"), re.MULTILINE)
)
"""Attributes of log records are called that way, too."""


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_command_in_a_sentence_is_one(page):
    """So are those that are named between the words, as far as options go."""
    known = {name for name in get_commands() if name.startswith("smtpx_")}
    for name, rest in re.findall(r"\b(smtpx_[a-z]+)\b([^`\n]*)", page.read_text("utf-8")):
        if name in known:
            given = re.findall(r"(?<!\S)\[?(--[a-z-]+)", rest.partition("smtpx_")[0])
            taken = commands.options_of(name)
            # (As with names, the beginning of one will do: a page shows how a shell completes it.)
            unknown = [one for one in given if not any(each.startswith(one) for each in taken)]
            assert unknown == [], f"{name_of(page)}: {name}{rest}"
        elif not any(command.startswith(name) for command in known):
            assert name in FIELDS, f"{name_of(page)}: {name}"


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_table_that_is_named_is_one(page):
    """SQL on a page is about tables that there are."""
    tables = {model._meta.db_table for model in apps.get_app_config("django_smtpx").get_models()}
    assert set(re.findall(r"\bTABLE (\w+)", page.read_text(encoding="utf-8"))) <= tables


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_setting_that_is_named_is_one(page):
    """What a page calls ``SMTPX_…`` is read by the code, and what it calls ``CELERY_…`` by Celery."""
    text = page.read_text(encoding="utf-8")
    named = set(re.findall(r"\bSMTPX_[A-Z_]+[A-Z]\b(?!_)", text))
    # (Of the tests of this package.)
    named -= set(re.findall(r"\bDJANGO_(SMTPX_[A-Z_]+[A-Z])\b", text))
    assert named <= set(KNOWN_SETTINGS)
    if page.parent.name != "moving":
        # (Those pages name the settings of what is left behind.)
        assert set(re.findall(r"\bCELERY_[A-Z_]+[A-Z]\b", text)) <= CELERY_SETTINGS


@pytest.mark.parametrize("block", PYTHON, ids=names_of(PYTHON))
def test_what_is_imported_is_there(block):
    """Each name that an example imports can be imported, but for the reader's own."""
    for module, names in imported(as_code(block)):
        if module.partition(".")[0] in ("proj", "msal"):
            continue
        there = importlib.import_module(module)
        missing = [name for name in names if not hasattr(there, name)]
        assert missing == [], f"{block}: {module} has no {missing}"


def configured(values):
    """Raise what is wrong with the mailers of these settings."""
    own = {name: value for name, value in values.items() if MAIL_SETTINGS.match(name)}
    if "MAILERS" in own and django.VERSION < (6, 1):
        entries = own.pop("MAILERS").items()
        own["SMTPX_MAILERS"] = {name: entry["OPTIONS"] for name, entry in entries}
    own = {"MAILERS": None, "SMTPX_MAILERS": None} | own
    changed = override_settings(**own)
    with warnings.catch_warnings():
        # (Of the settings that Django 6.1 deprecates.)
        warnings.simplefilter("ignore")
        changed.enable()
    try:
        assert dict(config.mailer_errors()) == dict(config.webhook_errors()) == {}
        assert config.mailers() or own["SMTPX_MAILERS"] is own["MAILERS"] is None
        config.content_storage()
        config.rules()
        config.tls_reporter()
    finally:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            changed.disable()


def run(block, names):
    """Run a block of Python, and return its names."""
    exec(compile(as_code(block), str(block), "exec"), names)
    return names


SETTINGS = [block for block in PYTHON if assigned(as_code(block))]


@pytest.mark.parametrize("block", SETTINGS, ids=names_of(SETTINGS))
def test_each_setting_is_taken(block, tmp_path, monkeypatch):
    """The real reader of settings finds nothing wrong with those of an example."""
    for name in re.findall(r'os\.environ\["(\w+)"\]', block.text):
        monkeypatch.setenv(name, WEBHOOK_SECRET if "WEBHOOK" in name else "secret")
    key = tmp_path / "dkim.pem"
    values = run(block, {"BASE_DIR": tmp_path, "os": os, "timedelta": timedelta})
    settings = {name: values[name] for name in assigned(as_code(block))}
    if "FRAGMENT" in settings:
        options = {"host": "smtp.example.com"} | settings.pop("FRAGMENT")["OPTIONS"]
        if options.get("transport") == "mx":
            del options["host"]
        for signature in options.get("dkim", ()):
            key.write_text(_new_key())
            signature["private_key_file"] = str(key)
        settings["SMTPX_MAILERS"] = {"default": options}
    configured(settings)


def _new_key():
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import rsa

    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    ).decode()


def is_run(block):
    """Whether a block of Python is neither settings nor something of the whole process."""
    tree = as_code(block)
    return (
        not assigned(tree) and not {name.partition(".")[0] for name, _ in imported(tree)} & GLOBAL
    )


OTHERS = [block for block in PYTHON if is_run(block)]


@pytest.fixture
def receivers():
    """Let no receiver of an example outlive its test."""
    kept = [each for each in vars(signals).values() if isinstance(each, signals.Signal)]
    before = {each: list(each.receivers) for each in kept}
    yield
    for each, own in before.items():
        each.receivers[:] = own
        each.sender_receivers_cache.clear()


@pytest.mark.django_db
@pytest.mark.parametrize("block", OTHERS, ids=names_of(OTHERS))
def test_each_example_runs(block, receivers, monkeypatch):
    """What is no setting is run, its tests as well, with a server in place of the one it names."""
    names = {"EmailMessage": EmailMessage, "send_mail": send_mail, "content": b"Subject: Hi\r\n"}
    with ScriptedServer() as server:

        class Elsewhere(smtp.Client):
            def __init__(self, host, port=None, **options):
                inspect.signature(smtp.Client).bind(host, port, **options)
                super().__init__(server.host, server.port)

        if "Client(" in block.text:
            monkeypatch.setattr(smtp, "Client", Elsewhere)
        if "def test_" in block.text:
            run(block, names)
        else:
            with real_queue(server):
                run(block, names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    for test in tests:
        asked = set(inspect.signature(test).parameters)
        if asked <= {"db"}:
            test(*[None] * len(asked))
        else:
            # (Those of the fixtures are run where these have their tests.)
            assert asked <= {"db", "mail_outbox", "smtp_server"}


def interactive(page):
    """Return a page's sessions of Python, one behind the other."""
    shown = [block.text for block in blocks(page) if ">>>" in block.text]
    return "\n\n".join(shown)


SESSIONS = [page for page in PAGES if interactive(page)]


@pytest.mark.parametrize("page", SESSIONS, ids=name_of)
def test_each_session_goes_as_shown(page):
    """What a page shows is what happens."""
    test = doctest.DocTestParser().get_doctest(interactive(page), {}, name_of(page), None, 0)
    report: list[str] = []
    doctest.DocTestRunner().run(test, out=report.append)
    assert test.examples
    assert not report, "".join(report)
