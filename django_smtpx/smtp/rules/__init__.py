"""What replies mean, as data: the first rule that fits has the word.

What providers document comes first: :mod:`.mailboxes`, :mod:`.regions`,
:mod:`.filters` and :mod:`.relays`; then :mod:`.texts` that any server may say;
then :mod:`.codes`: the enhanced status code (RFC 3463), the code by phase
(RFC 5321 section 4.2), and the class of the code.
"""

from __future__ import annotations

from django_smtpx.smtp.rules import codes, filters, mailboxes, regions, relays, texts
from django_smtpx.smtp.rules.rule import Rule

RULES: tuple[Rule, ...] = (
    *mailboxes.RULES,
    *regions.RULES,
    *filters.RULES,
    *relays.RULES,
    *texts.RULES,
    *codes.RULES,
)
"""All rules of this package, in the order in which they are tried."""

__all__ = ["RULES", "Rule"]
