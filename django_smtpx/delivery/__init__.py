"""One drain: claim, send, judge, decide, settle.

1. A drain asks ``pacing`` whether its mailer may send, and for a connection
   slot; without one it ends and has claimed nothing.
2. It claims a batch of ready deliveries under a lease (one short transaction)
   and gathers them by message: recipients of one message share a transaction
   of the SMTP session (RFC 5321 section 3.3).
3. For at most 20 messages at a time it marks the rows whose content may leave
   next, reads their content, and hands the envelopes to a session. No database
   transaction is open while bytes move.
4. Each outcome is judged by ``smtp`` and decided about by ``retry``; the chunk's
   outcomes are settled together, and only then is anybody told.
5. A session that cannot be had is an attempt of the message that it was opened
   for; the rest goes back untouched and rests with its mailer.
6. After 20 seconds, or when nothing is ready, it ends. Its session stays open
   for a few seconds under the pool's reaper, for the next drain.
"""

from django_smtpx.delivery.draining import Drain, drain
from django_smtpx.delivery.idle import purge, run_until_idle, sweep
from django_smtpx.delivery.immediate import deliver_now

__all__ = ["Drain", "deliver_now", "drain", "purge", "run_until_idle", "sweep"]
