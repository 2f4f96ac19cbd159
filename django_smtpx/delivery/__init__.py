"""One drain: claim, send, judge, decide, settle.

1. A drain goes along a *way*: that of its mailer, or one after the other to the
   domains that its mailer has mail straight for; each run along one is a
   *course*. It asks ``pacing`` whether the way is open, and for a connection
   slot; without one it has claimed nothing.
2. It looks at what rests on the way, claims a batch of ready deliveries under a
   lease (one short transaction), sets aside those of suppressed addresses and
   of senders that are held, and gathers the others by message: recipients of
   one message share a transaction of the SMTP session (RFC 5321 section 3.3).
3. For at most 20 messages at a time it marks the rows whose content may leave
   next, reads their content, and hands the envelopes to a session: a *chunk*. A
   large content is alone in its chunk, and is read block by block as it leaves.
   Where a session begins with a login, one drain after the other logs in. No
   database transaction is open while bytes move. Right before a content leaves,
   ``pacing`` counts it against the rate.
4. Each outcome is judged by ``smtp``; what it asks for beyond its recipient is
   minded (the way rests or slows down, a sender is held, another host is taken),
   and ``retry`` decides about the rest. The chunk's outcomes are settled
   together, and only then is anybody told.
5. A session that cannot be had is an attempt of the message that it was opened
   for; the rest goes back untouched and rests with its way.
6. After 20 seconds, or when nothing is ready, it ends. Its session stays open
   for a few seconds under the pool's reaper, for the next drain. It ends early
   where its worker stops (``stopping``): what has been sent is heard and settled,
   what was not begun goes back, the session and the slot end with it.
"""

from django_smtpx.delivery.draining import Drain, drain, postponed
from django_smtpx.delivery.idle import close, last_turn, purge, purge_a_while, run_until_idle, sweep
from django_smtpx.delivery.immediate import deliver_now
from django_smtpx.delivery.posting import due_webhooks, post_events
from django_smtpx.delivery.steering import send_again
from django_smtpx.delivery.stopping import StopSign, never

__all__ = [
    "Drain",
    "StopSign",
    "close",
    "deliver_now",
    "drain",
    "due_webhooks",
    "last_turn",
    "never",
    "post_events",
    "postponed",
    "purge",
    "purge_a_while",
    "run_until_idle",
    "send_again",
    "sweep",
]
