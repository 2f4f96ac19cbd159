"""Where contents are kept, and how they are read."""

from __future__ import annotations

import io
from uuid import UUID

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.db import OperationalError, connection, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.test import override_settings
from django.test.utils import CaptureQueriesContext

from django_smtpx import ledger
from django_smtpx.ledger import keeping, storing
from django_smtpx.models import Content, ContentAway, ContentPart, Message
from django_smtpx.testing import real_queue
from tests.factories import claimed, composed, default_connection, stored
from tests.storages import Fault, configured, content, mail_storage

pytestmark = pytest.mark.django_db

LARGE = content(5000)


@pytest.fixture
def storage():
    """Return the site's storage for what is larger than 1000 bytes."""
    with override_settings(**configured()):
        yield mail_storage()


@pytest.fixture
def in_parts(monkeypatch, settings):
    """Let what is larger than 1000 bytes go into the database, in parts of 400."""
    monkeypatch.setattr(keeping, "PART", 400)
    settings.SMTPX_CONTENT_INLINE_MAX = 1000


def opened(message):
    """Return the content of a message as a claim reads it."""
    _, rows = claimed()
    return ledger.contents(rows)[message.pk]


def test_a_small_content_is_in_its_row(storage):
    """Up to the maximum, which counts in, nothing is kept apart."""
    message = stored(content=b"x" * 1000)
    assert opened(message) == b"x" * 1000
    assert storage.names == []
    assert message.content == b"x" * 1000


def test_a_large_content_is_a_file(storage):
    """Its name is made of the message's uuid and the day, and of nothing that is in the mail."""
    message = stored("to@example.com", content=LARGE, subject="A secret")
    (name,) = storage.names
    top, site, day, last = name.split("/")
    assert (top, UUID(last)) == ("smtpx", message.uuid)
    assert f"{top}/{site}" == keeping.folder()
    assert day == message.created_at.date().isoformat()
    row = Content.objects.get()
    assert (bytes(row.data), row.large_size, row.storage, row.name) == (b"", 5000, "mail", name)
    assert Message.objects.get().content == LARGE


def test_a_large_content_without_a_storage_is_in_parts(in_parts):
    """No row, and so no statement, carries more than a part of it."""
    message = stored(content=LARGE)
    sizes = [len(part.data) for part in ContentPart.objects.order_by("offset")]
    assert sizes == [400] * 12 + [200]
    row = Content.objects.get()
    assert (bytes(row.data), row.large_size, row.storage, row.name) == (b"", 5000, "", "")
    assert message.content == LARGE
    assert Message.objects.get().content == LARGE


def test_another_site_has_another_folder(settings):
    """A copy of a site for tests does not take the files of the real one for its own."""
    ours = keeping.folder()
    settings.SECRET_KEY = "another"
    assert keeping.folder() != ours


@pytest.mark.parametrize("where", ["storage", "in_parts"])
def test_a_large_content_is_read_block_by_block(where, request):
    """It can be read from anywhere, any number of times, and at the same time by several."""
    request.getfixturevalue(where)
    found = opened(stored(content=LARGE))
    with found.open() as one, found.open() as other:
        assert one.read(700) == LARGE[:700]
        assert other.read() == LARGE
        assert one.read(700) == LARGE[700:1400]
        assert one.seek(-6, io.SEEK_END) == 4994
        assert one.read() == LARGE[-6:]
        assert one.read() == b""
        one.seek(10)
        one.seek(5, io.SEEK_CUR)
        assert (one.tell(), one.read(3)) == (15, LARGE[15:18])


def test_a_claim_loads_no_large_content(storage):
    """What it reads of one is its row, in the query that reads the small ones."""
    small, large = stored(content=b"small"), stored(content=LARGE)
    _, rows = claimed()
    with CaptureQueriesContext(connection) as queries:
        found = ledger.contents(rows)
    assert len(queries) == 1
    assert found[small.pk] == b"small"
    assert isinstance(found[large.pk], Content)
    assert storage.opened == []


