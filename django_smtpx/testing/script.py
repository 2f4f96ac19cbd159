"""Which action a scripted server takes at which command: rules, and how often each has spoken."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, TypeAlias

from django_smtpx.testing.actions import Action, to_action

if TYPE_CHECKING:
    from types import EllipsisType

    from django_smtpx.testing.conversation import Conversation

Spoken: TypeAlias = str | bytes | Action | None
Handler: TypeAlias = Callable[["Conversation", str], Spoken | Sequence[str]]
Step: TypeAlias = Spoken | Handler
Item: TypeAlias = "Step | Sequence[str] | EllipsisType"
Steps: TypeAlias = "Step | list[Item] | tuple[Item, ...]"
Script: TypeAlias = "Mapping[str, Steps | Mapping[str, Steps]]"

VERBS_OF_OURS = {"GREETING": "CONNECT", ".": "EOD"}


@dataclass(eq=False)
class Rule:
    """What to do at the commands that fit: always the same, or one step each time."""

    steps: tuple[Step, ...]
    repeat: bool
    match: str | None = None
    session: int | None = None
    message: int | None = None
    taken: dict[str, int] = field(default_factory=dict)

    def subject(self, conversation: Conversation, subjects: Sequence[str]) -> str | None:
        """Return what is counted where the rule fits (an address, or ""), else None."""
        if self.session not in (None, conversation.number):
            return None
        if self.message not in (None, conversation.transaction):
            return None
        if self.match is None:
            return ""
        pattern = self.match.lower()
        for subject in subjects:
            lowered = subject.lower()
            if lowered == pattern or fnmatchcase(lowered, pattern):
                return lowered
        return None

    def next(self, subject: str) -> tuple[bool, Step]:
        """Return whether there is a step left for ``subject``, and that step."""
        count = self.taken.get(subject, 0)
        self.taken[subject] = count + 1
        if count < len(self.steps):
            return True, self.steps[count]
        return self.repeat, self.steps[-1]


class Rules:
    """All rules of a server; the newest that fits and has a step left decides."""

    def __init__(self, script: Script | None = None) -> None:
        self._lock = threading.Lock()
        self._rules: dict[str, list[Rule]] = {}
        for verb, steps in (script or {}).items():
            self.add(verb, steps)

    def add(
        self,
        verb: str,
        steps: Steps | Mapping[str, Steps],
        *,
        match: str | None = None,
        session: int | None = None,
        message: int | None = None,
    ) -> None:
        """Add rules for ``verb``; see :meth:`ScriptedServer.on`."""
        by_match = steps if isinstance(steps, Mapping) else {match: steps}
        rules = [
            Rule(*_steps(value), match=pattern, session=session, message=message)
            for pattern, value in by_match.items()
        ]
        verb = verb.upper()
        verb = VERBS_OF_OURS.get(verb, verb)
        with self._lock:
            self._rules[verb] = rules + self._rules.get(verb, [])

    def action(
        self, verb: str, conversation: Conversation, arg: str, subjects: Sequence[str]
    ) -> Action | None:
        """Return what the script wants at this command; None for the usual answer."""
        if verb not in self._rules:
            return None
        step = self._step(verb, conversation, subjects)
        if callable(step):
            spoken = step(conversation, arg)
            return None if spoken is None else to_action(spoken)
        return None if step is None else to_action(step)

    def _step(self, verb: str, conversation: Conversation, subjects: Sequence[str]) -> Step:
        with self._lock:
            for rule in self._rules[verb]:
                subject = rule.subject(conversation, subjects)
                if subject is None:
                    continue
                found, step = rule.next(subject)
                if found:
                    return step
        return None


def _steps(value: Steps) -> tuple[tuple[Step, ...], bool]:
    """Return the steps, checked, and whether the last of them goes on for ever."""
    if not isinstance(value, list | tuple):
        return (_checked(value),), True
    repeat = bool(value) and value[-1] is ...
    steps = tuple(_checked(item) for item in (value[:-1] if repeat else value))
    if not steps:
        raise ValueError("A list of steps needs at least one step.")
    return steps, repeat


def _checked(item: Item) -> Step:
    if item is ...:
        raise ValueError("'...' repeats the step before it, so it comes last.")
    if item is None or callable(item):
        return item
    return to_action(item)
