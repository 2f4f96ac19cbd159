"""THE writer of rows: store, claim, settle, release, reclaim, purge.

``store`` puts mail into rows in the caller's transaction; ``claim`` takes some
under a lease; ``mark`` writes down what may leave next; ``settle`` writes
outcomes; the sweep promotes what has come due and reclaims what a dead worker
held. Conservation holds at every moment: stored = sent + failed + cancelled +
suppressed + unknown + still waiting, per recipient, of rows not purged.
"""

from django_smtpx.ledger.asking import Refusal, Selection, Steered, Step
from django_smtpx.ledger.bounces import Booked, Fact, book_report
from django_smtpx.ledger.census import Ages, Wait, Waiting, ages, census
from django_smtpx.ledger.claiming import (
    abandon,
    claim,
    from_headers,
    mark,
    now,
    reading,
    release,
    renew,
    rows_of,
    senders_of,
)
from django_smtpx.ledger.clock import Lease, Reading
from django_smtpx.ledger.delaying import notice_delays
from django_smtpx.ledger.immediate import resumable, resume_now, store_now
from django_smtpx.ledger.keeping import content_of, contents
from django_smtpx.ledger.orphans import remove_orphans
from django_smtpx.ledger.parking import park, rest, unpark
from django_smtpx.ledger.policies import PolicyStore
from django_smtpx.ledger.purging import Purged, give_turn_back, purge
from django_smtpx.ledger.refusals import policy_refusals
from django_smtpx.ledger.rows import Booking, Row, database, patiently
from django_smtpx.ledger.setting_aside import book_suppressed, set_aside_suppressed
from django_smtpx.ledger.settling import note, settle, settle_and_mark
from django_smtpx.ledger.steering import arrived, cancel, preview, retry, steps_for
from django_smtpx.ledger.storing import Stored, find, store
from django_smtpx.ledger.suppressing import Suppressed, condemns, suppressed
from django_smtpx.ledger.tls_results import (
    begin_tls_report,
    book_tls_session,
    counts_tls,
    end_tls_report,
    flush_tls_sessions,
    tls_counted,
    tls_domains,
)
from django_smtpx.ledger.upkeep import (
    expire,
    has_ready,
    promote,
    ready_destinations,
    reclaim,
    redirect_ready,
    take_turn,
    waiting_mailers,
)

__all__ = [
    "Ages",
    "Booked",
    "Booking",
    "Fact",
    "Lease",
    "PolicyStore",
    "Purged",
    "Reading",
    "Refusal",
    "Row",
    "Selection",
    "Steered",
    "Step",
    "Stored",
    "Suppressed",
    "Wait",
    "Waiting",
    "abandon",
    "ages",
    "arrived",
    "begin_tls_report",
    "book_report",
    "book_suppressed",
    "book_tls_session",
    "cancel",
    "census",
    "claim",
    "condemns",
    "content_of",
    "contents",
    "counts_tls",
    "database",
    "end_tls_report",
    "expire",
    "find",
    "flush_tls_sessions",
    "from_headers",
    "give_turn_back",
    "has_ready",
    "mark",
    "note",
    "notice_delays",
    "now",
    "park",
    "patiently",
    "policy_refusals",
    "preview",
    "promote",
    "purge",
    "reading",
    "ready_destinations",
    "reclaim",
    "redirect_ready",
    "release",
    "remove_orphans",
    "renew",
    "rest",
    "resumable",
    "resume_now",
    "retry",
    "rows_of",
    "senders_of",
    "set_aside_suppressed",
    "settle",
    "settle_and_mark",
    "steps_for",
    "store",
    "store_now",
    "suppressed",
    "take_turn",
    "tls_counted",
    "tls_domains",
    "unpark",
    "waiting_mailers",
]
