"""THE writer of rows: store, claim, settle, release, reclaim, purge.

``store`` puts mail into rows in the caller's transaction; ``claim`` takes some
under a lease; ``mark`` writes down what may leave next; ``settle`` writes
outcomes; the sweep promotes what has come due and reclaims what a dead worker
held. Conservation holds at every moment: stored = sent + failed + cancelled +
suppressed + unknown + still waiting, per recipient, of rows not purged.
"""

from django_smtpx.ledger.asking import Refusal, Selection, Steered, Step
from django_smtpx.ledger.bounces import Booked, Fact, book_report
from django_smtpx.ledger.census import (
    LOOKED_AT,
    Ages,
    Queued,
    Wait,
    Waiting,
    ages,
    by_mailer,
    census,
    in_order,
    outlook,
    waiting_for,
    waits,
)
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
from django_smtpx.ledger.posting import (
    Event,
    Posted,
    Standing,
    book_posts,
    claim_events,
    due_endpoints,
    posting_now,
    release_events,
    standing,
)
from django_smtpx.ledger.purging import Purged, give_turn_back, purge
from django_smtpx.ledger.ready import (
    ready_destinations,
    ready_lanes,
    redirect_ready,
    waiting_mailers,
)
from django_smtpx.ledger.refusals import policy_refusals
from django_smtpx.ledger.rows import Booking, Row, database, patiently
from django_smtpx.ledger.setting_aside import book_suppressed, set_aside_suppressed
from django_smtpx.ledger.settling import note, settle, settle_and_mark
from django_smtpx.ledger.steering import arrived, cancel, preview, retry, steps_for
from django_smtpx.ledger.storing import Stored, find, store
from django_smtpx.ledger.suppressing import Suppressed, condemns, suppressed
from django_smtpx.ledger.tallies import (
    Lately,
    counted_by_hour,
    counted_by_kind,
    counted_in_all,
    counted_until,
    hour_of,
    lately,
    latest_attempts,
    tally,
)
from django_smtpx.ledger.timings import Timed, flush_timings, time_phases, timed_in_all
from django_smtpx.ledger.tls_results import (
    begin_tls_report,
    book_tls_session,
    counts_tls,
    end_tls_report,
    flush_tls_sessions,
    tls_counted,
    tls_domains,
)
from django_smtpx.ledger.upkeep import expire, promote, reclaim, take_turn, turns
from django_smtpx.ledger.webhooks import (
    MOST_COUNTED,
    disable_webhook,
    enable_webhook,
    replay_events,
    waiting_events,
)

__all__ = [
    "LOOKED_AT",
    "MOST_COUNTED",
    "Ages",
    "Booked",
    "Booking",
    "Event",
    "Fact",
    "Lately",
    "Lease",
    "PolicyStore",
    "Posted",
    "Purged",
    "Queued",
    "Reading",
    "Refusal",
    "Row",
    "Selection",
    "Standing",
    "Steered",
    "Step",
    "Stored",
    "Suppressed",
    "Timed",
    "Wait",
    "Waiting",
    "abandon",
    "ages",
    "arrived",
    "begin_tls_report",
    "book_posts",
    "book_report",
    "book_suppressed",
    "book_tls_session",
    "by_mailer",
    "cancel",
    "census",
    "claim",
    "claim_events",
    "condemns",
    "content_of",
    "contents",
    "counted_by_hour",
    "counted_by_kind",
    "counted_in_all",
    "counted_until",
    "counts_tls",
    "database",
    "disable_webhook",
    "due_endpoints",
    "enable_webhook",
    "end_tls_report",
    "expire",
    "find",
    "flush_timings",
    "flush_tls_sessions",
    "from_headers",
    "give_turn_back",
    "hour_of",
    "in_order",
    "lately",
    "latest_attempts",
    "mark",
    "note",
    "notice_delays",
    "now",
    "outlook",
    "park",
    "patiently",
    "policy_refusals",
    "posting_now",
    "preview",
    "promote",
    "purge",
    "reading",
    "ready_destinations",
    "ready_lanes",
    "reclaim",
    "redirect_ready",
    "release",
    "release_events",
    "remove_orphans",
    "renew",
    "replay_events",
    "rest",
    "resumable",
    "resume_now",
    "retry",
    "rows_of",
    "senders_of",
    "set_aside_suppressed",
    "settle",
    "settle_and_mark",
    "standing",
    "steps_for",
    "store",
    "store_now",
    "suppressed",
    "take_turn",
    "tally",
    "time_phases",
    "timed_in_all",
    "tls_counted",
    "tls_domains",
    "turns",
    "unpark",
    "waiting_events",
    "waiting_for",
    "waiting_mailers",
    "waits",
]
