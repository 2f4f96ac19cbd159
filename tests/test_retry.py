"""When, if ever, to try again."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.core.cache import cache
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from django_smtpx import signals
from django_smtpx.ledger.delaying import SECOND_NOTICE
from django_smtpx.ledger.storing import FIRST_NOTICE
from django_smtpx.mailer import STANDARD_RETRY, RetryPolicy
from django_smtpx.models import Attempt, Delivery, Message
from django_smtpx.retry import (
    GREYLIST_STEPS,
    MAX_UNKNOWNS,
    History,
    carried_out,
    decide,
    decide_now,
    greylisting_hint,
    parked,
    wait_for,
)
from django_smtpx.smtp import Result

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
YOUNG = History(step=0, unknowns=0, age_from=NOW)


def result(outcome="deferred", category="other_temporary", action="retry", reply="", code=None):
    """Return a result as the wire would give it."""
    return Result(
        recipient="a@example.com",
        outcome=outcome,
        category=category,
        action=action,
        phase="rcpt",
        command="RCPT",
        reply=reply,
        code=code,
    )


def decided(given_result, history=YOUNG, policy=STANDARD_RETRY, *, on_unknown="retry", rand=0.5):
    """Decide at NOW."""
    return decide(given_result, history, policy, on_unknown=on_unknown, now=NOW, rand=rand)


def test_sent_is_final():
    """A sent delivery is settled, and nothing follows."""
    decision = decided(result("sent", "ok", "none"))
    assert (decision.status, decision.outcome, decision.settled) == ("sent", "sent", True)
    assert decision.next_attempt_at is None


def test_permanent_by_verdict_is_final_at_once():
    """A failed recipient is failed at the first attempt."""
    decision = decided(result("failed", "mailbox_unknown", "suppress"))
    assert (decision.status, decision.category) == ("failed", "mailbox_unknown")
    assert decision.settled


@pytest.mark.parametrize(
    ("step", "minutes"),
    [(0, 1), (1, 2), (2, 5), (3, 10), (5, 40), (6, 60), (9, 240), (10, 360), (99, 360)],
)
def test_standard_schedule(step, minutes):
    """The standard schedule is the documented one, and its last step repeats."""
    decision = decided(result(), YOUNG._replace(step=step))
    assert decision.next_attempt_at == NOW + timedelta(minutes=minutes)
    assert decision.step == step + 1


@pytest.mark.parametrize(("rand", "factor"), [(0.0, 0.8), (0.5, 1.0), (1.0, 1.2)])
@pytest.mark.parametrize("step", [0, 50])
def test_jitter_is_twenty_per_cent_and_does_not_vanish(step, rand, factor):
    """The jitter is ±20 % of the step, at the last one as well."""
    base = STANDARD_RETRY.schedule[min(step, 10)]
    waited = wait_for(result(), step, STANDARD_RETRY).drawn(rand)
    assert waited == timedelta(seconds=base * factor)


def test_temporary_ends_as_expired():
    """At max_age a temporary failure becomes failed/expired."""
    history = YOUNG._replace(age_from=NOW - timedelta(hours=48))
    decision = decided(result(), history)
    assert (decision.status, decision.category, decision.outcome) == ("failed", "expired", "failed")


def test_last_attempt_is_at_the_deadline():
    """The last wait is cut so that a last attempt is made when max_age is reached."""
    history = YOUNG._replace(step=10, age_from=NOW - timedelta(hours=47))
    assert decided(result(), history).next_attempt_at == NOW + timedelta(hours=1)


def test_expires_at_comes_before_max_age():
    """A message's own expires_at ends it earlier than max_age would."""
    soon = NOW + timedelta(seconds=10)
    history = YOUNG._replace(expires_at=soon)
    assert decided(result(), history).next_attempt_at == soon
    assert decided(result(), history._replace(expires_at=NOW)).category == "expired"


