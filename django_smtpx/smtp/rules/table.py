"""All rules of this package, in the order in which they are tried.

Nobody needs them before the first refusal, and so nothing imports this before.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp.rules import codes, filters, mailboxes, regions, relays, texts

if TYPE_CHECKING:
    from django_smtpx.smtp.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *mailboxes.RULES,
    *regions.RULES,
    *filters.RULES,
    *relays.RULES,
    *texts.RULES,
    *codes.RULES,
)
