"""Large contents on their way from where they are kept to a server."""

from __future__ import annotations

import threading
from datetime import timedelta

import pytest
from django.core.mail import EmailMessage
from django.db import connection, transaction
from django.test import override_settings
from django.utils import timezone

from django_smtpx import delivery, ledger
from django_smtpx.compose import compose
from django_smtpx.config import get_mailer
from django_smtpx.delivery import chunk as chunk_module
from django_smtpx.delivery import contents as contents_module
from django_smtpx.delivery.immediate import deliver_now
from django_smtpx.delivery.opening import opened, tls_optional
from django_smtpx.ledger import keeping
from django_smtpx.models import Content, ContentPart, Delivery, Message
from django_smtpx.smtp import Envelope, SMTPError
from django_smtpx.testing import Reply, ScriptedServer, deliver, real_queue
from tests.factories import composed, stored
from tests.storages import configured, content, mail_storage

pytestmark = pytest.mark.django_db

LARGE = content(20_000)
OTHER = content(30_000, b"other")


@pytest.fixture(autouse=True)
def _small_blocks(monkeypatch):
    """What is larger than 1000 bytes is large here, and read 512 bytes at a time."""
    monkeypatch.setattr("django_smtpx.smtp.content.BLOCK", 512)
    monkeypatch.setattr("django_smtpx.smtp.content.WHOLE_MAX", 1000)
    monkeypatch.setattr("django_smtpx.models.content._BUFFER", 512)
    monkeypatch.setattr(keeping, "PART", 700)


@pytest.fixture(params=["mail", None], ids=["file", "parts"])
def kept(request):
    """Keep large contents in files, and then in parts; return the storage, if there is one."""
    with override_settings(**configured(SMTPX_CONTENT_STORAGE=request.param)):
        yield mail_storage() if request.param else None


@pytest.fixture
def storage():
    """Keep large contents in files; return their storage."""
    with override_settings(**configured()):
        yield mail_storage()


def again():
    """Let whatever waits for its next attempt be due now."""
    at = timezone.now()
    waiting = Delivery.objects.filter(status="deferred")
    waiting.update(next_attempt_at=at - timedelta(seconds=1))
    ledger.promote(at)


def rows():
    """Return status and reply of each delivery."""
    return list(Delivery.objects.order_by("pk").values_list("status", "reply"))


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_large_ones_among_small_ones(kept, chunking):
    """Each arrives as it was stored, over one connection, in the order of their storing."""
    mails = [composed(), composed(content=LARGE), composed(), composed(content=OTHER), composed()]
    ledger.store([("default", mail) for mail in mails])
    with ScriptedServer(chunking=chunking) as server, real_queue(server):
        assert deliver() == 5
        assert [message.content for message in server.messages] == [m.content for m in mails]
        assert len(server.sessions) == 1
    if kept:
        assert all(file.closed for file in kept.opened)
        assert max(file.most for file in kept.opened) <= 512


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_a_retry_sends_the_same_bytes(kept, chunking):
    """After a deferral in the middle, or behind all of it, it goes once more, as it was."""
    stored(content=LARGE)
    later = Reply("451 4.3.0 later")
    script = {"BDAT": [None, None, later]} if chunking else {"EOD": [later]}
    with ScriptedServer(script, chunking=chunking) as server, real_queue(server):
        deliver()
        assert rows() == [("deferred", "later")]
        again()
        deliver()
        assert server.messages[-1].content == LARGE
    assert [status for status, _ in rows()] == ["sent"]


def test_many_recipients_are_several_transactions(kept):
    """Each of them reads the content from its beginning."""
    stored(*(f"{number}@example.com" for number in range(230)), content=LARGE)
    with ScriptedServer() as server, real_queue(server):
        assert deliver() == 230
        assert [len(message.recipients) for message in server.messages] == [100, 100, 30]
        assert {message.content for message in server.messages} == {LARGE}


@pytest.mark.django_db(transaction=True)
def test_two_drains_read_one_content_at_once(storage):
    """A message that goes straight to two domains is read twice at the same time."""
    stored("a@example.com", "b@example.net", content=LARGE)
    Delivery.objects.filter(recipient="b@example.net").update(mailer="other")
    met = threading.Barrier(2, timeout=30)
    storage.look = lambda begun, place: met.wait() if place == 5120 else None
    with ScriptedServer() as one, ScriptedServer() as two:
        other = {"host": two.host, "port": two.port, "security": "none"}
        with real_queue(one, mailers={"other": other}):
            drains = [
                threading.Thread(target=_drain_and_close, args=(name,))
                for name in ("default", "other")
            ]
            for drain in drains:
                drain.start()
            for drain in drains:
                drain.join()
        assert [message.content for message in (*one.messages, *two.messages)] == [LARGE, LARGE]


