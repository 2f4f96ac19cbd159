"""What the fuzzer has found stays mended, and hostile input has no more room than it is given."""

from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from django_smtpx.smtp import parser
from django_smtpx.smtp.errors import ProtocolError, ServerDisconnected
from django_smtpx.smtp.protocol import Protocol
from tests.smtp.talk import LOGIN, envelope, flush, opened, options

targets = pytest.importorskip("fuzz.targets", reason="The fuzzer is not beside the tests here.")
source = pytest.importorskip("fuzz.source")

TARGETS = sorted(targets.TARGETS)
LINES = (
    b"220 mx.example\r\n", b"250 2.1.0 ok\r\n", b"250-more\r\n", b"250-PIPELINING\r\n250-CHUNKING\r\n",
    b"354 go\r\n", b"550 5.1.1 no\r\n", b"421 bye\r\n", b"334 \r\n", b"235 ok\r\n", b"452 4.5.3 many\r\n",
    b"250 AUTH PLAIN LOGIN\r\n", b"\r\n", b"\n", b"\r", b"250", b".\r\n", b"\x16\x03\x01",
)  # fmt: skip
MEBIBYTE = 1024 * 1024


@pytest.mark.parametrize("target", TARGETS)
def test_what_is_kept(target):
    """Every seed, and every input that once broke something, passes."""
    found = targets.kept(target)
    assert found
    for path in found:
        targets.TARGETS[target](path.read_bytes())


@pytest.mark.parametrize("target", TARGETS)
def test_hypothesis(target):
    """Inputs that hypothesis makes up pass, too."""
    said = st.one_of(st.binary(max_size=200), st.lists(st.sampled_from(LINES)).map(b"".join))
    choices = st.lists(st.sampled_from([0, 0, 7, 7, *range(255)]), max_size=60).map(bytes)
    inputs = st.builds(lambda *parts: source.SEPARATOR.join(parts), said, choices)

    @settings(
        max_examples=100,
        deadline=None,
        database=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(inputs)
    def run(data: bytes) -> None:
        targets.TARGETS[target](data)

    run()


def until_refused(protocol: Protocol, block: bytes, most: int = 64 * MEBIBYTE) -> int:
    """Feed ``block`` again and again, up to ``most`` bytes; return how many it took to the end."""
    fed = 0
    while protocol.failure is None and fed < most:
        protocol.receive_data(block)
        flush(protocol)
        fed += len(block)
    return fed


def greeted() -> Protocol:
    """Return a protocol that awaits its greeting."""
    return Protocol(options())


def awaiting_ehlo() -> Protocol:
    """Return a protocol that awaits the reply to EHLO."""
    protocol = greeted()
    protocol.receive_data(b"220 mx.example\r\n")
    flush(protocol)
    return protocol


def awaiting_auth() -> Protocol:
    """Return a protocol that has said AUTH."""
    protocol = opened(
        b"250-mx.example\r\n250 AUTH LOGIN\r\n", credential=LOGIN, allow_plaintext_auth=True
    )
    assert protocol.owed == "AUTH"
    return protocol


def awaiting_mail() -> Protocol:
    """Return a protocol that awaits the replies to a group of commands."""
    protocol = opened()
    protocol.begin(protocol.prepare(envelope()))
    flush(protocol)
    return protocol


STATES = [greeted, awaiting_ehlo, awaiting_auth, awaiting_mail]
ENDLESS = {
    "line": b"x" * 4096,
    "text": b"250 " + b"x" * 4092,
    "reply": b"250-more\r\n" * 400,
    "wide": (b"250-" + b"x" * 8000 + b"\r\n") * 2,
    "challenge": b"334-" + b"QUJD" * 1000 + b"\r\n",
    "challenges": b"334 " + b"QUJD" * 2000 + b"\r\n",
    "empty": b"\r\n" * 100,
    "drip": b"2",
}


@pytest.mark.parametrize("state", STATES, ids=lambda state: state.__name__)
@pytest.mark.parametrize("kind", ENDLESS)
def test_endless_reply(state, kind):
    """However a server goes on and on, it is left within the caps, and little is held of it."""
    protocol, block = state(), ENDLESS[kind]
    tracemalloc.start()
    try:
        fed = until_refused(protocol, block)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(protocol.failure, ProtocolError)
    assert fed <= 2 * (parser.TOTAL_LIMIT + len(block))
    assert peak < MEBIBYTE, peak


def test_blocks_behind_the_end_are_not_held():
    """What comes behind the end of a dialogue is not kept."""
    protocol = awaiting_mail()
    protocol.receive_eof()
    tracemalloc.start()
    try:
        for _ in range(1024):
            protocol.receive_data(b"250-x\r\n" * 9362)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert isinstance(protocol.failure, ServerDisconnected)
    assert peak < MEBIBYTE, peak
