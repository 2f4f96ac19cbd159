"""Settings as they are set; nothing else of the package reads them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import django
from django.conf import settings

if TYPE_CHECKING:
    from collections.abc import Iterable


def raw(name: str, default: Any = None) -> Any:
    """Return a setting as it is set.

    Django 6.1 warns whoever reads a deprecated ``EMAIL_*`` through
    ``settings``; the site was told when they were loaded.
    """
    return getattr(_wrapped(), name, default)


def raws(names: Iterable[str]) -> tuple[Any, ...]:
    """Return settings as they are set, None for what there is not."""
    wrapped = _wrapped()
    return tuple([getattr(wrapped, name, None) for name in names])


def is_set(name: str) -> bool:
    """Return whether the site has set it, rather than Django's defaults."""
    return bool(_wrapped().is_overridden(name))


def names(prefix: str) -> list[str]:
    """Return the names of all settings that begin with ``prefix``."""
    return [name for name in dir(_wrapped()) if name.startswith(prefix)]


def has_mailers() -> bool:
    """Return whether MAILERS counts: Django reads it from version 6.1 on."""
    return django.VERSION >= (6, 1) and raw("MAILERS") is not None


def _wrapped() -> Any:
    lazy: Any = settings
    if not lazy.configured:
        lazy._setup()
    return lazy._wrapped
