"""What an answer means, and the signature that goes with a question."""

from __future__ import annotations

import base64

import pytest

from django_smtpx.webhooks import Answer, Scope, decide, headers, is_dead, rest, signature
from django_smtpx.webhooks.deciding import ENOUGH, GIVE_UP, RESTS, SCHEDULE
from tests.webhooks.receiver import SECRET

KEY = base64.b64decode(SECRET.removeprefix("whsec_"))
DAY = 86400.0


def test_the_signature_is_that_of_standard_webhooks():
    """Its own libraries have this vector, and agree."""
    said = signature(KEY, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert said == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_each_secret_signs():
    """While one is changed for another, a receiver may know either."""
    said = headers([b"x" * 24, KEY], "abc", 17, b"{}")
    expected = [signature(b"x" * 24, "abc", 17, b"{}"), signature(KEY, "abc", 17, b"{}")]
    assert said["webhook-signature"].split(" ") == expected
    assert (said["webhook-id"], said["webhook-timestamp"]) == ("abc", "17")


@pytest.mark.parametrize(
    ("status", "scope"),
    [
        *((status, Scope.NONE) for status in (200, 201, 202, 204, 299)),
        *((status, Scope.EVENT) for status in (400, 413, 422, 500)),
        *((status, Scope.ENDPOINT) for status in (0, 301, 302, 307, 401, 403, 404, 429, 502, 503)),
        (410, Scope.GONE),
    ],
)
def test_what_a_status_is_about(status, scope):
    """Taken, this event, the endpoint as a whole, or never again."""
    fate = decide(Answer(status), 0, 0.0, 0.5)
    assert fate.scope is scope
    assert fate.done == (scope is Scope.NONE)


@pytest.mark.parametrize("tries", range(12))
def test_tries_are_further_and_further_apart(tries):
    """By the schedule, give or take a fifth; the last step repeats."""
    step = SCHEDULE[min(tries, len(SCHEDULE) - 1)]
    delays = [decide(Answer(500), tries, 0.0, rand).delay for rand in (0.0, 0.5, 1.0)]
    assert delays == pytest.approx([0.8 * step, step, 1.2 * step])


def test_a_wish_to_wait_is_obeyed_for_a_day():
    """``Retry-After`` makes a wait longer, never shorter, and not for ever."""
    assert decide(Answer(503, "", 600.0), 0, 0.0, 0.5).delay == 600.0
    assert decide(Answer(503, "", 1.0), 0, 0.0, 0.5).delay == SCHEDULE[0]
    assert decide(Answer(503, "", 9e9), 0, 0.0, 0.5).delay == DAY
    assert rest(decide(Answer(429), 0, 0.0, 0.5), 1, 600.0) == 600.0


def test_an_event_that_nobody_takes_is_given_up():
    """After three days, and only where it is the event that is disliked."""
    assert decide(Answer(400), 9, GIVE_UP, 0.5).given_up
    assert not decide(Answer(400), 9, GIVE_UP - 1, 0.5).given_up
    assert not decide(Answer(503), 99, 9 * GIVE_UP, 0.5).given_up


def test_an_endpoint_rests_longer_and_longer():
    """At once where it is away; where it only dislikes what it got, after a few."""
    away, disliked = decide(Answer(0), 0, 0.0, 0.5), decide(Answer(500), 0, 0.0, 0.5)
    assert [rest(away, count, 0.0) for count in range(1, 9)] == [*RESTS, RESTS[-1], RESTS[-1]]
    assert [rest(disliked, count, 0.0) for count in range(1, 4)] == [0.0, 0.0, RESTS[2]]


def test_when_an_endpoint_is_dead():
    """When it was away for long, says so itself, or dislikes ever so many."""
    away, disliked = decide(Answer(0), 0, 0.0, 0.5), decide(Answer(500), 0, 0.0, 0.5)
    assert is_dead(decide(Answer(410), 0, 0.0, 0.5), 1, 0.0, DAY)
    assert is_dead(away, 3, DAY, DAY)
    assert not is_dead(away, 300, DAY - 1, DAY)
    assert is_dead(disliked, ENOUGH, DAY, DAY)
    assert not is_dead(disliked, ENOUGH - 1, 2 * DAY, DAY)