def _drain_and_close(name):
    delivery.drain(get_mailer(name))
    connection.close()


def test_a_storage_that_is_away_defers_its_mail_alone(storage):
    """Its neighbours go, the reason is on record, and it goes when the storage is back."""
    for size in (LARGE, b"S: 1\r\n\r\n", OTHER, b"S: 2\r\n\r\n"):
        stored(content=size)
    storage.fails.add("open")
    with ScriptedServer() as server, real_queue(server):
        assert deliver() == 4
        assert len(server.messages) == 2
        assert [status for status, _ in rows()] == ["deferred", "sent", "deferred", "sent"]
        reason = "The content cannot be read: the storage 'mail' does not give it: no open today"
        assert [rows()[0][1], rows()[2][1]] == [reason, reason]
        waiting = Delivery.objects.filter(status="deferred")
        assert all(row.next_attempt_at > timezone.now() and row.step == 1 for row in waiting)
        assert set(waiting.values_list("category", flat=True)) == {"other_temporary"}
        storage.fails.clear()
        again()
        deliver()
        assert [message.content for message in server.messages[2:]] == [LARGE, OTHER]


@pytest.mark.parametrize("chunking", [True, False], ids=["BDAT", "DATA"])
def test_a_storage_that_goes_away_in_the_middle(storage, chunking):
    """What has left has no end, and is not delivered; the mail behind it goes."""
    stored(content=LARGE)
    stored()
    cut = []

    def cut_off(begun, place):
        # It is looked at, looked through, and sent.
        if begun == 3 and place > 5000 and not cut:
            cut.append(place)
            raise OSError("the line is cut")

    with ScriptedServer(chunking=chunking) as server, real_queue(server):
        storage.look = cut_off
        deliver()
        assert len(server.messages) == 1
        assert [status for status, _ in rows()] == ["deferred", "sent"]
        assert "the line is cut" in rows()[0][1]
        again()
        deliver()
        assert server.messages[-1].content == LARGE


def test_an_alias_that_is_not_configured_any_more(storage):
    """The mail waits for it, and says so."""
    stored(content=LARGE)
    with (
        override_settings(STORAGES={}, SMTPX_CONTENT_STORAGE=None),
        ScriptedServer() as server,
        real_queue(server),
    ):
        deliver()
    ((status, reply),) = rows()
    assert status == "deferred"
    assert "in the storage 'mail', and STORAGES has none of this name" in reply


def test_a_file_that_is_gone_is_purged_content(kept):
    """Nobody can send it any more; its neighbours go."""
    stored(content=LARGE)
    stored()
    if kept:
        kept.delete(kept.names[0])
    else:
        ContentPart.objects.all().delete()
    with ScriptedServer() as server, real_queue(server):
        deliver()
    assert [status for status, _ in rows()] == ["failed", "sent"]
    assert "purged" in rows()[0][1]


def test_no_more_small_content_is_held_than_a_chunk_may(monkeypatch, settings):
    """What a chunk reads at once is bounded, and of a large content it reads the row alone."""
    settings.SMTPX_CONTENT_INLINE_MAX = 1000
    monkeypatch.setattr(contents_module, "MAX_BYTES", 2000)
    monkeypatch.setattr(contents_module, "AHEAD_BYTES", 1)
    for size in (900, 900, 900, 20_000, 900, 900):
        stored(content=content(size))
    held = []
    contents = ledger.contents

    def look(rows):
        found = contents(rows)
        held.append(sum(len(one) for one in found.values() if isinstance(one, bytes)))
        return found

    monkeypatch.setattr(chunk_module.ledger, "contents", look)
    with ScriptedServer() as server, real_queue(server):
        assert deliver() == 6
        assert [len(message.content) for message in server.messages] == [900] * 3 + [
            20_000,
            900,
            900,
        ]
    assert held == [1800, 900, 0, 1800]


