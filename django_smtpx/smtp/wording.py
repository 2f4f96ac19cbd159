"""What this package says to people, kept so that a face can say it in the reader's language.

A sentence is English wherever it is raised, stored, logged or put into JSON. What it was made of
goes with it: the words, which a catalogue of translations finds it by, and the values between them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


class Said(str):
    """A sentence in English, or a part of one: ``template``, with ``values`` put in by their names.

    It survives copying and pickling, and is a text like any other to whoever only wants that. What
    is cut out of it, or put together from it with ``+`` or in an f-string, is a plain text.
    """

    __slots__ = ("template", "values")

    template: str
    values: Mapping[str, object]

    def __new__(cls, template: str, values: Mapping[str, object]) -> Self:
        """Put the values into the template."""
        text = super().__new__(cls, template % values)
        text.template, text.values = template, values
        return text

    def __str__(self) -> str:
        """Return it as it is, so that the text of an exception is still made of its parts."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.template, self.values)


def said(template: str, /, **values: object) -> Said:
    """Return the sentence ``template``, which is written out here for the catalogues to find.

    A value that is a :class:`Said` itself, or an exception with such a text, is said in the
    reader's language, too; any other stays as it is.
    """
    kept = {
        name: value if isinstance(value, (str, int)) else str(value)
        for name, value in values.items()
    }
    return Said(template, kept)


def joined(between: str, parts: Iterable[object]) -> Said:
    """Return ``parts`` with ``between`` between them, such as the members of a list.

    Nothing of ``between`` is translated.
    """
    values = {f"part{number}": str(part) for number, part in enumerate(parts)}
    return Said(between.replace("%", "%%").join(f"%({name})s" for name in values), values)


def because(first: object, second: object) -> Said:
    """Return two sentences of which the second says more of the first."""
    return said("%(first)s: %(second)s", first=first, second=second)


def also(parts: Iterable[object]) -> Said:
    """Return sentences of which each adds to those before it."""
    text = joined("", ())
    for part in parts:
        text = said("%(first)s; %(second)s", first=text, second=part) if text else _as_said(part)
    return text


def _as_said(text: object) -> Said:
    """Return a text as it is where it is a sentence, and else as one that nothing translates."""
    return text if isinstance(text, Said) else joined("", (text,))


def stopped(text: object) -> Said:
    """Return a sentence with a full stop behind it."""
    return joined("", (text, "."))
