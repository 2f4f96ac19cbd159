from __future__ import annotations

import threading

import pytest

from django_smtpx.smtp import tokens
from django_smtpx.smtp.tokens import TokenError, fetch, renew


class Held:
    """A source whose calls last until they are let go."""

    def __init__(self, *given):
        self.given = list(given)
        self.begun = threading.Semaphore(0)
        self.go = threading.Event()
        self.calls = 0

    def __call__(self):
        """Return the next token, or raise it."""
        self.calls += 1
        self.begun.release()
        assert self.go.wait(10)
        what = self.given.pop(0)
        if isinstance(what, Exception):
            raise what
        return what


def together(count, call):
    """Run ``call`` in threads; return a function that waits for what became of each."""
    found = []

    def run():
        try:
            found.append(call())
        except TokenError as error:
            found.append(str(error))

    threads = [threading.Thread(target=run) for _ in range(count)]
    for thread in threads:
        thread.start()

    def join():
        for thread in threads:
            thread.join(10)
        return found

    return join


class Waiting(threading.Event):
    """An event that tells when somebody waits for it."""

    waiting = None

    def wait(self, timeout=None):
        """Tell, and wait."""
        self.waiting.release()
        return super().wait(timeout)


@pytest.fixture
def waiting(monkeypatch):
    """A semaphore that counts who waits for somebody else's call."""
    semaphore = threading.Semaphore(0)
    monkeypatch.setattr(Waiting, "waiting", semaphore)
    calls = tokens._Call.__init__

    def init(self):
        calls(self)
        self.done = Waiting()

    monkeypatch.setattr(tokens._Call, "__init__", init)
    return semaphore


@pytest.mark.parametrize("given", ["one-token", ValueError("secret")])
def test_one_call_for_all(given, waiting):
    """Whoever comes while a call is under way shares it, and its failure; whoever comes later
    does not.
    """
    source = Held(given, "another")
    join = together(5, lambda: fetch(source, 10))
    for _ in range(4):
        assert waiting.acquire(timeout=10)
    source.go.set()
    expected = (
        given
        if isinstance(given, str)
        else "No bearer token could be had: its source raised ValueError"
    )
    assert join() == [expected] * 5
    assert source.calls == 1
    assert fetch(source, 10) == "another"


def test_renewed_once():
    """Of all who were refused with a token the first gets another one, and the rest the same."""
    given = ["first-one", "second-one", "third-one"]

    def source():
        return given.pop(0)

    assert fetch(source, 1) == "first-one"
    assert [renew(source, "first-one", 1) for _ in range(3)] == ["second-one"] * 3
    assert renew(source, "second-one", 1) == "third-one"
    assert given == []


def test_no_other():
    """A source that has no other token gives none."""
    assert renew(lambda: "the-same", "the-same", 1) is None


def test_renewal_is_shared(waiting):
    """Threads that are refused at the same time share one call."""
    source = Held("old-one", "new-one")
    source.go.set()
    assert fetch(source, 10) == "old-one"
    source.go.clear()
    join = together(3, lambda: renew(source, "old-one", 10))
    for _ in range(2):
        assert waiting.acquire(timeout=10)
    source.go.set()
    assert join() == ["new-one"] * 3
    assert source.calls == 2


def test_too_long():
    """Nobody waits for somebody else's call for ever."""
    source = Held("late")
    join = together(1, lambda: fetch(source, 10))
    assert source.begun.acquire(timeout=10)
    with pytest.raises(TokenError, match="takes too long"):
        fetch(source, 0)
    source.go.set()
    assert join() == ["late"]


def test_within_itself():
    """A source that needs a token of its own (a mail about its failure) is told so."""

    def source():
        return fetch(source, 10)

    with pytest.raises(TokenError, match="needs one itself"):
        fetch(source, 10)


def test_an_interruption():
    """What ends a call from outside is not swallowed, and leaves nobody waiting."""

    def source():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(source, 1)
    with pytest.raises(KeyboardInterrupt):
        fetch(source, 1)


@pytest.mark.parametrize(
    "source",
    [
        type("Slotted", (), {"__slots__": (), "__call__": lambda _: "t"})(),
        type("Unhashable", (), {"__eq__": lambda *_: True, "__call__": lambda _: "t"})(),
    ],
)
def test_a_source_of_any_kind(source):
    """A source that cannot be remembered is called all the same."""
    assert fetch(source, 1) == "t"
    assert renew(source, "old", 1) == "t"


def test_forgotten_with_its_source():
    """What is kept of a source goes with it, and does not cross a fork."""
    before = len(tokens._rooms)

    def source():
        return "t"

    fetch(source, 1)
    assert len(tokens._rooms) == before + 1
    tokens._start_clean()
    assert len(tokens._rooms) == 0
    fetch(source, 1)
    del source
    assert len(tokens._rooms) == 0