@pytest.mark.parametrize("count", [1, 20])
def test_small_mail_does_not_pay(count, storage, django_assert_max_num_queries):
    """As many statements as without a storage, however many mails there are."""
    with django_assert_max_num_queries(5):
        ledger.store([("default", composed()) for _ in range(count)])


def test_no_statement_carries_too_much(monkeypatch):
    """Many contents go in statements of a bounded size; one that is larger goes alone."""
    monkeypatch.setattr(keeping, "_STATEMENT", 100)
    mails = [("default", composed(content=b"x" * size)) for size in (40, 40, 40, 150, 10, 10)]
    with CaptureQueriesContext(connection) as queries:
        entries = ledger.store(mails)
    table = Content._meta.db_table
    inserts = [
        query for query in queries if f"INTO {connection.ops.quote_name(table)}" in query["sql"]
    ]
    assert len(inserts) == 4
    assert [len(entry.message.content) for entry in entries] == [40, 40, 40, 150, 10, 10]


@pytest.mark.parametrize(("before", "after"), [("mail", None), (None, "mail")])
def test_what_is_stored_stays_readable_when_the_settings_change(storage, before, after):
    """A row says where its content is, whatever the site says by now."""
    with override_settings(SMTPX_CONTENT_STORAGE=before):
        message = stored(content=LARGE)
    with override_settings(SMTPX_CONTENT_STORAGE=after, SMTPX_CONTENT_INLINE_MAX=10_000):
        assert Message.objects.get().content == LARGE
        assert opened(message).read() == LARGE


def test_the_file_is_there_before_the_rows(storage, monkeypatch):
    """Whoever sees the row finds the file."""
    insert = storing._insert_messages

    def look(messages, using):
        assert [name[-36:] for name in storage.names] == [str(messages[0].uuid)]
        return insert(messages, using)

    monkeypatch.setattr(storing, "_insert_messages", look)
    stored(content=LARGE)
    assert len(storage.names) == 1


def test_what_cannot_be_stored_leaves_no_file(storage, monkeypatch):
    """Where it is sure that no row was committed, the file goes again."""

    def fail(*args):
        raise OperationalError("the disk is full")

    monkeypatch.setattr(storing, "_deliveries", fail)
    with pytest.raises(OperationalError):
        stored(content=LARGE)
    assert storage.names == []
    assert not Message.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_commit_without_an_answer_leaves_the_file(storage, monkeypatch):
    """Nobody knows whether the rows are there: a row without its file would be a lost mail."""
    commit = BaseDatabaseWrapper._commit

    def answer_is_lost(database):
        commit(database)
        raise OperationalError("server closed the connection")

    with monkeypatch.context() as patch:
        patch.setattr(BaseDatabaseWrapper, "_commit", answer_is_lost)
        with pytest.raises(OperationalError):
            stored(content=LARGE)
    assert len(storage.names) == 1
    assert Message.objects.get().content == LARGE


@pytest.mark.django_db(transaction=True)
def test_a_callers_rollback_leaves_a_file_and_no_row(storage):
    """Nothing tells of it; the file is left over, and goes a day later."""
    with pytest.raises(RuntimeError), transaction.atomic():
        stored(content=LARGE)
        raise RuntimeError
    assert not Message.objects.exists()
    assert len(storage.names) == 1


def test_a_duplicate_leaves_no_file(storage):
    """The second mail with a key is the first one, and so is its content."""
    for _ in range(2):
        message = stored(content=LARGE, idempotency_key="k")
    (name,) = storage.names
    assert name == Content.objects.get().name
    assert message.content == LARGE


def test_a_storage_that_takes_nothing_stores_nothing(storage):
    """All or none: what was written for the first mail goes again, and the error is its own."""
    mails = [("default", composed(content=LARGE)) for _ in range(2)]
    storage.room = 1
    with pytest.raises(Fault, match="full"):
        ledger.store(mails)
    assert storage.names == []
    assert not Message.objects.exists()


def test_fail_silently_covers_the_storage(storage, caplog):
    """In queue mode a mail that cannot be stored is logged and not counted, where that is asked."""
    storage.fails.add("save")
    mail = EmailMessage("s", "x" * 2000, "me@example.com", ["you@example.com"])
    with real_queue(host="127.0.0.1", port=1, fail_silently=True):
        assert default_connection().send_messages([mail]) == 0
    assert "no save today" in caplog.text