def test_last_attempt_comes_before_expires_at():
    """From expires_at on nobody may claim it, so that the last try is half a minute earlier."""
    end = NOW + timedelta(minutes=9)
    history = YOUNG._replace(step=4, expires_at=end)
    last = decided(result(), history)
    assert last.next_attempt_at == end - timedelta(seconds=30)
    after = decide(
        result(),
        history._replace(step=last.step),
        STANDARD_RETRY,
        on_unknown="retry",
        now=last.next_attempt_at + SECOND,
        rand=0.5,
    )
    assert after.next_attempt_at == end


def test_split_loses_no_step():
    """A recipient that goes in the next transaction is due now and keeps its schedule."""
    decision = decided(result(category="too_many_recipients", action="split"))
    assert (decision.next_attempt_at, decision.step) == (NOW, 0)


def test_reconnect_is_at_once_but_only_the_first_time():
    """A fresh connection is tried at once, and burns a step so that it cannot loop."""
    first = decided(result(category="disconnected", action="reconnect"))
    assert (first.next_attempt_at, first.step) == (NOW, 1)
    again = decided(
        result(category="disconnected", action="reconnect"), YOUNG._replace(step=first.step)
    )
    assert again.next_attempt_at == NOW + timedelta(minutes=2)


def test_hold_waits_for_a_person():
    """A held delivery is deferred without a next attempt, and not settled."""
    decision = decided(result(category="sender_rejected", action="hold"))
    assert (decision.status, decision.next_attempt_at, decision.settled) == (
        "deferred",
        None,
        False,
    )


@pytest.mark.parametrize("code", [450, 550, None])
@pytest.mark.parametrize("age", [0, 100])
def test_hold_waits_whatever_the_code_and_the_age(code, age):
    """A person decides, though the reply is a 4yz, and though max_age is over."""
    old = YOUNG._replace(age_from=NOW - timedelta(hours=age))
    decision = decided(result(category="policy", action="hold", code=code), old)
    assert (decision.status, decision.next_attempt_at) == ("deferred", None)


def test_unknown_is_tried_again():
    """With on_unknown=retry an unknown outcome is deferred and counted."""
    decision = decided(result("unknown", "unknown_outcome"))
    assert (decision.status, decision.outcome, decision.unknowns) == ("deferred", "unknown", 1)
    assert decision.next_attempt_at == NOW + timedelta(minutes=1)


def test_third_unknown_waits_for_a_person():
    """After three unknown outcomes a person decides, whatever the policy."""
    decision = decided(result("unknown", "unknown_outcome"), YOUNG._replace(unknowns=2))
    assert (decision.status, decision.next_attempt_at, decision.settled) == ("unknown", None, False)


def test_unknown_is_held_when_asked():
    """With on_unknown=hold the first unknown outcome waits for a person."""
    decision = decided(result("unknown", "unknown_outcome"), on_unknown="hold")
    assert (decision.status, decision.outcome) == ("unknown", "unknown")


def test_unknown_at_the_deadline_is_not_called_failed():
    """What may have been delivered is never said to have failed, not even at its end."""
    old = YOUNG._replace(age_from=NOW - timedelta(hours=49))
    decision = decided(result("unknown", "unknown_outcome"), old)
    assert (decision.status, decision.outcome) == ("unknown", "unknown")


@pytest.mark.parametrize(
    ("outcome", "status"),
    [("sent", "sent"), ("deferred", "failed"), ("failed", "failed"), ("unknown", "unknown")],
)
def test_now_mode_is_never_tried_again(outcome, status):
    """In now mode every outcome is the last."""
    decision = decide_now(result(outcome), YOUNG)
    assert (decision.status, decision.next_attempt_at) == (status, None)


