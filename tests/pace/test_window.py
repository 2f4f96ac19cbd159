"""How many contents may leave now."""

from __future__ import annotations

import heapq
import math

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from django_smtpx.pace import Grant, Rate, Window

NOW = 1_800_000_000.0
RATES = ["1/s", "3/s", "14/s", "500/m", "100/h", "10000/d"]

texts = st.builds(
    "{}/{}".format,
    st.one_of(st.integers(1, 60), st.integers(1, 999_999_999)),
    st.sampled_from("smhd"),
)
rates = st.one_of(st.sampled_from(RATES), texts).map(Rate.parse)
moments = st.floats(0, 4e9, allow_nan=False)


def worst(leaves, seconds):
    """Return the largest number that left in any time of that length, to the microsecond."""
    seconds -= 1e-6
    ordered = sorted(leaves)
    most = total = first = 0
    for time, count in ordered:
        total += count
        while ordered[first][0] <= time - seconds:
            total -= ordered[first][1]
            first += 1
        most = max(most, total)
    return most


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("14/s", 14, 1), ("500/m", 500, 60), ("100/h", 100, 3600), ("10000/d", 10000, 86400)],
)
def test_a_rate_is_read_and_written(text, count, seconds):
    """Each of the four units is read, and the rate writes itself back."""
    rate = Rate.parse(text)
    assert (rate.count, rate.seconds, str(rate)) == (count, seconds, text)


@given(rates)
def test_any_rate_comes_back(rate):
    """What a rate writes is the same rate."""
    assert Rate.parse(str(rate)) == rate


def test_a_length_without_a_unit_is_written_in_seconds():
    """A rate that nobody configured can be shown all the same."""
    assert str(Rate(7, 10.0)) == "7/10s"


@pytest.mark.parametrize(
    "text", ["", "0/s", "1", "1/", "/s", "-1/s", "1.5/s", " 1/s", "1/S", "1/w", "١/s", "1/s\n"]
)
def test_what_is_no_rate_is_refused(text):
    """The text of the error shows what is wrong and what is right."""
    with pytest.raises(ValueError, match="such as '14/s'"):
        Rate.parse(text)


@pytest.mark.parametrize(
    ("count", "seconds"),
    [
        (0, 1),
        (-1, 1),
        (1.0, 1),
        (True, 1),
        (10**9, 1),
        (1, 0),
        (1, 0.5),
        (1, math.inf),
        (1, math.nan),
    ],
)
def test_a_rate_out_of_range_is_refused(count, seconds):
    """A rate that is none cannot be made at all."""
    with pytest.raises(ValueError, match="of a rate must be"):
        Rate(count, seconds)


@given(rates, moments)
def test_a_full_count_may_go_at_once(rate, at):
    """An empty window lets a full count go, and then nothing."""
    grant, window = Window(rate).take(at, rate.count + 5)
    assert grant.count == rate.count
    assert window.free(at) == 0
    assert window.take(at, 1) == (Grant(0, at), window)


@given(rates, moments, st.floats(0, 1))
def test_a_grant_lives_as_long_as_it_says(rate, at, share):
    """A grant ends half a bucket after it was given at the earliest, or after the life asked for."""
    grant, _ = Window(rate).take(at, 1, life=share * rate.seconds)
    width = rate.seconds / 50
    least = max(width / 2, min(share, 0.5) * rate.seconds)
    assert least - 1e-5 <= grant.until - at <= least + width + 1e-5


@st.composite
def demands(draw):
    """Draw a rate and the calls of workers: when, how many, how late, by a clock how far off."""
    rate = draw(rates)
    width = rate.seconds / 50
    at = draw(st.floats(1e9, 3e9))
    calls = []
    for _ in range(draw(st.integers(1, 60))):
        step = st.one_of(st.just(0.0), st.floats(0, 3 * width), st.floats(0, rate.seconds * 1.2))
        at += draw(step)
        skew = draw(st.one_of(st.just(0.0), st.floats(-5 * width, 0)))
        wanted = draw(st.one_of(st.integers(1, 3), st.integers(1, rate.count), st.just(rate.count)))
        calls.append((at, skew, wanted, draw(st.floats(0, 1)), draw(st.floats(0, 0.2))))
    return rate, calls


