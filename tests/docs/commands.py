"""Whether a command that a page shows is one: with arguments that it takes, and no others."""

from __future__ import annotations

import re
import shlex
import tomllib
from argparse import _SubParsersAction
from importlib.util import find_spec
from pathlib import Path

from django.core.management import get_commands, load_command_class

from tests.docs.blocks import ROOT

_ASSIGNMENT = re.compile(r"[A-Z_]+=\S*")
_EXTRAS = re.compile(r"(?:django-smtpx|\.)\[([\w,-]+)\]")
_OF_OTHERS = {
    *(
        "/usr/sbin/smtp-sink",
        "apt-get",
        "cd",
        "echo",
        "git",
        "lint-imports",
        "mypy",
        "openssl",
        "ruff",
    ),
    *("sphinx-build", "tox"),
}
_PYTHON = {"python", "python3", ".venv/bin/python"}
_PIP = {"pip", ".venv/bin/pip"}


def lines_of(block):
    """Return the commands of a console block: behind a prompt, or, without any, all lines."""
    text = block.text.replace("\\\n", " ")
    shown = [line.strip() for line in text.splitlines() if line.strip()]
    behind_prompt = [line[2:] for line in shown if line.startswith("$ ")]
    return behind_prompt or shown


def check(line):
    """Raise ``AssertionError``, ``CommandError`` or ``SystemExit`` for what is no command."""
    for part in re.split(r"\s(?:&&|\|)\s", line):
        words = shlex.split(part, comments=True)
        while words and (_ASSIGNMENT.fullmatch(words[0]) or words[0] == "sudo"):
            words.pop(0)
        _check(words)


def parser_of(name):
    """Return the parser of a command of ``manage.py``."""
    known = get_commands()
    assert name in known, f"There is no command {name!r}"
    app = known[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    return command.create_parser("manage.py", name)


def options_of(name):
    """Return the options that a command of ``manage.py`` takes: ``--mailer`` and so on."""
    parser = parser_of(name)
    steps = [action for action in parser._actions if isinstance(action, _SubParsersAction)]
    parsers = [parser, *(one for step in steps for one in step.choices.values())]
    return {option for one in parsers for option in one._option_string_actions}


def _check(words):
    program, *arguments = words
    if program in _PYTHON:
        _check_python(arguments)
    elif program in _PIP:
        _check_pip(arguments)
    elif program == "celery":
        _check_celery(arguments)
    else:
        assert program in _OF_OTHERS, f"What is {program!r}?"


def _check_python(arguments):
    if arguments[0] == "-m":
        _check_module(arguments[1], arguments[2:])
    elif Path(arguments[0]).name == "manage.py":
        parser_of(arguments[1]).parse_args(arguments[2:])
    else:
        assert (ROOT / arguments[0]).is_file(), f"There is no {arguments[0]}"


def _check_module(name, arguments):
    if name == "pip":
        return _check_pip(arguments)
    if name in ("venv", "pytest", "sphinx", "smtpd"):
        return _check_paths(arguments)
    spec = find_spec(name)
    assert spec is not None, f"There is no module {name}"
    source = _source(spec)
    for option in _options(arguments):
        assert f'"{option}"' in source, f"{name} has no {option}"
    return None


def _source(spec):
    """Return the text of all modules beside one: its options may be another's."""
    files = sorted(Path(spec.origin).parent.rglob("*.py"))
    return "\n".join(file.read_text(encoding="utf-8") for file in files)


def _options(arguments):
    return [argument.partition("=")[0] for argument in arguments if argument.startswith("--")]


def _check_paths(arguments):
    for argument in arguments:
        if argument.startswith("tests/"):
            assert (ROOT / argument.partition("::")[0]).exists(), f"There is no {argument}"


def _check_pip(arguments):
    assert arguments[0] == "install", arguments
    known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    extras = known["project"]["optional-dependencies"]
    for argument in arguments:
        for named in _EXTRAS.findall(argument):
            assert set(named.split(",")) <= set(extras), f"There is no extra {named}"


def _check_celery(arguments):
    from celery.bin.celery import celery

    assert arguments[0] == "-A", arguments
    command = celery.commands[arguments[2]]
    known = {name for parameter in command.params for name in parameter.opts}
    given = [word.partition("=")[0] for word in arguments[3:] if word.startswith("-")]
    assert set(given) <= known, f"celery {arguments[2]} does not know all of {given}"
