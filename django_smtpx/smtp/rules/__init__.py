"""What replies mean, as data: the first rule that fits has the word.

What providers document comes first: :mod:`.mailboxes`, :mod:`.regions`,
:mod:`.filters` and :mod:`.relays`; then :mod:`.texts` that any server may say,
in :mod:`.phrases` of many ways and in many :mod:`.languages`; then
:mod:`.codes`: the enhanced status code (RFC 3463), the code by phase (RFC 5321
section 4.2), and the class of the code. :mod:`.table` is all of them.
"""

from __future__ import annotations

from django_smtpx.smtp.rules.rule import Rule

__all__ = ["Rule"]
