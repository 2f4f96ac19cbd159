"""The sending domain, as the recipients' servers look at it when mail comes straight from here."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.diagnosis.receiving import receiving_steps
from django_smtpx.diagnosis.vouching import dkim_step, dmarc_step, reverse_step, spf_step
from django_smtpx.diagnosis.world import world

if TYPE_CHECKING:
    from django_smtpx.mailer import Mailer
    from django_smtpx.smtp.diagnosis import Step

DOMAIN_STEPS = ("spf", "dkim", "dmarc", "reverse_dns", "mx", "mta_sts", "tlsa")
"""The names of these steps, in the order in which they are shown."""


def domain_steps(mailer: Mailer, *, sender: str, address: str = "") -> tuple[Step, ...]:
    """Return the steps of the domain of ``sender``, whose address is in From and the reverse path.

    ``address`` is the one that others see, where a person has said so. It takes less than 15
    seconds, whatever does not answer, and touches no database.
    """
    assert mailer.mx is not None
    domain = sender.rpartition("@")[2]
    seen = world(mailer.mx, from_domain=domain, sender=sender, address=address)
    by_spf, by_dkim = spf_step(seen), dkim_step(seen, mailer.dkim)
    return (
        by_spf,
        by_dkim,
        dmarc_step(seen, by_spf, by_dkim, mailer.dkim),
        reverse_step(seen),
        *receiving_steps(seen, mailer.mx),
    )
