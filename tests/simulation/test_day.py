"""At the end of a day full of trouble every message is where a careful operator would have it.

``SMTPX_DAY_SEED`` chooses another day; a failure says which one it was.
"""

from __future__ import annotations

import os
from collections import Counter
from functools import cache
from statistics import mean

import pytest
from django.core.management import call_command

from tests.simulation import servers
from tests.simulation.day import MAX_CONNECTIONS, RATE, SALE, SMALL, WHOLE, WORKERS, Day, Size
from tests.simulation.evening import Evening
from tests.simulation.oracle import END
from tests.simulation.servers import MINUTE

SEED = int(os.environ.get("SMTPX_DAY_SEED", "1"))

pytestmark = pytest.mark.django_db(transaction=True)

_LONG = [pytest.mark.exhaustive, pytest.mark.timeout(900)]


@cache
def _evening(size: Size) -> Evening:
    """Let the day pass, once for all tests."""
    with pytest.MonkeyPatch.context() as patch:
        day = Day(size, SEED)
        day.run(patch)
        return Evening(day)


@pytest.fixture(params=[SMALL, pytest.param(WHOLE, marks=_LONG)], ids=["small", "whole"])
def evening(request, transactional_db):
    """The end of a day."""
    return _evening(request.param)


def test_each_recipient_is_where_it_belongs(evening):
    """Sent, failed, or waiting for a person, as the one who knows the future has it."""
    wrong = [end for end in evening.ends if end.status not in end.expected.statuses]
    assert not wrong, evening.said(wrong)


def test_each_server_has_each_message_as_often_as_it_should(evening):
    """Once what was sent; twice only what it had taken and said nothing of; never what failed."""
    wrong = [
        end
        for end in evening.ends
        if not end.expected.taken[0] <= end.taken <= end.expected.taken[1]
    ]
    assert not wrong, evening.said(wrong)


def test_nothing_is_lost_and_nothing_is_made_up(evening):
    """There is one row a recipient, in one of the states there are, and one row an attempt."""
    assert len(evening.ends) == evening.stored == evening.addressed
    known = {"queued", "deferred", "sent", "failed", "unknown"}
    wrong = [
        end
        for end in evening.ends
        if end.status not in known
        or [one.number for one in end.tries] != list(range(1, end.attempt_count + 1))
    ]
    assert not wrong, evening.said(wrong)


def test_what_the_rows_say_is_what_the_servers_say(evening):
    """A row is sent when its server has the message, and its last attempt says so."""
    wrong = [
        end
        for end in evening.ends
        if (end.status == "sent") != (bool(end.tries) and end.tries[-1].outcome == "sent")
        or (end.status == "sent" and not end.taken)
    ]
    assert not wrong, evening.said(wrong)


def test_nothing_goes_too_early_or_too_late(evening):
    """Not before its ``send_at``, nor after it expired; and soon after its server would take it."""
    wrong = [
        end
        for end in evening.ends
        if end.taken_at is not None
        and (
            not end.expected.not_before - 1e-3 <= end.taken_at <= end.expected.by
            or (end.mail.expires_at is not None and end.taken_at > end.mail.expires_at)
        )
    ]
    assert not wrong, evening.said(wrong)


def test_nothing_is_given_up_before_its_time(evening):
    """What expired had reached its ``expires_at``, or the age that its mailer gives it."""
    wrong = []
    for end in evening.ends:
        if (end.status, end.category) != ("failed", "expired"):
            continue
        due = end.mail.send_at or end.mail.at
        ends = [due + end.mail.max_age] if end.mail.max_age else []
        ends += [end.mail.expires_at] if end.mail.expires_at else []
        if not ends or end.settled_at is None or end.settled_at < min(ends) - 1:
            wrong.append(end)
    assert not wrong, evening.said(wrong)


def test_nothing_is_stuck(evening):
    """What still waits has a time when it goes on, and that is to come; a person has the rest."""
    wrong = [
        end
        for end in evening.ends
        if (
            end.status in ("queued", "deferred")
            and (end.lane != 0 or end.next_attempt_at is None or end.next_attempt_at < END)
        )
        or (end.status in ("sent", "failed")) != (end.settled_at is not None)
        or (end.status == "unknown" and end.mail.on_unknown != "hold")
    ]
    assert not wrong, evening.said(wrong)


def test_a_full_mailbox_is_asked_by_the_schedule(evening):
    """Never sooner than the schedule's next step, less a fifth."""
    steps = [60 * minutes for minutes in (1, 2, 5, 10, 20, 40, 60, 120, 240, 240, 360)]
    asked = {
        (end.mail.number, end.recipient): [
            one.at for one in end.tries if one.category == "mailbox_full"
        ]
        for end in evening.ends
        # The last try is at the end of its time, whenever that is.
        if end.mail.max_age is None and end.mail.expires_at is None
    }
    early = {
        key: times
        for key, times in asked.items()
        for before, after, step in zip(times, times[1:], steps, strict=False)
        if after - before < 0.8 * step
    }
    assert not early, (evening, early)
    if evening.day.size is WHOLE:
        assert any(len(times) >= 8 for times in asked.values()), repr(evening)


def test_no_destination_sees_more_connections_than_allowed(evening):
    """Of all workers together; and one that bears two says so a few times only."""
    most = {place.name: place.most for place in evening.places if place.most > MAX_CONNECTIONS}
    assert not most, repr(evening)
    for place in evening.of(servers.Crowded):
        assert place.most <= 3, (evening, place.name)
        assert place.refused["connections"] <= len(evening.day.world.bursts), (evening, place.name)


