"""What a diagnosis says, as frozen values without a secret."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

STEPS = (
    "configuration",
    "dns",
    "tcp",
    "tls",
    "certificate",
    "ehlo",
    "auth",
    "sender",
    "recipient",
    "message",
)
"""The names of the steps, in the order in which they are shown."""


@dataclass(frozen=True, slots=True)
class Step:
    """One step: ``ok`` is None where it was not reached, there was nothing to do, or nobody here
    can know.

    ``evidence`` is what was seen, as texts, numbers and lists of texts. ``cause`` and ``mend`` are
    a sentence each where the step fails; ``cause`` is a note on one that does not, and ``mend``
    what would be better still.
    """

    name: str
    ok: bool | None
    evidence: Mapping[str, Any] = field(default_factory=dict)
    cause: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """The steps of one ``mailer`` to one ``host``; that is "" where it did not come to one, and
    ``mailer`` is where nobody has given it a name.
    """

    mailer: str
    host: str
    port: int
    steps: tuple[Step, ...]

    @property
    def ok(self) -> bool:
        """Whether no step fails."""
        return all(step.ok is not False for step in self.steps)

    @property
    def failed(self) -> tuple[Step, ...]:
        """The steps that fail."""
        return tuple(step for step in self.steps if step.ok is False)

    def as_dict(self) -> dict[str, Any]:
        """Return it as what JSON can say."""
        return {**asdict(self), "ok": self.ok}