@pytest.mark.parametrize(
    ("on_unknown", "before", "age", "action"),
    [
        ("retry", 0, 0, "retry"),
        ("retry", 1, 0, "retry"),
        ("retry", 2, 0, "hold"),
        ("retry", 0, 49, "hold"),
        ("hold", 0, 0, "hold"),
    ],
)
def test_what_is_in_doubt_is_held_where_a_person_decides(on_unknown, before, age, action):
    """The verdict is to try again; what is done is that, or to wait for a person."""
    history = YOUNG._replace(unknowns=before, age_from=NOW - timedelta(hours=age))
    verdict = result("unknown", "unknown_outcome")
    decision = decided(verdict, history, on_unknown=on_unknown)
    done = carried_out(verdict, decision)
    assert done == verdict._replace(action=action)
    assert (decision.status == "unknown") is (action == "hold")


def test_in_now_mode_what_is_in_doubt_is_held():
    """A person decides about what a process sent itself, whatever the policy."""
    verdict = result("unknown", "unknown_outcome")
    assert carried_out(verdict, decide_now(verdict, YOUNG)).action == "hold"


@pytest.mark.parametrize("outcome", ["sent", "deferred", "failed"])
def test_the_verdict_is_carried_out(outcome):
    """Where nothing is in doubt, what is done is what the verdict asks for."""
    verdict = result(outcome, action="slow")
    for decision in (decided(verdict), decide_now(verdict, YOUNG)):
        assert carried_out(verdict, decision) is verdict


def test_parked_loses_no_step():
    """A failed session burns no step of the message it was opened for."""
    until = NOW + timedelta(minutes=1)
    decision = parked(result(category="unreachable"), YOUNG._replace(step=3), until)
    assert (decision.status, decision.step, decision.next_attempt_at) == ("deferred", 3, until)


@pytest.mark.parametrize("action", ["retry", "next_host", "slow", "pause"])
def test_every_later_burns_a_step(action):
    """Whatever else an action asks for, the delivery goes by its schedule."""
    decision = decided(result(category="server_busy", action=action), YOUNG._replace(step=2))
    assert (decision.next_attempt_at, decision.step) == (NOW + timedelta(minutes=5), 3)


def test_no_try_within_a_second():
    """A schedule or a deadline of a moment does not run hot."""
    hot = RetryPolicy(schedule=(0.001,), max_age=60)
    assert decided(result(), policy=hot, rand=0.0).next_attempt_at == NOW + SECOND
    ending = YOUNG._replace(age_from=NOW - timedelta(hours=48) + SECOND / 10)
    assert decided(result(), ending).next_attempt_at == NOW + SECOND


def test_greylisting_is_left_before_it_forgets():
    """However far the schedule has come, a greylisted delivery comes back within the hour."""
    late = YOUNG._replace(step=9)
    greylisted = result(category="greylisted", reply="Greylisted, please come back later")
    assert decided(greylisted, late, rand=0.0).next_attempt_at == NOW + timedelta(minutes=40)
    assert decided(greylisted, late, rand=1.0).next_attempt_at == NOW + timedelta(minutes=48)


SLOW = RetryPolicy(schedule=(6 * 3600.0,), max_age=48 * 3600.0)


@pytest.mark.parametrize(("step", "minutes"), [(0, 5), (1, 10), (2, 20), (3, 40), (50, 40)])
def test_greylisting_has_short_steps_of_its_own(step, minutes):
    """A schedule of hours is not waited for; jitter only lengthens the step."""
    greylisted = result(category="greylisted")
    history = YOUNG._replace(step=step)
    for rand, factor in ((0.0, 1.0), (0.5, 1.1), (1.0, 1.2)):
        wait = decided(greylisted, history, SLOW, rand=rand).next_attempt_at - NOW
        assert wait == timedelta(minutes=minutes) * factor