@given(demands())
def test_never_more_than_the_rate(demand):
    """In no time of that length leave more than the rate says, whenever in its grant a content goes."""
    rate, calls = demand
    window, leaves = Window(rate), []
    for at, _, wanted, late, life in calls:
        grant, window = window.take(at, wanted, life=life * rate.seconds)
        window = Window.load(window.dump(), rate)
        leaves.append(
            (min(at + late * (grant.until - at), math.nextafter(grant.until, 0)), grant.count)
        )
    assert worst(leaves, rate.seconds) <= rate.count


@given(demands())
def test_a_clock_that_runs_back_a_little_breaks_nothing(demand):
    """By a clock that runs back between workers, what was granted is within the rate all the same."""
    rate, calls = demand
    window, leaves = Window(rate), []
    for at, skew, wanted, _, _ in calls:
        grant, window = window.take(at + skew, wanted)
        leaves.append((at + skew, grant.count))
    assert worst(leaves, rate.seconds) <= rate.count


@settings(max_examples=30)
@given(st.sampled_from(RATES).map(Rate.parse), st.integers(2, 8), st.randoms(use_true_random=False))
def test_many_workers_share_a_rate(rate, workers, random):
    """Workers that come when they can, late and in batches, and give back what they are too late for,
    send nearly the rate together and never more.
    """
    width = rate.seconds / 50
    text, leaves = "", []
    calls = [(NOW + random.random() * width, worker) for worker in range(workers)]
    while (call := heapq.heappop(calls))[0] < NOW + 6 * rate.seconds:
        at, worker = call
        window = Window.load(text, rate)
        grant, taken = window.take(at, random.randint(1, max(20, rate.count // 20)))
        again = window.next_at(at)
        if grant.count:
            again = at + random.random() * width
            sent_in_time = again < grant.until
            unused = 0 if sent_in_time else grant.count
            text = Window.load(taken.dump(), rate).give_back(grant, unused).dump()
            leaves += [(again, grant.count)] if sent_in_time else []
        heapq.heappush(calls, (again + random.random() * width / 10, worker))
    assert worst(leaves, rate.seconds) <= rate.count
    assert sum(count for _, count in leaves) >= 0.95 * 6 * rate.count


@given(demands(), st.floats(0, 1), st.data())
def test_the_next_time_is_the_earliest(demand, share, data):
    """Just before it the wanted number may not go, and at it they may."""
    rate, calls = demand
    window = Window(rate)
    for at, skew, wanted, _, _ in calls:
        _, window = window.take(at + skew, wanted)
    wanted = data.draw(st.integers(1, rate.count * 2))
    moment = at + share * rate.seconds
    ready = window.next_at(moment, wanted)
    assert moment <= ready <= moment + rate.seconds * 1.05
    assert window.free(ready) >= min(wanted, rate.count)
    if ready > moment:
        assert window.free(math.nextafter(ready, 0)) < min(wanted, rate.count)


def sent(rate, length, latency, wanted):
    """Return the throughput of workers that never lack mail, as a part of the rate."""
    window, at, leaves = Window(rate), NOW, []
    while at < NOW + length * rate.seconds:
        at = window.next_at(at) + latency * rate.seconds
        grant, window = window.take(at, wanted)
        leaves.append((at, grant.count))
    assert worst(leaves, rate.seconds) <= rate.count
    first, last = leaves[0][0], leaves[-1][0]
    # What went with the last grant belongs to the time behind it.
    return sum(count for _, count in leaves[:-1]) / (last - first) * rate.seconds / rate.count


@pytest.mark.parametrize("wanted", [1, 20, 10**9])
@pytest.mark.parametrize("rate", RATES)
def test_the_throughput_is_nearly_the_rate(rate, wanted):
    """Workers that never lack mail send 95 % of the rate and more."""
    assert 0.98 < sent(Rate.parse(rate), 20, 0, min(wanted, 500)) <= 1


@pytest.mark.parametrize("rate", ["1/s", "14/s"])
def test_a_worker_that_comes_late_costs_little(rate):
    """Up to half a bucket (10 ms of a second) costs nothing, up to three halves one bucket more."""
    parsed = Rate.parse(rate)
    assert sent(parsed, 20, 0.009, parsed.count) > 0.98
    assert sent(parsed, 20, 0.025, parsed.count) > 0.96


@given(demands())
def test_what_is_written_is_read(demand):
    """A window comes back from its text, which is short and the only one for it."""
    rate, calls = demand
    window = Window(rate)
    for at, skew, wanted, _, _ in calls:
        _, window = window.take(at + skew, wanted)
        window = window.force(at, wanted)
        text = window.dump()
        assert len(text) <= 2000
        assert Window.load(text, rate) == window
        assert Window.load(text, rate).dump() == text


def test_the_longest_text_is_short_enough():
    """With the highest number in every bucket that can be known, the text fits."""
    window = Window(Rate(999_999_999, 86400.0))
    for bucket in range(400):
        window = window.force(NOW + bucket * 1728, 10**12)
        # Now and then by a clock half a length behind.
        window = window.force(NOW + (bucket - 25) * 1728, 10**12)
    assert 500 < len(window.dump()) <= 2000


@given(
    st.one_of(st.text(), st.from_regex(r"\A[0-9.]{1,12}:[0-9]{1,14}:[0-9,]{0,40}\Z")),
    rates,
    moments,
)
@example("1.0:5:3", Rate(1, 1.0), NOW)
@example("0.0:5:3", Rate(1, 1.0), NOW)
@example("999999999.9999999999999999:999999999999:9", Rate(1, 1.0), NOW)
def test_any_text_can_be_read(text, rate, at):
    """What is no window is an empty one, and whatever was read can be used."""
    window = Window.load(text, rate)
    assert 0 <= window.free(at) <= rate.count
    assert Window.load(window.dump(), rate) == window


def test_another_count_of_the_same_length_keeps_what_left():
    """A rate that is lowered counts what left under the higher one."""
    _, window = Window(Rate(10, 60.0)).take(NOW, 8)
    assert Window.load(window.dump(), Rate(9, 60.0)).free(NOW) == 1
    assert Window.load(window.dump(), Rate(5, 60.0)).free(NOW) == 0
    assert Window.load(window.dump(), Rate(5, 60.0)).next_at(NOW) == NOW + 61.2


@given(demands(), rates)
def test_another_length_keeps_what_left(demand, other):
    """A rate of another length never forgets what left within its own, and settles at once."""
    rate, calls = demand
    window = Window(rate)
    for at, skew, wanted, _, _ in calls:
        _, window = window.take(at + skew, wanted)
    width = rate.seconds / 50
    reach = min(rate.seconds, other.seconds) * 0.98
    recent = sum(count for bucket, count in window.counts if at - reach < bucket * width <= at)
    read = Window.load(window.dump(), other)
    if other.seconds >= rate.seconds:
        assert read.free(at) <= max(0, other.count - recent)
    again = Window.load(Window.load(read.dump(), rate).dump(), other)
    assert Window.load(Window.load(again.dump(), rate).dump(), other) == again


def test_what_is_given_back_may_go_again():
    """Contents of a grant that did not leave count no more; more than it had are not given back."""
    rate = Rate(10, 1.0)
    grant, window = Window(rate).take(NOW, 4)
    _, window = window.take(NOW, 3)
    assert window.give_back(grant, 3).free(NOW) == 6
    assert window.give_back(grant, 99).free(NOW) == 7
    assert window.give_back(grant, -1) == window
    assert window.give_back(Grant(0, NOW), 5) == window


def test_what_is_given_back_too_late_changes_nothing():
    """A grant whose bucket is forgotten, or never was, is void."""
    grant, window = Window(Rate(10, 1.0)).take(NOW, 4)
    _, later = window.take(NOW + 100, 2)
    assert later.give_back(grant, 4) == later
    assert later.give_back(Grant(4, NOW + 100.013), 4) == later


@given(rates, moments, st.data())
def test_giving_all_back_leaves_no_trace(rate, at, data):
    """A grant that is given back whole leaves the window as it was."""
    grant, window = Window(rate).take(at, data.draw(st.integers(1, rate.count)))
    assert window.give_back(grant, grant.count) == Window(rate)


def test_what_does_not_wait_is_counted():
    """Contents that are forced count beyond the rate, and the others wait for them."""
    window = Window(Rate(2, 1.0)).force(NOW, 5)
    assert window.free(NOW) == 0
    assert window.next_at(NOW) == pytest.approx(NOW + 1.02)
    assert window.force(NOW, 0) == window


def test_a_clock_that_is_set_back_does_not_stop_the_mail():
    """What was counted more than a whole length ahead of the clock is void."""
    _, window = Window(Rate(2, 60.0)).take(NOW + 3600, 2)
    assert window.free(NOW) == 2
    assert window.next_at(NOW) == NOW
    grant, window = window.take(NOW, 1)
    assert (grant.count, window.free(NOW), len(window.counts)) == (1, 1, 1)