def test_a_content_in_its_row_is_sent_whatever_its_size(settings):
    """What was stored when the maximum was another one goes as it is."""
    settings.SMTPX_CONTENT_INLINE_MAX = 100_000
    stored(content=LARGE)
    stored()
    settings.SMTPX_CONTENT_INLINE_MAX = 10
    assert Content.objects.filter(large_size=0).count() == 2
    with ScriptedServer() as server, real_queue(server):
        deliver()
        assert server.messages[0].content == LARGE
    assert [status for status, _ in rows()] == ["sent", "sent"]


def test_a_slow_storage_keeps_the_lease(storage, monkeypatch):
    """While a content is read its lease is renewed, and so is the slot."""
    stored(content=LARGE)
    renewed = []
    monkeypatch.setattr(chunk_module.Chunk, "_renewal_is_due", lambda run: True)
    renew = ledger.renew
    monkeypatch.setattr(ledger, "renew", lambda lease: renewed.append(1) or renew(lease))
    with ScriptedServer() as server, real_queue(server):
        deliver()
        assert server.messages[0].content == LARGE
    assert len(renewed) > 40


def test_a_lost_lease_closes_the_file(storage, monkeypatch):
    """Nothing is sent of what is somebody else's by now, and nothing stays open."""
    stored(content=LARGE)
    monkeypatch.setattr(ledger, "settle_and_mark", lambda *_: (0, False))
    with ScriptedServer() as server, real_queue(server):
        delivery.drain(get_mailer("default"))
        assert server.messages == ()
    assert storage.opened
    assert all(file.closed for file in storage.opened)


def test_now_mode_sends_what_it_has_and_keeps_it(kept):
    """In the calling process the bytes are there; the rows are those of any other mail."""
    with ScriptedServer() as server, real_queue(server, mode="now"):
        mail = EmailMessage("s", "line\n" * 2000, "me@example.com", ["you@example.com"])
        made = compose(mail, get_mailer("default"), timezone.now())
        message, error = deliver_now(get_mailer("default"), made)
        assert error is None
        assert server.messages[0].content == made.content
    assert message.content == made.content
    assert Content.objects.get().large_size == len(made.content)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("atomic", [False, True])
def test_now_mode_once_more(kept, atomic):
    """An earlier message with the same key is read from where it is kept."""
    with ScriptedServer({"MAIL": [Reply("451 later")]}) as server:
        with real_queue(server, mode="now"):
            mailer = get_mailer("default")
            mail = composed(content=LARGE, idempotency_key="k")
            assert isinstance(deliver_now(mailer, mail)[1], SMTPError)
            again_ = composed(content=OTHER, idempotency_key="k")
            if atomic:
                with transaction.atomic():
                    assert deliver_now(mailer, again_)[1] is None
            else:
                assert deliver_now(mailer, again_)[1] is None
        assert [message.content for message in server.messages] == [LARGE]
    assert [status for status, _ in rows()] == ["sent"]
    if kept:
        assert len(kept.names) == 1
        assert all(file.closed for file in kept.opened)


def test_now_mode_once_more_without_the_storage(storage):
    """The caller is told, and so is whoever reads the row."""
    with ScriptedServer({"MAIL": [Reply("451 later")]}) as server, real_queue(server, mode="now"):
        mailer = get_mailer("default")
        deliver_now(mailer, composed(content=LARGE, idempotency_key="k"))
        storage.fails.add("open")
        error = deliver_now(mailer, composed(content=LARGE, idempotency_key="k"))[1]
    assert error.temporary
    assert "no open today" in str(error)
    ((status, reply),) = rows()
    assert (status, "no open today" in reply) == ("failed", True)


def test_whether_tls_is_optional_is_read_from_the_file(storage):
    """Where it cannot be read, TLS is not."""
    said = b"TLS-Required: No\r\n" + LARGE
    found = ledger.content_of(stored(content=said))
    for fails, optional in ((set(), True), ({"open"}, False)):
        storage.fails = fails
        with opened(found) as file:
            envelope = Envelope("a@example.com", ["b@example.com"], file)
            assert tls_optional(envelope) is optional


def test_the_real_queue_streams_too(kept):
    """A site's own tests see what production does: bytes as sent, and None once purged."""
    with ScriptedServer() as server, real_queue(server):
        EmailMessage("s", "x\n" * 2000, "me@example.com", ["you@example.com"]).send()
        deliver()
        message = Message.objects.get()
        assert message.content == server.messages[0].content
    ledger.purge(timezone.now() + timedelta(days=8), timedelta(days=7), timedelta(days=90))
    assert Message.objects.get().content is None