@pytest.mark.parametrize(("delay_minutes", "most"), [(1, 2), (5, 4), (15, 5), (25, 6)])
@pytest.mark.parametrize("rand", [0.0, 0.5, 0.999])
def test_a_greylister_is_passed_with_few_attempts(delay_minutes, most, rand):
    """The standard schedule meets a greylister that gives no hint, and soon gets through."""
    now, history, attempts = NOW, YOUNG, 1
    while now < NOW + timedelta(minutes=delay_minutes):
        decision = decide(
            result(category="greylisted"),
            history,
            STANDARD_RETRY,
            on_unknown="retry",
            now=now,
            rand=rand,
        )
        now, history = decision.next_attempt_at, history._replace(step=decision.step)
        attempts += 1
    assert attempts <= most
    assert now - NOW <= timedelta(minutes=2.6 * delay_minutes)


@pytest.mark.parametrize("code", [450, 451])
def test_the_first_unexplained_refusal_is_probably_greylisting(code):
    """A recipient put off without a reason is tried again soon, the first time."""
    put_off = result(code=code, reply="Requested action not taken")
    assert decided(put_off, policy=SLOW, rand=0.0).next_attempt_at == NOW + timedelta(minutes=5)
    again = decided(put_off, YOUNG._replace(step=1), SLOW)
    assert again.next_attempt_at == NOW + timedelta(hours=6)


@pytest.mark.parametrize(
    "values",
    [
        {"code": 452},
        {"code": None},
        {"code": 451, "phase": "eod"},
        {"code": 451, "category": "server_busy"},
    ],
)
def test_what_is_explained_is_not_taken_for_greylisting(values):
    """Other codes, phases and categories go by the schedule, whatever numbers they name."""
    answer = result(reply="in 5 minutes")._replace(**values)
    assert decided(answer, policy=SLOW).next_attempt_at == NOW + timedelta(hours=6)


def test_a_hint_tells_greylisting_at_any_step():
    """A recipient that is put off until a time is tried again then, though nobody says why."""
    put_off = result(code=451, reply="Please try again in 5 minutes")
    late = decided(put_off, YOUNG._replace(step=8), rand=0.0)
    assert late.next_attempt_at == NOW + timedelta(minutes=5)


HINTS = [
    # milter-greylist
    ("Greylisting in action, please come back in 00:04:51", 291),
    ("Greylisting in Action, Please Come Back in 00:02:00 [minutes]", 120),
    # postgrey with --greylist-text, and its kin
    (
        "<a@b.example>: Recipient address rejected: Greylisted for 300 seconds (see http://b.example/5m.html)",
        300,
    ),
    ("Greylisted for 300 seconds or its been rejected.", 300),
    ("greylisted for 60 seconds by ZEROSPAM", 60),
    ("4.2.0 Sender address rejected: Greylisted for 45 sec.", 45),
    ("Greylisted for 5 minutes", 300),
    ("Greylisted for 5 minutes. Try again later.", 300),
    ("Your message has been greylisted. Please try again in 5 minutes.", 300),
    ("Greylisted, please try again in 900 seconds", 900),
    ("greylisted, retry in 60s", 60),
    ("Greylisting in effect, please retry in 300 seconds", 300),
    ("Please try again in 10 minutes", 600),
    ("try again after 5 min", 300),
    ("deferred, retry in 300 sec.", 300),
    ("greylisted: wait 4 minutes and 50 seconds", 290),
    ("greylisted, 4m50s remaining", 290),
    ("come back in 4 minutes, 50 seconds", 290),
    ("Wait 60s", 60),
    ("wait=300s", 300),
    ("come back in 4:51 minutes", 291),
    ("try again in 1.5 minutes", 90),
    ("try again in 5-10 minutes", 600),
    ("try again in 5 to 10 mins", 600),
    ("try again in one minute", 60),
    ("try again in an hour", 3600),
    ("a 5-minute delay applies", 300),
    ("greylisted, retry after PT4M50S", 290),
    ("Retry-After: 120", 120),
    ("greylisted; retry after 120; id=a1b2", 120),
    # what was first and what is asked for
    ("Greylisted 3 minutes ago, try again in 120 seconds", 120),
    ("Greylisting takes 5 minutes, please try again in 30 seconds", 30),
    # an hour at most, a second at least
    ("come back in 2 hours", 3600),
    ("come back in 01:30:00", 3600),
    ("retry in 99999 seconds", 3600),
    ("in 0 seconds", 1),
    ("line one\ncome back in 30s", 30),
]