def test_a_file_that_is_gone_is_gone(storage):
    """As if it had been purged."""
    message = stored(content=LARGE)
    storage.delete(storage.names[0])
    with pytest.raises(FileNotFoundError):
        opened(message).open()
    assert message.content is None


def test_parts_that_are_gone_are_gone(in_parts):
    """As if it had been purged."""
    message = stored(content=LARGE)
    ContentPart.objects.all().delete()
    with pytest.raises(FileNotFoundError):
        opened(message).open()
    assert message.content is None


@pytest.mark.parametrize("where", ["storage", "in_parts"])
def test_what_is_there_in_part_is_not_taken_for_all(where, request):
    """A content that lacks its end is not sent without it."""
    storage = request.getfixturevalue(where)
    message = stored(content=LARGE)
    if storage is None:
        ContentPart.objects.filter(offset__gte=4000).delete()
    else:
        name = storage.names[0]
        storage.delete(name)
        storage.save(name, io.BytesIO(LARGE[:4000]))
    with opened(message).open() as file, pytest.raises(ContentAway, match=r"4000 bytes .* of 5000"):
        file.read()


def test_a_storage_that_is_away_says_so(storage):
    """Whatever it raises, when it is opened or later, is one kind of error, with its words."""
    message = stored(content=LARGE)
    found = opened(message)
    storage.fails.add("open")
    with pytest.raises(ContentAway, match="the storage 'mail' does not give it: no open today"):
        found.open()
    with pytest.raises(ContentAway):
        _ = message.content
    storage.fails.clear()
    storage.breaks_after = 3000
    with found.open() as file, pytest.raises(ContentAway, match="the line is cut"):
        file.read()
    assert all(file.closed for file in storage.opened)


def test_a_storage_that_is_not_configured_any_more_is_away(storage):
    """It may come back with the settings; the row does not go for it."""
    found = opened(stored(content=LARGE))
    with (
        override_settings(STORAGES={}, SMTPX_CONTENT_STORAGE=None),
        pytest.raises(ContentAway, match="in the storage 'mail', and STORAGES has none"),
    ):
        found.open()
    assert Content.objects.get().storage == "mail"


def test_a_database_that_is_away_says_so(in_parts, monkeypatch):
    """A part that cannot be read is no end."""
    found = opened(stored(content=LARGE))
    with found.open() as file:
        file.read(10)

        def fail(*args):
            raise OperationalError("gone")

        with connection.execute_wrapper(fail), pytest.raises(ContentAway, match="gone"):
            file.read()


def test_files_that_can_only_be_read_forward(storage):
    """They are copied to a temporary file first: a content is read twice."""
    found = opened(stored(content=LARGE))
    storage.forward_only = True
    with found.open() as file:
        assert file.read() == LARGE
        file.seek(0)
        assert file.read() == LARGE
    assert all(file.closed for file in storage.opened)


def test_whoever_reads_is_told_before_each_block(in_parts):
    """So that a lease can be renewed while a storage takes its time."""
    found = opened(stored(content=LARGE))
    told = []
    with found.open(lambda: told.append(1)) as file:
        file.read()
    assert len(told) >= 13


def test_the_storage_has_to_be_there(settings):
    """An alias that STORAGES does not have is told by name, with what there is."""
    settings.SMTPX_CONTENT_STORAGE = "mial"
    settings.SMTPX_CONTENT_INLINE_MAX = 10
    with pytest.raises(ImproperlyConfigured, match=r"SMTPX_CONTENT_STORAGE .*not 'mial'"):
        stored()
    assert not Message.objects.exists()


def test_small_content_opens_as_well():
    """Whoever has a row of either kind can read it as a file."""
    stored(content=b"small")
    row = Content.objects.get()
    with row.open() as file:
        assert file.read() == b"small"
    assert row.read() == b"small"
    assert str(ContentPart(content=row, offset=5)) == f"{row.pk} from 5"
