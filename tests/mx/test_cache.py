from __future__ import annotations

from django_smtpx.mx import cache as module
from django_smtpx.mx.cache import Cache


def test_values_have_an_end(clock):
    """A value is there until its time is over, and takes no room after that."""
    cache = Cache(clock)
    cache.put("a", 1, 10)
    clock.now += 9.9
    assert cache.get("a") == 1
    clock.now += 0.1
    assert cache.get("a") is None
    assert len(cache) == 0


def test_a_new_value(clock):
    """It takes the old one's place, with its own time."""
    cache = Cache(clock)
    cache.put("a", 1, 10)
    cache.put("a", 2, 20)
    clock.now += 15
    assert cache.get("a") == 2


def test_no_time(clock):
    """What may not be kept is not kept."""
    cache = Cache(clock)
    cache.put("a", 1, 0)
    assert len(cache) == 0


def test_bounded(clock):
    """Of too many, the one that was asked for longest ago goes."""
    cache = Cache(clock, most=2)
    cache.put("a", 1, 10)
    cache.put("b", 2, 10)
    assert cache.get("a") == 1
    cache.put("c", 3, 10)
    assert [cache.get(key) for key in "abc"] == [1, None, 3]


def test_forked_amid(clock):
    """A child forked while a thread held the lock waits for nobody, and begins with nothing."""
    cache = Cache(clock)
    cache.put("a", 1, 10)
    with cache._lock:
        module._start_clean()
        assert cache.get("a") is None


def test_what_is_dropped_is_gone(clock):
    """And nothing happens where it was not there."""
    cache = Cache(clock)
    cache.put("a", 1, 60)
    cache.drop("a")
    cache.drop("b")
    assert cache.get("a") is None
    assert len(cache) == 0