@pytest.mark.parametrize(("reply", "seconds"), HINTS)
def test_greylisting_hint(reply, seconds):
    """The wait that a greylisting reply names is understood, up to an hour."""
    assert greylisting_hint(reply) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "reply",
    [
        "",
        "<a@b.example>: Recipient address rejected: Greylisted, see http://postgrey.schweikert.ch/help/b.example.html",
        "Greylisted, see http://example.com/450",
        "Greylisting in action, please come back later",
        "Greylisted, try again after some time",
        "Greylisted, please try again in a few moments.",
        "Internal resource temporarily unavailable - https://community.mimecast.com/docs/DOC-1369#451 [__8EfOo0Oty2fp09HOzgSw.us354]",
        "The mail server [192.0.2.5] has been temporarily rate limited due to IP reputation. (S843)",
        "Server busy. Please try again later from [192.0.2.4]. (AS77712344)",
        "451 4.7.1 s",
        "4.7.1 See 4.7.1",
        "[192.0.2.5 s]",
        "2001:db8::5 s",
        "greylisted until 14:30:00",
        "greylisted until 2026-03-01 14:30:00",
        "retry after 2026-03-01 14:30:00",
        "retry after 22 Nov 2026",
        "retry after Sun, 1 Mar 2026 12:30:00 +0000",
        "id 5si123-20020a5d 3s-7h 1m.example 5s@b.example",
        "message of 5 MB, limit 10M",
        "<5m@b.example>: greylisted",
        "You sent to many mails from different domains in the last 10 minutes",
        "more than 10 messages per 5 minutes",
        "100 messages a minute",
        "come back within 4 hours",
        "greylisted 20 seconds ago",
        "try again in 300 milliseconds",
        "Greylisted for XX sec.",
        "PT is short",
    ],
)
def test_no_greylisting_hint(reply):
    """Addresses, ids, dates, sizes, codes, rates and windows are no hint."""
    assert greylisting_hint(reply) is None


@given(
    st.text(st.sampled_from("0123456789:.-ms PTH[]<@ainfor"), max_size=60) | st.text(max_size=200)
)
def test_any_reply_is_read(reply):
    """Whatever a server says, what is understood of it is from a second to an hour."""
    hint = greylisting_hint(f"come back in {reply}")
    assert hint is None or SECOND <= hint <= timedelta(hours=1)


def test_a_long_reply_is_read_in_no_time():
    """Spaces and digits without end are not gone through again and again."""
    for noise in ("5 " * 50_000, "5" + " " * 100_000, "5" * 100_000, "in a" * 30_000):
        began = time.process_time()
        greylisting_hint(noise)
        assert time.process_time() - began < 0.5


@pytest.mark.parametrize("step", [0, 4, 5, 60])
def test_greylisting_hint_is_obeyed(step):
    """The hint replaces the schedule's step; jitter only lengthens it."""
    greylisted = result(category="greylisted", reply="Greylisted for 5 minutes")
    history = YOUNG._replace(step=step)
    for rand, minutes in ((0.0, 5), (1.0, 6)):
        decision = decided(greylisted, history, rand=rand)
        assert decision.next_attempt_at == NOW + timedelta(minutes=minutes)
        assert decision.step == step + 1


def test_a_hint_of_seconds_is_not_believed_for_ever():
    """After five steps, a server that still says "in 5 seconds" is asked every 5 minutes."""
    greylisted = result(category="greylisted", reply="come back in 5 seconds")
    waits = [
        decided(greylisted, YOUNG._replace(step=step), rand=0.0).next_attempt_at - NOW
        for step in (4, 5, 99)
    ]
    assert waits == [5 * SECOND, 300 * SECOND, 300 * SECOND]