def test_connections_are_not_wasted(evening):
    """A connection carries as much as it may: there are far fewer of them than messages."""
    for place in evening.of(servers.Crowded) + evening.of(servers.Picky):
        # Who is alone with a full mailbox comes alone each time.
        connected = len(place.connected) - place.refused["full"]
        assert connected * 3 < len(place.contents), (evening, place.name)


def test_a_mailers_rate_is_kept(evening):
    """In no window of that length its server saw more; and a burst takes hardly longer than that."""
    rated = evening.day.world.places["rated.example"]
    assert rated.most_within(RATE.seconds) <= RATE.count, repr(evening)
    for began in set(evening.day.world.bursts) - {SALE}:
        waits = [
            end.taken_at - began
            for end in evening.ends
            if end.place is rated
            and end.mail.at == began
            and end.mail.send_at is None
            and end.taken_at is not None
        ]
        least = len(waits) / RATE.count * RATE.seconds
        assert max(waits) <= 1.25 * least + MINUTE, (evening, began)


def test_a_server_that_asks_for_less_gets_less(evening):
    """It has to ask a few times a burst, and for a tenth of what it takes at the most."""
    for place in evening.of(servers.Limiting):
        assert place.refused["rate"] <= 8 + len(place.contents) / 10, (evening, place.name)
    if evening.day.size is WHOLE:
        assert any(place.refused["rate"] for place in evening.of(servers.Limiting)), repr(evening)


def test_a_dead_host_is_left_in_peace(evening):
    """In its hour there are the connections of the breaker's schedule: 0, 1, 3, 8, 23, 53 min."""
    knocks = {place.name: len(place.knocked) for place in evening.of(servers.Dead)}
    assert max(knocks.values()) >= 4, repr(evening)
    # The first time there may be one connection more for each other worker.
    assert max(knocks.values()) <= 6 + 2, (evening, knocks)


def test_a_refused_login_is_not_tried_again_and_again(evening):
    """Two hours of refusal cost four logins at the most, whatever waits behind them."""
    (place,) = evening.of(servers.Forgetful)
    waited = [
        end
        for end in evening.ends
        if end.place is place and place.begins <= end.mail.at < place.ends
    ]
    assert len(waited) >= 10, repr(evening)
    assert 1 <= place.refused["login"] <= 4, repr(evening)


def test_a_refused_sender_waits_for_its_person(evening):
    """Each of the two is refused once, by MAIL or by the content; others go on meanwhile."""
    (place,) = evening.of(servers.Picky)
    assert evening.day.resumed == 2, repr(evening)
    assert place.refused["sender"] <= 4, repr(evening)
    early = [at for at in place.contents if at < place.told]
    assert len(early) >= 10, repr(evening)


def test_urgent_mail_goes_first(evening):
    """Behind a rate what has priority waits less than what has not."""
    (burst,) = [mails for mails in evening.day.mails if len(mails) > 100][:1]
    at = burst[0].at
    waits = {
        priority: [
            end.taken_at - at
            for end in evening.ends
            if end.mail.mailer == "rated"
            and end.mail.at == at
            and end.mail.priority == priority
            and end.mail.send_at is None
            and end.taken_at is not None
        ]
        for priority in (5, -5)
    }
    assert mean(waits[5]) < mean(waits[-5]), repr(evening)


def test_a_killed_process_leaves_little_in_doubt(evening):
    """Of each worker no more than the twenty messages that it had marked."""
    assert evening.day.killed, repr(evening)
    messages = {number for number, _ in evening.day.in_doubt}
    assert len(messages) <= 20 * WORKERS, repr(evening)
    twice = [end for end in evening.ends if end.taken > 1 and end.place.word == "healthy"]
    assert {(end.mail.number, end.recipient) for end in twice} <= evening.day.in_doubt


def test_there_are_few_attempts_too_many(evening):
    """All in all, a fifth more than for a sender who knows the future."""
    ours = sum(end.attempt_count for end in evening.ends)
    least = sum(end.expected.attempts for end in evening.ends)
    assert ours <= 1.2 * least, evening.table()
    assert ours >= least, evening.table()


def test_a_slow_answer_keeps_no_mail(evening):
    """Mail to servers that take everything is there within minutes, whatever happens elsewhere."""
    wrong = [
        end
        for end in evening.ends
        if type(end.place) is servers.Place
        and end.status == "sent"
        # What a killed worker had claimed waits for the end of its lease.
        and end.mail.at != SALE
        and end.taken_at - (end.mail.send_at or end.mail.at) > 5 * MINUTE
    ]
    assert not wrong, evening.said(wrong)


def test_recipients_of_one_message_share_its_content(evening):
    """Whatever they waited for together: a twentieth more contents than there have to be."""
    together = Counter((end.mail.number, end.place) for end in evening.ends if end.taken)
    least = sum(-(-count // (place.rcpt_limit or count)) for (_, place), count in together.items())
    ours = sum(len(place.contents) for place in evening.places)
    assert least <= ours <= 1.05 * least, evening


@pytest.mark.exhaustive
def test_the_same_seed_is_the_same_day():
    """Whatever else the machine is busy with: a day that failed can be looked at again."""
    first = _told(_evening(SMALL))
    call_command("flush", interactive=False, verbosity=0)
    assert first == _told(_evening.__wrapped__(SMALL))


def _told(evening: Evening) -> list[tuple]:
    """Return all that happened, to each recipient."""
    return [(end.mail, end.recipient, end.status, end.taken_at, end.tries) for end in evening.ends]
