"""A router that gives the outbox a database of its own."""

from __future__ import annotations

from typing import Any


class Outbox:
    """Sends the models of the outbox to the database ``mail``, and all others elsewhere."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        """Return where a model is read."""
        return _home(model._meta.app_label)  # type: ignore[attr-defined]

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        """Return where a model is written."""
        return _home(model._meta.app_label)  # type: ignore[attr-defined]

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool:
        """Keep each database to its own tables."""
        return (db == "mail") == (app_label == "django_smtpx")


def _home(app_label: str) -> str | None:
    return "mail" if app_label == "django_smtpx" else None
