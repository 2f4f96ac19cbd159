"""The demonstration: 200 mails through the outbox, a Celery worker and a moody SMTP server.

    python example_project/demo.py            # runs, counts, checks, and stops everything
    python example_project/demo.py --serve    # the same, and leaves the admin open

It needs no service, and writes to example_project/var/ alone.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from show.screen import Bar, say, table
from show.server import make_server

if TYPE_CHECKING:
    from collections.abc import Iterator

    from show.audit import Audit

    from django_smtpx.testing import ScriptedServer

HERE = Path(__file__).resolve().parent
VAR = HERE / "var"
WORKER_LOG = VAR / "worker.log"
WORKER = ("-m", "celery", "-A", "proj", "worker", "--concurrency", "2", "--loglevel", "INFO")
DEADLINE = 80.0


class DemoError(Exception):
    """The demonstration cannot go on; the text says why, and what helps."""


def main() -> int:
    """Run the demonstration; return the exit code."""
    options = _options()
    signal.signal(signal.SIGTERM, _interrupt)
    try:
        with _only_one(), make_server() as server:
            if options.serve is not None:
                _check_port(options.serve)
            _prepare(server)
            with _child("worker", *WORKER) as worker:
                fine = _run(server, worker)
                if options.serve is not None:
                    _serve(options.serve)
        return 0 if fine else 1
    except DemoError as error:
        say(f"\n{error}")
        return 1
    except KeyboardInterrupt:
        say("\nStopped.")
        return 130


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument(
        "--serve",
        metavar="PORT",
        nargs="?",
        type=int,
        const=8000,
        help="leave the admin open on 127.0.0.1 afterwards (port 8000, or this one)",
    )
    return parser.parse_args()


def _interrupt(signum: int, frame: object) -> NoReturn:
    raise KeyboardInterrupt


# -- getting ready -----------------------------------------------------------------------------


@contextlib.contextmanager
def _only_one() -> Iterator[None]:
    """Hold the folder, as two demonstrations in it would sweep each other's files away."""
    try:
        VAR.mkdir(exist_ok=True)
        lock = (VAR / "demo.lock").open("w")
    except OSError as error:
        raise DemoError(f"Cannot write to {VAR}: {error.strerror}.") from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise DemoError(f"Another demonstration is running in {VAR}.") from error
        for path in VAR.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != "demo.lock":
                path.unlink()
        yield


def _prepare(server: ScriptedServer) -> None:
    import django
    from django.core.management import call_command

    os.environ["DJANGO_SETTINGS_MODULE"] = "proj.settings"
    os.environ["EXAMPLE_SMTP_PORT"] = str(server.port)
    django.setup()
    say(f"Django {django.get_version()}, a fresh SQLite database in {_short(VAR)}")
    call_command("migrate", verbosity=0)
    say(f"A moody SMTP server listens on {server.host}:{server.port}")


def _check_port(port: int) -> None:
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise DemoError(f"No port {port} for the admin: {reason}. Try: --serve 8765") from error


@contextlib.contextmanager
def _child(name: str, *arguments: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a Python process in a group of its own, and end that group whatever happens."""
    with (VAR / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            cwd=HERE,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(15)
        except subprocess.TimeoutExpired:
            say(f"The {name} does not end by itself, and is killed.")
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


# -- the run -----------------------------------------------------------------------------------


def _run(server: ScriptedServer, worker: subprocess.Popen[bytes]) -> bool:
    from show import audit, mails

    began = time.monotonic()
    say("A Celery worker runs over a folder as its broker: celery -A proj worker\n")
    bar = Bar("Sending   ", mails.COUNT)
    for number in mails.send_all():
        bar.show(number)
    bar.end()
    _wait(worker, began + DEADLINE)
    say(f"\nSettled in {time.monotonic() - began:.1f} s. What became of the deliveries:\n")
    table(("status", "category", "deliveries", "attempts"), audit.outcomes())
    say("\nWhat went wrong on the way, and was dealt with:\n")
    table(("outcome", "category", "attempts"), audit.tries())
    return _report(audit.audit(server))


def _wait(worker: subprocess.Popen[bytes], deadline: float) -> None:
    from show import audit

    by_status = audit.counts()
    bar = Bar("Delivering", by_status.total())
    while left := audit.waiting(by_status):
        bar.show(by_status.total() - left, _note(by_status))
        if worker.poll() is not None:
            raise DemoError(f"The worker ended by itself. {_tail(WORKER_LOG)}")
        if time.monotonic() > deadline:
            raise DemoError(f"{left} deliveries are not settled in time. {_tail(WORKER_LOG)}")
        time.sleep(0.1)
        by_status = audit.counts()
    bar.show(by_status.total(), _note(by_status))
    bar.end()


def _note(by_status: dict[str, int]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(by_status.items()))


def _report(found: Audit) -> bool:
    say(f"\n{found.messages} messages for {found.recipients} recipients,")
    say(f"and the server took {found.taken} copies.")
    if found.faults:
        for fault in found.faults:
            say(f"  WRONG: {fault}")
        return False
    say("  Nothing is lost: what is called sent was taken, byte for byte as it is stored.")
    say("  Nothing is made up: what is called failed was taken by nobody.")
    say("  Nothing is doubled, but where the server hung up after the dot and nobody could know:")
    say(f'    sent once more, as their mailer has on_unknown="retry": {found.taken_again}')
    say(f'    left to a person, as their mailer has on_unknown="hold": {found.held_back}')
    return True


def _tail(path: Path, lines: int = 15) -> str:
    text = path.read_text(errors="replace").splitlines()[-lines:] if path.exists() else []
    return "\n".join([f"The end of {_short(path)}:", *text])


def _short(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)


# -- afterwards --------------------------------------------------------------------------------


def _serve(port: int) -> None:
    from django.contrib.auth import get_user_model

    password = secrets.token_urlsafe(6)
    get_user_model().objects.create_superuser("demo", "demo@example.com", password)
    with _child("site", "manage.py", "runserver", "--noreload", f"127.0.0.1:{port}") as site:
        _wait_for_site(site, port)
        say(f"\nThe admin is open: http://127.0.0.1:{port}/admin/")
        say(f"User: demo   Password: {password}")
        say("Press Ctrl-C to stop.")
        try:
            site.wait()
        except KeyboardInterrupt:
            say("\nStopped.")
            return
        raise DemoError(f"The site ended by itself. {_tail(VAR / 'site.log')}")


def _wait_for_site(site: subprocess.Popen[bytes], port: int) -> None:
    deadline = time.monotonic() + 20
    while site.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        time.sleep(0.1)
    raise DemoError(f"The site did not start. {_tail(VAR / 'site.log')}")


if __name__ == "__main__":
    sys.exit(main())
