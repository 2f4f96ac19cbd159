"""A module of rules with a mistake in it."""

from __future__ import annotations

from django_smtpx.smtp import Rule

RULES = [Rule(id="acme", category="nonsense", action="fail")]
