"""Files of contents that no row names."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.core.files.storage import FileSystemStorage, storages
from django.db import transaction
from django.test import override_settings

from django_smtpx import ledger
from django_smtpx.ledger import keeping
from django_smtpx.models import Content
from tests.factories import stored
from tests.storages import configured, content, mail_storage

pytestmark = pytest.mark.django_db

LARGE = content(5000)
DAY = timedelta(days=1)
NOW = datetime.now(UTC)


@pytest.fixture
def storage(request):
    """Return the site's storage, of the kind that the test asks for."""
    with override_settings(**configured(getattr(request, "param", "Moody"))):
        yield mail_storage()


def orphan(storage, days=3, name=None):
    """Leave a file over that was written so many days ago, and return its name."""
    day = (NOW - days * DAY).date().isoformat()
    name = f"{keeping.folder()}/{day}/{name or uuid4()}"
    return storage.save(name, io.BytesIO(b"x"))


def test_what_no_row_names_goes(storage):
    """And what a row names stays, however old it is."""
    message = stored(content=LARGE)
    old = orphan(storage, name=message.uuid)
    Content.objects.update(name=old)
    for _ in range(3):
        orphan(storage)
    storage.age(3)
    assert ledger.remove_orphans(NOW) == 3
    # That of today is too young; nobody names it any more.
    assert len(storage.names) == 2
    assert old in storage.names


@pytest.mark.parametrize("storage", ["Timeless"], indirect=True)
@pytest.mark.parametrize(("days", "gone"), [(0, 0), (1, 0), (3, 1)])
def test_a_day_is_waited_for(storage, days, gone):
    """Its row may still be committed: the day in the name has to be over for a day."""
    orphan(storage, days)
    assert ledger.remove_orphans(NOW) == gone


def test_the_storages_own_time_counts_too(storage):
    """A file that a machine with a wrong clock has just written stays."""
    orphan(storage, days=300)
    storage.age(0.5)
    assert ledger.remove_orphans(NOW) == 0
    storage.age(2)
    assert ledger.remove_orphans(NOW) == 1


@pytest.mark.django_db(transaction=True)
def test_a_mail_that_is_not_committed_yet_keeps_its_file(storage):
    """The clean-up of another process, which cannot see the row, leaves the file alone."""
    with transaction.atomic():
        message = stored(content=LARGE)
        Content.objects.all().delete()  # as who is not in this transaction sees it
        assert ledger.remove_orphans(datetime.now(UTC) + DAY / 2) == 0
        transaction.set_rollback(True)
    assert [name[-36:] for name in storage.names] == [str(message.uuid)]


def test_what_is_not_ours_stays(storage):
    """Other folders, other sites' folders, and names that this package does not give."""
    storage.save("report.pdf", io.BytesIO(b"x"))
    storage.save("smtpx/0123456789ab/2020-01-01/" + str(uuid4()), io.BytesIO(b"x"))
    storage.save(f"{keeping.folder()}/notes/{uuid4()}", io.BytesIO(b"x"))
    orphan(storage, name="not-a-uuid")
    storage.age(30)
    assert ledger.remove_orphans(NOW) == 0
    assert len(storage.names) == 4


def test_it_ends_when_its_time_is_over(storage):
    """Between two days of files."""
    for days in (3, 4, 5):
        orphan(storage, days)
    storage.age(3)
    answers = iter([False, False, True])
    assert ledger.remove_orphans(NOW, lambda: next(answers)) == 2


@pytest.mark.parametrize("storage", ["Blind"], indirect=True)
def test_a_storage_that_cannot_list(storage):
    """Nothing is removed there, and nothing fails."""
    assert ledger.remove_orphans(NOW) == 0


def test_a_storage_that_is_away(storage, caplog):
    """It is looked through another time."""
    orphan(storage)
    storage.fails.add("listdir")
    assert ledger.remove_orphans(NOW) == 0
    assert "The storage 'mail' cannot be looked through now: no listdir today" in caplog.text


def test_without_a_storage_there_is_nothing_to_do():
    """Nobody is asked."""
    assert ledger.remove_orphans(NOW) == 0


def test_folders_on_disk(tmp_path):
    """Of a file system, empty folders of days that are over go as well, and only those."""
    options = configured()
    options["STORAGES"]["mail"] = {
        "BACKEND": "django.core.files.storage.FileSystemStorage",
        "OPTIONS": {"location": str(tmp_path)},
    }
    with override_settings(**options):
        storage = storages["mail"]
        assert isinstance(storage, FileSystemStorage)
        assert ledger.remove_orphans(NOW) == 0
        message = stored(content=LARGE)
        assert message.content == LARGE
        old = orphan(storage)
        later = NOW + 10 * DAY
        assert ledger.remove_orphans(later) == 1
        assert not storage.exists(old)
        assert ledger.remove_orphans(later) == 0
        days, _ = storage.listdir(keeping.folder())
        assert days == [message.created_at.date().isoformat()]
        assert message.content == LARGE