def test_greylisting_without_hint_follows_the_schedule():
    """Where the schedule's step is the shorter one it holds; jitter only lengthens it."""
    greylisted = result(category="greylisted")
    assert decided(greylisted, rand=0.0).next_attempt_at == NOW + timedelta(seconds=60)
    assert decided(greylisted, rand=1.0).next_attempt_at == NOW + timedelta(seconds=72)


seconds = st.floats(0.001, 1e5)
policies = st.builds(
    RetryPolicy,
    schedule=st.lists(seconds, min_size=1, max_size=6).map(tuple),
    max_age=st.integers(1, 30_000),
)
rands = st.floats(0, 1, exclude_max=True)
temporary = st.builds(
    result,
    outcome=st.sampled_from(["deferred", "deferred", "deferred", "unknown"]),
    category=st.sampled_from(["other_temporary", "greylisted", "server_busy", "disconnected"]),
    action=st.sampled_from(["retry", "reconnect", "next_host", "slow", "pause"]),
    reply=st.sampled_from(["", "busy", "come back in 0 seconds", "come back in 2 minutes"]),
    code=st.sampled_from([None, 421, 450, 451]),
)


def most_attempts(policy):
    """Return how many attempts a delivery of ``policy`` may have, whatever servers say."""
    shortest = min(1.0 if step < 1 else step for step in policy.schedule)
    steady = max(1.0, min(0.8 * shortest, 300.0))
    # Hints are believed five times, then there is the immediate one, the first and the last.
    return 5 + 3 + int(policy.max_age / steady) + 1


@settings(max_examples=200, deadline=None)
@given(
    policy=policies,
    answers=st.lists(temporary, min_size=1, max_size=8),
    rands=st.lists(rands, min_size=1, max_size=8),
    expires=st.none() | st.floats(1, 1e5),
)
def test_it_ends_and_never_runs_hot(policy, answers, rands, expires):
    """Whatever is tried again ends, never in the past, and at once only the first time."""
    assume(policy.max_age / max(1.0, min(policy.schedule)) < 2000)
    end = None if expires is None else NOW + timedelta(seconds=expires)
    now, history, at_once, attempts = NOW, YOUNG._replace(expires_at=end), 0, 0
    while True:
        attempts += 1
        assert attempts <= most_attempts(policy)
        answer, rand = answers[attempts % len(answers)], rands[attempts % len(rands)]
        decision = decide(answer, history, policy, on_unknown="retry", now=now, rand=rand)
        if decision.next_attempt_at is None:
            break
        assert decision.step == history.step + 1
        assert decision.next_attempt_at == now or decision.next_attempt_at >= now + SECOND
        at_once += decision.next_attempt_at == now
        now = decision.next_attempt_at
        history = history._replace(step=decision.step, unknowns=decision.unknowns)
    assert at_once <= 1
    assert (decision.status, decision.category) == ("failed", "expired") or (
        decision.status == "unknown"
    )
    assert decision.unknowns <= 3
    assert now <= NOW + max(timedelta(seconds=policy.max_age), SECOND) + SECOND


@given(policy=policies, step=st.integers(0, 10**6), rand=rands)
def test_the_jitter_stays_within_twenty_per_cent(policy, step, rand):
    """At every step, and far beyond the last one."""
    own = policy.schedule[min(step, len(policy.schedule) - 1)]
    wait = wait_for(result(category="server_busy"), step, policy).drawn(rand) / SECOND
    assert wait >= 1
    assert wait == 1 or 0.8 * own - 1e-6 <= wait <= 1.2 * own + 1e-6


