"""The live state of ways: what rests and until when, how fast, and over how many connections.

A *way* is a mailer, or one destination of it. What fails is booked on the clock
that it is about: ``gates`` on the way, ``hosts`` on one host of several,
``holds`` on a sender, ``credentials`` on a password; ``manual`` is what a person
closes and opens, whatever the clocks say, and ``scopes`` is how people say what
and for how long; ``routes`` are the rows that all of them write. ``slots`` are
the connections of all workers, ``logins`` lets one of them log in at a time,
``meter`` counts contents against a rate, ``keeping`` says what of all that keeps
mail that waits, ``slow`` keeps at what rate and
``worth`` over how many connections servers will be sent to; ``retention``
forgets what nobody has used for long.
All of it is rows in the outbox's database, written by compare-and-swap: no
other service is needed.
"""

from django_smtpx.pacing.credentials import credential_mac, forget_refused, refused_elsewhere
from django_smtpx.pacing.gates import (
    Gate,
    book_failure,
    book_success,
    closed_error,
    gate,
    had_tls_trouble,
    reopen_changed,
)
from django_smtpx.pacing.holds import (
    Resting,
    Survey,
    book_sender_success,
    envelope_key,
    header_key,
    held_sender_error,
    hold_sender,
    key_of,
    resume_senders,
    resume_senders_of,
    survey,
    take_sender_probe,
    while_probed,
)
from django_smtpx.pacing.hosts import (
    Hosts,
    book_host_failure,
    book_host_success,
    hosts_to_try,
    is_dead,
    resting_hosts,
)
from django_smtpx.pacing.keeping import kept
from django_smtpx.pacing.logins import await_login, end_login, keep_login, logs_in, take_login
from django_smtpx.pacing.manual import end_pauses, pause, rests, resume
from django_smtpx.pacing.meter import (
    PATIENCE,
    Limit,
    Meter,
    UsedUp,
    count,
    limits_on,
    opens_at,
    used_up_until,
)
from django_smtpx.pacing.retention import forget_unused
from django_smtpx.pacing.routes import CREDENTIAL, HOLDS
from django_smtpx.pacing.scopes import Scope, domain_of, duration
from django_smtpx.pacing.slots import (
    SLOT_LEASE,
    HeldSlot,
    forget_resting,
    free_dead_slots,
    free_rested_slots,
    free_slot,
    renew_slot,
    rest_slot,
    take_slot,
    used_slots,
)
from django_smtpx.pacing.slow import book_slow, end_slowdowns, slowdown_of
from django_smtpx.pacing.worth import book_connection, connections, has_free_slot

__all__ = [
    "CREDENTIAL",
    "HOLDS",
    "PATIENCE",
    "SLOT_LEASE",
    "Gate",
    "HeldSlot",
    "Hosts",
    "Limit",
    "Meter",
    "Resting",
    "Scope",
    "Survey",
    "UsedUp",
    "await_login",
    "book_connection",
    "book_failure",
    "book_host_failure",
    "book_host_success",
    "book_sender_success",
    "book_slow",
    "book_success",
    "closed_error",
    "connections",
    "count",
    "credential_mac",
    "domain_of",
    "duration",
    "end_login",
    "end_pauses",
    "end_slowdowns",
    "envelope_key",
    "forget_refused",
    "forget_resting",
    "forget_unused",
    "free_dead_slots",
    "free_rested_slots",
    "free_slot",
    "gate",
    "had_tls_trouble",
    "has_free_slot",
    "header_key",
    "held_sender_error",
    "hold_sender",
    "hosts_to_try",
    "is_dead",
    "keep_login",
    "kept",
    "key_of",
    "limits_on",
    "logs_in",
    "opens_at",
    "pause",
    "refused_elsewhere",
    "renew_slot",
    "reopen_changed",
    "rest_slot",
    "resting_hosts",
    "rests",
    "resume",
    "resume_senders",
    "resume_senders_of",
    "slowdown_of",
    "survey",
    "take_login",
    "take_sender_probe",
    "take_slot",
    "used_slots",
    "used_up_until",
    "while_probed",
]
