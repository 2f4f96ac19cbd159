"""Names that nobody knows, and which one may have been meant."""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.wording import joined, said

if TYPE_CHECKING:
    from collections.abc import Iterable


class BadOption(ValueError):
    """An option that cannot be used as it is; the text names the key, the value and the mend."""


def refuse_unknown(given: Iterable[Any], known: Iterable[str], *, within: str = "") -> None:
    """Raise :class:`BadOption` for the first key that is not ``known``."""
    names = tuple(known)
    for key in given:
        if key not in names:
            fault = said("Unknown option %(key)s.", key=repr(key))
            if within:
                fault = said("Unknown option %(key)s in %(within)s.", key=repr(key), within=within)
            listed = said("Known: %(known)s.", known=", ".join(sorted(names)))
            raise BadOption(joined("", (fault, did_you_mean(key, names), " ", listed)))


def did_you_mean(word: Any, known: Iterable[str]) -> str:
    """Return a question that names the nearest of ``known``, or ""."""
    near = get_close_matches(str(word).lower(), {one.lower(): one for one in known}, n=1)
    if not near:
        return ""
    match = next(one for one in known if one.lower() == near[0])
    return joined("", (" ", said("Did you mean %(word)s?", word=repr(match))))