@given(step=st.integers(0, 100), rand=rands, wanted=st.integers(1, 10**5))
def test_every_hint_is_obeyed(step, rand, wanted):
    """Never sooner than the server asks, and never more than a fifth later than needs be."""
    greylisted = result(category="greylisted", reply=f"Greylisted for {wanted} seconds")
    history = YOUNG._replace(step=step)
    wait = (decided(greylisted, history, rand=rand).next_attempt_at - NOW) / SECOND
    least = min(wanted, 3600)
    assert wait >= least
    assert wait <= 1.2 * (least if step < 5 else max(least, 300)) + 1e-6


@given(
    answer=temporary | st.builds(result, action=st.just("split")),
    policy=policies,
    step=st.integers(0, 50),
    age=st.timedeltas(timedelta(0), timedelta(days=1)),
    left=st.none() | st.timedeltas(timedelta(days=-1), timedelta(days=1)),
    rand=rands,
)
def test_no_time_lies_in_the_past(answer, policy, step, age, left, rand):
    """At any age and with any time left, what is tried again is tried now or later."""
    history = History(
        step=step,
        unknowns=0,
        age_from=NOW - age,
        expires_at=None if left is None else NOW + left,
    )
    decision = decide(answer, history, policy, on_unknown="retry", now=NOW, rand=rand)
    over = age / SECOND >= policy.max_age or (left is not None and left <= timedelta(0))
    assert (decision.next_attempt_at is None) is over
    assert decision.settled is (over and answer.outcome != "unknown")
    if not over:
        assert decision.next_attempt_at >= NOW
        assert decision.status == "deferred"


DOCS = Path(__file__).parents[1] / "docs"


def test_the_page_on_retries_says_what_the_code_does():
    """Schedule, limits and steps are on the page as they are in the code."""
    text = " ".join((DOCS / "retries.md").read_text(encoding="utf-8").split())
    shown = re.search(
        r"([\d, ]+) minutes, then ([\d, ]+) and ([\d]+) hours, then every (\d+) hours", text
    )
    minutes, hours, last, every = shown.groups()
    steps = [int(step) * 60.0 for step in minutes.split(",")]
    steps += [int(step) * 3600.0 for step in (*hours.split(","), last, every)]
    assert tuple(steps) == STANDARD_RETRY.schedule
    assert f"{STANDARD_RETRY.max_age / 3600:.0f} hours" in text
    short = ", ".join(f"{step / 60:.0f}" for step in GREYLIST_STEPS[:-1])
    assert f"{short} and {GREYLIST_STEPS[-1] / 60:.0f} minutes" in text
    assert f"after {FIRST_NOTICE.seconds // 60} minutes" in text
    assert f"after {SECOND_NOTICE.seconds // 3600} hours" in text
    assert f"at most {greylisting_hint('for 9 hours').seconds // 3600} hour" in text
    assert f"{MAX_UNKNOWNS} such attempts" in text


def test_the_example_of_the_page_runs(mailoutbox):
    """The receiver of the page writes to the operator, once an hour and not about its own mail."""
    cache.clear()
    block = re.search(
        r"```python\n(.*?)```", (DOCS / "retries.md").read_text(encoding="utf-8"), re.DOTALL
    )
    names = {}
    exec(compile(block[1], "retries.md", "exec"), names)  # (the page's own code)
    try:
        message = Message(subject="Your order", mailer="default", tags=[])
        row = Delivery(message=message, recipient="you@example.net", status="deferred")
        signals.tell_delayed(row, Attempt(category="greylisted", reply="Come back later"))
        assert [mail.to for mail in mailoutbox] == [["ops@example.com"]]
        assert "Come back later" in mailoutbox[0].body
        signals.tell_delayed(row, None)
        assert len(mailoutbox) == 1
        cache.clear()
        row.message.tags = ["delay-notice"]
        signals.tell_delayed(row, None)
        assert len(mailoutbox) == 1
    finally:
        assert signals.delivery_delayed.disconnect(names["tell_the_operator"], sender=Delivery)
