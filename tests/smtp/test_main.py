"""``python -m django_smtpx.smtp check``: the diagnosis of a server, without Django."""

from __future__ import annotations

import base64
import getpass
import json
import logging
import subprocess
import sys

import pytest

from django_smtpx.smtp import probe
from django_smtpx.smtp.__main__ import PASSWORD, _place, main
from django_smtpx.smtp.diagnosis import STEPS, siblings
from django_smtpx.testing import ScriptedServer, make_certificate

SECRET = "correct-horse-battery"
USER = "me@example.com"


@pytest.fixture(autouse=True)
def _no_other_ports(monkeypatch):
    """The usual ports of this machine may be anybody's, and so may its environment."""
    monkeypatch.setattr(siblings, "PORTS", ())
    monkeypatch.setenv(PASSWORD, SECRET)
    probe.findings.forget()
    yield
    probe.findings.forget()


@pytest.fixture
def check(capsys, caplog):
    """Run the command; return its exit code, what it printed, and what it said of a failure."""
    caplog.set_level(logging.DEBUG)

    def run(server, *arguments):
        place = server if isinstance(server, str) else f"127.0.0.1:{server.port}"
        try:
            code = main(["check", place, *arguments])
        except SystemExit as ended:
            code = ended.code
        out, err = capsys.readouterr()
        plain = base64.b64encode(f"\0{USER}\0{SECRET}".encode()).decode().rstrip("=")
        for secret in (SECRET, base64.b64encode(SECRET.encode()).decode().rstrip("="), plain):
            assert secret not in out + err + caplog.text
        return code, out, err

    return run


def test_all_that_passes_is_one_line_a_step(check):
    """It logs in once, asks about sender and recipient, takes that back, and sends nothing."""
    with ScriptedServer(users={USER: SECRET}) as server:
        code, out, err = check(
            server, "--security", "none", "--allow-plaintext-auth", "--user", USER,
            "--to", "you@example.net",
        )  # fmt: skip
        assert server.sessions[0].verbs == ("EHLO", "AUTH", "MAIL", "RCPT", "RSET", "QUIT")
        assert server.messages == ()
    assert (code, err) == (0, "")
    head, *lines = out.splitlines()
    assert head == f"127.0.0.1 port {server.port}"
    assert len(lines) == len(STEPS)
    assert f"sender         address {USER}; reply 250" in out


def test_what_fails_has_its_cause_and_its_mend(check):
    """The exit code is 1, and the step is named on stderr."""
    with ScriptedServer(users={USER: "another"}) as server:
        code, out, err = check(
            server, "--security", "none", "--allow-plaintext-auth", "--user", USER
        )
    assert (code, err) == (1, "Failed: AUTH\n")
    assert "cause: The server refuses the login" in out
    assert "mend: Check username and password" in out


def test_json_has_the_same_values(check):
    """A failure is JSON all the same."""
    with ScriptedServer(script={"CONNECT": "554 5.7.1 No"}) as server:
        code, out, err = check(server, "--json")
    found = json.loads(out)
    assert (code, err) == (1, "Failed: EHLO\n")
    assert (found["ok"], found["mailer"], found["port"]) == (False, "", server.port)
    assert [step["name"] for step in found["steps"]] == list(STEPS)


def test_tls_is_as_it_is_asked_for(check, tmp_path):
    """A certificate has to hold, unless any will do."""
    certificate = make_certificate(tmp_path)
    with ScriptedServer(ssl_context=certificate.ssl_context) as server:
        strict = check(server, "--security", "starttls")
        known = check(server, "--security", "starttls", "--ca-file", certificate.ca_file)
        any_one = check(server, "--security", "starttls", "--no-verify", "--helo", "out.example")
        assert server.sessions[-1].helo == "out.example"
    assert [strict[0], known[0], any_one[0]] == [1, 0, 0]
    assert strict[2] == "Failed: certificate\n"


def test_the_password_is_asked_for_where_the_environment_has_none(check, monkeypatch):
    """It is no argument, which everybody on the machine could read."""
    monkeypatch.delenv(PASSWORD)
    monkeypatch.setattr(getpass, "getpass", lambda: SECRET)
    with ScriptedServer(users={USER: SECRET}) as server:
        code, _, _ = check(server, "--security", "none", "--allow-plaintext-auth", "--user", USER)
    assert code == 0


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (["smtp.example:0"], "'smtp.example:0' is no HOST[:PORT]"),
        (["smtp.example:x"], "'smtp.example:x' is no HOST[:PORT]"),
        ([":25"], "':25' is no HOST[:PORT]"),
        (["smtp.example", "--to", "you@example.net"], "--to needs --from"),
        (["smtp.example", "--from", "me@example.com", "--to", "nobody"], "'nobody' is no address"),
        (["smtp.example", "--from", "me@example.com", "--to", "a b@c>"], "'a b@c>' cannot be"),
    ],
)
def test_arguments_that_make_no_sense(check, arguments, why):
    """Nobody is connected to, and the exit code is 2."""
    code, out, err = check(*arguments)
    assert (code, out) == (2, "")
    assert why in err


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("smtp.example", ("smtp.example", None)),
        ("smtp.example:587", ("smtp.example", 587)),
        ("::1", ("::1", None)),
        ("[::1]", ("::1", None)),
        ("[::1]:2525", ("::1", 2525)),
    ],
)
def test_how_a_server_is_written(text, place):
    """The port may be left out, and an IPv6 address has its brackets before one."""
    assert _place(text) == place


def test_it_is_a_program_that_knows_no_django():
    """Neither Django nor Celery nor dnspython is imported for it."""
    code = (
        "import runpy, sys\n"
        "try:\n"
        "    runpy.run_module('django_smtpx.smtp', run_name='__main__', alter_sys=True)\n"
        "except SystemExit as ended:\n"
        "    assert ended.code == 0, ended.code\n"
        "print({name.partition('.')[0] for name in sys.modules} & {'django', 'celery', 'dns'})\n"
    )
    argv = [sys.executable, "-c", code, "check", "--help"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True)
    assert "Nothing is sent." in done.stdout
    assert done.stdout.endswith("set()\n")
