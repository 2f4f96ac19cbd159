"""Who looks at the admin."""

from __future__ import annotations

from typing import TYPE_CHECKING
from unittest import mock

import django
import pytest
from django.contrib.auth.models import Permission, User
from django.contrib.contenttypes.models import ContentType
from django.test import Client

from django_smtpx import tasks
from django_smtpx.models import Delivery, Message, RefusedCredential, Route

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from pytest_django.fixtures import SettingsWrapper

BACKEND = "django_smtpx.backend.EmailBackend"


@pytest.fixture(autouse=True)
def default_mailer(settings: SettingsWrapper) -> None:
    """Configure "default": Django's test environment has put its own backend in its place."""
    if django.VERSION >= (6, 1):
        settings.MAILERS = {"default": {"BACKEND": BACKEND, "OPTIONS": {"host": "127.0.0.1"}}}
    else:
        settings.EMAIL_BACKEND = BACKEND
        settings.SMTPX_MAILERS = {"default": {"host": "127.0.0.1"}}


@pytest.fixture
def hints() -> Iterator[list[str]]:
    """Catch the hints that would go to the broker."""
    sent: list[str] = []
    # Not monkeypatch, which is put back last: behind what a fixture below has patched and put back.
    with mock.patch.object(tasks, "wake", sent.append):
        yield sent


@pytest.fixture
def staff(db: None) -> Callable[..., Client]:
    """Log in a member of the staff who has the permissions named, and no other."""

    def log_in(*codenames: str) -> Client:
        user = User.objects.create_user("staff", password="x", is_staff=True)
        found = Permission.objects.filter(
            content_type__app_label="django_smtpx", codename__in=codenames
        )
        assert len(found) == len(codenames)
        user.user_permissions.set(found)
        client = Client()
        client.force_login(user)
        return client

    return log_in


@pytest.fixture
def viewer(staff: Callable[..., Client]) -> Client:
    """Log in somebody who may view all there is.

    Content types are known by then, as in a process that has served a page: the first to need one
    would pay a statement more.
    """
    ContentType.objects.get_for_models(Message, Delivery, Route, RefusedCredential)
    return staff("view_message", "view_delivery", "view_route", "view_refusedcredential")
