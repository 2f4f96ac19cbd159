"""What stands between this machine and a server that takes its mail: one host, step by step.

1. :mod:`.running` opens one connection as a delivery does, with the client's own pieces, rehearses
   the transaction up to its recipient, and takes its leave. No content leaves, unless a mail for
   that is given.
2. What was heard is read from the client's own record, in which there are no secrets
   (:mod:`.heard`), and becomes a :class:`Step` each.
3. The error of the step that fails is told with its cause and its mend (:mod:`.causes`, with the
   sentences of :mod:`.meanings`). Where another port may be the right one, the usual ones are
   looked at (:mod:`.siblings`).
4. :mod:`.text` shows it to people.
"""

from __future__ import annotations

from django_smtpx.smtp.diagnosis.running import Trial, configuration, try_host
from django_smtpx.smtp.diagnosis.values import STEPS, Diagnosis, Step

__all__ = ["STEPS", "Diagnosis", "Step", "Trial", "configuration", "try_host"]
