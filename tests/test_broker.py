"""A folder as Celery's broker."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest
from kombu import Connection
from kombu.exceptions import ChannelError

from django_smtpx import broker


@pytest.fixture
def name():
    """Return a queue of this test's: kombu remembers in the process what was bound."""
    return f"queue-{uuid4().hex}"


@pytest.fixture
def connect(tmp_path):
    """Return connections to a folder of this test's."""
    for name in ("in", "control", "processed"):
        (tmp_path / name).mkdir()
    options = {
        "data_folder_in": str(tmp_path / "in"),
        "data_folder_out": str(tmp_path / "in"),
        "control_folder": str(tmp_path / "control"),
        "processed_folder": str(tmp_path / "processed"),
    }
    made = []

    def connection():
        url, path = "filesystem://", "django_smtpx.broker.Transport"
        made.append(Connection(url, transport=path, transport_options=options))
        return made[-1]

    yield connection
    for each in made:
        each.release()


def test_what_is_put_is_got(connect, name):
    """A message goes in at one end and comes out at the other, once."""
    with connect().SimpleQueue(name) as queue:
        queue.put({"hint": 1})
        message = queue.get(timeout=5)
        message.ack()
        assert message.payload == {"hint": 1}
        with pytest.raises(queue.Empty):
            queue.get(block=False)


def test_no_file_is_seen_before_it_is_whole(connect, name, tmp_path, monkeypatch):
    """When a message's file has its name, all of it is there."""
    seen = []
    replace = broker.os.replace

    def look(source, target):
        seen.append([file.name for file in (tmp_path / "in").glob("*.msg")])
        replace(source, target)
        seen.append([file.stat().st_size > 0 for file in (tmp_path / "in").glob("*.msg")])

    with connect().SimpleQueue(name) as queue:
        monkeypatch.setattr(broker.os, "replace", look)
        queue.put({"hint": 1})
    assert seen == [[], [True]]


def test_a_reader_beside_a_writer_never_finds_an_empty_message(connect, name):
    """Where kombu's own transport ends its reader now and then, this one reads them all."""
    count = 300

    def write():
        with connect().SimpleQueue(name) as queue:
            for number in range(count):
                queue.put(number)

    with connect().SimpleQueue(name) as queue:
        writer = threading.Thread(target=write)
        writer.start()
        got = []
        for _ in range(count):
            message = queue.get(timeout=20)
            message.ack()
            got.append(message.payload)
        writer.join()
    assert sorted(got) == list(range(count))


def test_queues_are_bound_once_and_by_many_at_once(connect, tmp_path):
    """No binding is lost when several processes begin together, and none is doubled."""
    channels = [connect().channel() for _ in range(8)]
    threads = [
        threading.Thread(target=channel._queue_bind, args=("x", "key", "", f"q{number % 4}"))
        for number, channel in enumerate(channels)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(bound.queue for bound in channels[0].get_table("x")) == ["q0", "q1", "q2", "q3"]
    assert channels[0].get_table("unknown") == []


def test_an_exchange_that_stays_empty_is_an_error(connect, tmp_path, monkeypatch):
    """A file that another version began, and nobody filled, is told of."""
    monkeypatch.setattr(broker, "_READ_PAUSE", 0)
    (tmp_path / "control" / "x.exchange").touch()
    with pytest.raises(ChannelError, match="is empty"):
        connect().channel().get_table("x")


def test_a_folder_that_is_not_there(connect, tmp_path):
    """A folder that is gone is an error of the channel, which names it."""
    channel = connect().channel()
    (tmp_path / "in").rmdir()
    with pytest.raises(ChannelError, match="cannot be written"):
        channel._put("celery", {})
