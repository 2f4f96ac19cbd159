"""What stands between a mailer and a mail that arrives, step by step: values that any face shows.

1. A mailer has one :class:`Diagnosis` for each of its hosts, or, where mail goes straight to
   domains, for the first server of the recipient's (:mod:`.mailers`).
2. :mod:`.running` opens one connection as a delivery does, with the client's own pieces, rehearses
   the transaction up to its recipient, and takes its leave. No content leaves, unless a mail for
   that is given.
3. What was heard is read from the client's own record, in which there are no secrets
   (:mod:`.heard`), and becomes a :class:`Step` each.
4. The error of the step that fails is told with its cause and its mend (:mod:`.causes`). Where
   another port may be the right one, the usual ones are looked at (:mod:`.siblings`).
"""

from __future__ import annotations

from django_smtpx.diagnosis.mailers import diagnose
from django_smtpx.diagnosis.values import STEPS, Diagnosis, Step

__all__ = ["STEPS", "Diagnosis", "Step", "diagnose"]
