"""What stands between a mailer and a mail that arrives, step by step: values that any face shows.

A mailer has one :class:`Diagnosis` for each of its hosts, or, where mail goes straight to domains,
one for the first server of the recipient's (:mod:`.mailers`), which is looked at as anybody may
without Django (:mod:`django_smtpx.smtp.diagnosis`). Such mail is judged by the domain that it comes
from, too, and so is that (:mod:`.domain`): who may send for it and by which keys its mail is known
(:mod:`.vouching`), and whether failure reports find back (:mod:`.receiving`), as seen from
:mod:`.world`.
"""

from __future__ import annotations

from django_smtpx.diagnosis.domain import DOMAIN_STEPS
from django_smtpx.diagnosis.mailers import diagnose
from django_smtpx.smtp.diagnosis import STEPS, Diagnosis, Step

__all__ = ["DOMAIN_STEPS", "STEPS", "Diagnosis", "Step", "diagnose"]
