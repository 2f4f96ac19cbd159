"""``manage.py smtpx_bounces``: read reports of mail that came back, and book them."""

from __future__ import annotations

import os
import sys
from collections import Counter
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from django.core.exceptions import ImproperlyConfigured
from django.core.management.base import BaseCommand, CommandError
from django.db import Error as DatabaseError
from django.utils.formats import number_format
from django.utils.translation import gettext as _

from django_smtpx import bounces, ledger
from django_smtpx.ledger import Booked, Fact
from django_smtpx.management.progress import Progress

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from django.core.management.base import CommandParser

TEMPORARY = 75
"""EX_TEMPFAIL of sysexits.h: the MTA keeps the mail, and comes again."""

_NOT_A_REPORT = "not a report"
_SEEN = ":2,S"
_UNSEEN = ":2,"
_BLOCK = 64 * 1024
_GOOD = frozenset({Fact.BOOKED.value, Fact.KNOWN.value, Fact.UNCHANGED.value})
_ENVIRONMENT = ("ORIGINAL_RECIPIENT", "RECIPIENT")


class Command(BaseCommand):
    """Reads mails from files, a maildir or standard input, and says what became of each."""

    help = _(
        "Read delivery status notifications (RFC 3464), and book them on the deliveries that their "
        "return paths name: those of messages with an envelope_sender such as "
        "bounce+{uuid}@example.com."
    )
    requires_system_checks = ()

    def add_arguments(self, parser: CommandParser) -> None:
        """Take where the mails are."""
        parser.add_argument("files", nargs="*", metavar="FILE", help=_("Files with one mail each."))
        parser.add_argument(
            "--maildir", metavar="PATH", help=_("Read what is new in this maildir, and move it.")
        )
        parser.add_argument(
            "--delete",
            action="store_true",
            help=_("Delete from the maildir what has been booked, instead of marking it as seen."),
        )
        parser.add_argument(
            "--pipe",
            action="store_true",
            help=_(
                "Read one mail from standard input, for an alias of an MTA. Exit code 75: later."
            ),
        )
        parser.add_argument(
            "--recipient",
            action="append",
            default=[],
            metavar="ADDRESS",
            help=_("The address that the mail came to, where the mail does not say it."),
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Book them, and print what came of it."""
        self._counts: Counter[str] = Counter()
        self._verbosity = options["verbosity"]
        self._recipients = tuple(options["recipient"])
        ways = [name for name in ("files", "maildir", "pipe") if options[name]]
        if len(ways) != 1:
            raise CommandError(_("Say what to read: files, --maildir PATH or --pipe."))
        if options["delete"] and ways != ["maildir"]:
            raise CommandError(_("--delete is for a maildir."))
        try:
            self._read(ways[0], options)
        except (DatabaseError, ImproperlyConfigured) as error:
            text = _("Nothing more is booked just now: %(error)s") % {"error": error}
            raise CommandError(text, returncode=TEMPORARY) from error
        except Exception as error:
            if isinstance(error, CommandError) or ways != ["pipe"]:
                raise
            # Whatever is wrong here: any other code would have the MTA bounce what bounced.
            raise CommandError(_("It could not be read."), returncode=TEMPORARY) from error
        if self._verbosity > 0:
            self._report()

    def _read(self, way: str, options: dict[str, Any]) -> None:
        if way == "pipe":
            self._recipients += tuple(filter(None, map(os.environ.get, _ENVIRONMENT)))
            self._book(_("standard input"), _whole(sys.stdin.buffer))
            if self._counts[Fact.EARLY.value]:
                raise CommandError(_("Its mail is being sent."), returncode=TEMPORARY)
        elif way == "maildir":
            self._maildir(Path(options["maildir"]), delete=options["delete"])
        else:
            self._files([Path(name) for name in options["files"]])

    def _files(self, paths: Sequence[Path]) -> None:
        unread = 0
        for path in self._in_turn(paths):
            try:
                data = _beginning(path)
            except OSError as error:
                unread += 1
                self.stderr.write(f"{path}: {error.strerror}")
                continue
            self._book(str(path), data)
        if unread:
            self._report()
            raise CommandError(_("Files that could not be read: %(count)d") % {"count": unread})

    def _maildir(self, maildir: Path, *, delete: bool) -> None:
        new, cur = maildir / "new", maildir / "cur"
        if not (new.is_dir() and cur.is_dir()):
            raise CommandError(
                _("%(path)s is no maildir: it lacks new or cur.") % {"path": maildir}
            )
        paths = sorted(path for path in new.iterdir() if path.is_file() and not path.is_symlink())
        for path in self._in_turn(paths):
            # Somebody else may have taken it, here and below: it is booked once all the same.
            with suppress(FileNotFoundError):
                early = self._counts[Fact.EARLY.value]
                done = self._book(path.name, _beginning(path))
                if self._counts[Fact.EARLY.value] > early:
                    continue  # it stays new, for the next time
                if done and delete:
                    path.unlink()
                else:
                    path.rename(cur / f"{path.name}{_SEEN if done else _UNSEEN}")

    def _in_turn(self, paths: Sequence[Path]) -> Iterator[Path]:
        progress = Progress(self.stderr if self._verbosity == 1 else None, len(paths))
        for path in paths:
            yield path
            progress.advance()
        progress.end()

    def _book(self, name: str, data: bytes) -> bool:
        """Book one mail, and return whether all of it is accounted for."""
        try:
            report = bounces.read(data)
        except bounces.NotAReport as error:
            self._tell(name, _NOT_A_REPORT, str(error))
            return False
        booked = ledger.book_report(report, self._recipients, ledger.now())
        for one in booked:
            self._tell(name, one.fact.value, one.words)
        return _all_good(booked)

    def _tell(self, name: str, fact: str, words: str) -> None:
        self._counts[fact] += 1
        good = fact in _GOOD
        if self._verbosity > (1 if good else 0):
            style: Callable[[str], str] = self.style.SUCCESS if good else self.style.WARNING
            self.stdout.write(style(_printable(f"{name}: {words}")))

    def _report(self) -> None:
        texts = {
            Fact.BOOKED.value: _("Booked: %(count)s"),
            Fact.KNOWN.value: _("Booked before: %(count)s"),
            Fact.UNCHANGED.value: _("Nothing to change: %(count)s"),
            Fact.EARLY.value: _("Too early, read them again: %(count)s"),
            Fact.STRANGER.value: _("Not of the recipients: %(count)s"),
            Fact.GONE.value: _("Not in the log (any more): %(count)s"),
            Fact.FOREIGN.value: _("Without a return path of this site: %(count)s"),
            Fact.FORGED.value: _("Forged: %(count)s"),
            _NOT_A_REPORT: _("No reports: %(count)s"),
        }
        for fact, text in texts.items():
            if self._counts[fact]:
                self.stdout.write(text % {"count": number_format(self._counts[fact])})
        if not self._counts:
            self.stdout.write(_("There was nothing to read."))


def _all_good(booked: Sequence[Booked]) -> bool:
    return all(one.fact.value in _GOOD for one in booked)


def _printable(text: str) -> str:
    """Return what a stranger wrote without what would steer a terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def _beginning(path: Path) -> bytes:
    with path.open("rb") as file:
        return file.read(bounces.MOST_BYTES)


def _whole(stream: BinaryIO) -> bytes:
    """Return the beginning of a stream, and read the rest of it: an MTA minds a broken pipe."""
    data = stream.read(bounces.MOST_BYTES)
    while stream.read(_BLOCK):
        pass
    return data
