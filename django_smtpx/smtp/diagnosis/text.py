"""A diagnosis as lines of text, one for each step, and one more for its cause and its mend."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from django_smtpx.smtp.diagnosis.values import Diagnosis, Step

_TITLES = {
    "dns": "DNS",
    "tcp": "TCP",
    "tls": "TLS mode",
    "ehlo": "EHLO",
    "auth": "AUTH",
    "spf": "SPF",
    "dkim": "DKIM",
    "dmarc": "DMARC",
    "reverse_dns": "reverse DNS",
    "mta_sts": "MTA-STS",
    "tlsa": "TLSA",
}
_WIDTH = 13
_INDENT = " " * (_WIDTH + 11)


@dataclass(frozen=True, slots=True)
class Words:
    """What goes before what was seen, in the reader's language."""

    ok: str = "ok"
    fails: str = "FAILS"
    note: str = "note"
    cause: str = "cause"
    mend: str = "mend"
    say: Callable[[str], str] = str
    """What a sentence is in that language."""


ENGLISH = Words()


def title(step: Step) -> str:
    """Return how a step is called."""
    return _TITLES.get(step.name, step.name)


def named(diagnosis: Diagnosis) -> str:
    """Return the steps that fail, by their titles."""
    return ", ".join(map(title, diagnosis.failed))


def lines(step: Step, words: Words = ENGLISH) -> Iterator[str]:
    """Give the lines of a step; its head is the first of them."""
    word = {True: words.ok, False: words.fails, None: "–"}[step.ok]
    seen = "; ".join(f"{key} {_value(value, words)}" for key, value in step.evidence.items())
    yield f"  {word:<5}  {title(step):<{_WIDTH}}  {seen}".rstrip()
    if step.cause:
        label = words.cause if step.ok is False else words.note
        yield f"{_INDENT}{label}: {_one_line(words.say(step.cause))}"
    if step.mend:
        yield f"{_INDENT}{words.mend}: {_one_line(words.say(step.mend))}"


def _value(value: Any, words: Words) -> str:
    if isinstance(value, list):
        return _one_line(", ".join(map(words.say, value))) or "–"
    return _one_line("–" if value in ("", None) else words.say(str(value)))


def _one_line(text: str) -> str:
    return " ".join(text.split())
