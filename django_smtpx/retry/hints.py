"""How servers say when to come back: "for 5 minutes", "in 00:04:51", "retry after 300"."""

from __future__ import annotations

import re
from datetime import timedelta

SHORTEST = 1.0
"""Seconds of the shortest wait."""

_LONGEST_HINT = 3600.0

_UNIT = r"(?:seconds?|secs?|minutes?|mins?|hours?|hrs?|(?-i:[smh]))"
_WORDS = {"a": 1, "an": 1, "one": 1, "two": 2, "three": 3, "five": 5, "ten": 10, "fifteen": 15}
_PART = rf"(?P<{{}}>\d{{{{1,7}}}}(?:\.\d{{{{1,3}}}})?|{'|'.join(_WORDS)})[\s-]{{{{0,3}}}}{_UNIT}"
_WAIT = re.compile(
    # Not within an address, a queue id, a date, a version or a path.
    r"(?<![\w.:@/\[-])(?:"
    r"(?P<clock>\d{1,2}:\d{2}(?::\d{2}|(?=\s?min)))(?![\d:.])"
    r"|(?P<iso>PT(?=\d)(?:\d{1,5}H)?(?:\d{1,5}M)?(?:\d{1,5}S)?)(?!\w)"
    r"|retry[\s_-]after[\s:=]{1,3}(?P<bare>\d{1,7})(?=\s*(?:[,;)\]]|\.(?!\d)|$))"
    # "4 minutes and 50 seconds", "4m50s"; of "5-10 minutes" the longer.
    rf"|(?:\d{{1,5}}\s?(?:-|\N{{EN DASH}}|to)\s?)?{_PART.format('first')}"
    rf"(?:\s?,?\s?(?:and)?\s?{_PART.format('more')}){{0,2}}(?![\w@]|[-.:/]\w)"
    r")",
    re.IGNORECASE,
)
_PARTS = re.compile(rf"([\d.]+|{'|'.join(_WORDS)})[\s-]*({_UNIT})", re.IGNORECASE)
_UNIT_SECONDS = {"s": 1, "m": 60, "h": 3600}
# What a number must follow that could be a time of day, or a word of another meaning.
_LED_IN = re.compile(r"\b(?:in|for|wait|another|least|after)\W{1,3}(?:about\W)?$", re.IGNORECASE)
# "10 in the last 5 minutes" and "within 4 hours" say nothing of when to come back.
_NO_WAIT = re.compile(
    r"\b(?:last|past|previous|within|every|each|per|than)\W{1,3}(?:(?:the|next)\W){0,2}$",
    re.IGNORECASE,
)
_NO_WAIT_BEHIND = re.compile(r"\s?(?:ago|old)\b", re.IGNORECASE)
_ASKED = re.compile(
    r"\b(?:again|back|retry|resend|return|wait)\W{1,3}(?:\w{1,9}\W{1,3}){0,2}$", re.IGNORECASE
)
_READ = 1000


def greylisting_hint(reply: str) -> timedelta | None:
    """Return the wait that a greylisting reply asks for ("for 5 minutes", "in 00:04:51").

    From a second to an hour; None where it names none. What the reply says
    after "try again", "retry", "come back" or "wait" comes first.
    """
    found = [match for match in _WAIT.finditer(reply[:_READ]) if _is_wait(match)]
    if not found:
        return None
    asked = [match for match in found if match["bare"] or _ASKED.search(_before(match))]
    seconds = _seconds((asked or found)[0])
    return timedelta(seconds=min(max(seconds, SHORTEST), _LONGEST_HINT))


def _is_wait(match: re.Match[str]) -> bool:
    before = _before(match)
    ambiguous = match["clock"] or (match["first"] or "").isalpha()
    if ambiguous and not _LED_IN.search(before):
        return False
    return not (_NO_WAIT.search(before) or _NO_WAIT_BEHIND.match(match.string, match.end()))


def _before(match: re.Match[str]) -> str:
    """Return the few words before a match."""
    return match.string[max(match.start() - 40, 0) : match.start()]


def _seconds(match: re.Match[str]) -> float:
    if match["bare"]:
        return int(match["bare"])
    if match["clock"]:
        total = 0
        for part in match["clock"].split(":"):
            total = total * 60 + int(part)
        return total
    parts = _PARTS.findall((match["iso"] or match[0]).removeprefix("PT").lower())
    return sum(
        (_WORDS[number] if number in _WORDS else float(number)) * _UNIT_SECONDS[unit[0]]
        for number, unit in parts
    )
