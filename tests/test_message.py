"""The message classes with declared attributes: nothing but Django's own at run time."""

from __future__ import annotations

import pytest
from django.core.mail import EmailMessage, EmailMultiAlternatives

from django_smtpx import message
from django_smtpx.message import (
    OutboxAttributes,
    OutboxEmailMessage,
    OutboxEmailMultiAlternatives,
)
from django_smtpx.models import Message
from django_smtpx.testing import real_queue


@pytest.mark.django_db
@pytest.mark.parametrize("kind", [OutboxEmailMessage, OutboxEmailMultiAlternatives])
def test_it_is_stored_as_any_other(kind):
    """What is set is stored; what is not set is not there, and has its default."""
    with real_queue(host="127.0.0.1", port=1):
        mail = kind("Subject", "Body", "from@example.com", ["to@example.net"])
        assert not hasattr(mail, "tags")
        mail.tags = ["welcome"]
        mail.metadata = {"order": 17}
        assert mail.send() == 1
    assert mail.smtpx == Message.objects.get()
    assert (mail.smtpx.tags, mail.smtpx.metadata, mail.smtpx.priority) == (
        ["welcome"],
        {"order": 17},
        0,
    )


def test_the_classes_are_djangos():
    """Whoever asks for Django's class gets these, too."""
    assert issubclass(OutboxEmailMessage, EmailMessage)
    assert issubclass(OutboxEmailMultiAlternatives, EmailMultiAlternatives)
    assert sorted(message.__all__) == [
        "OutboxAttributes",
        "OutboxEmailMessage",
        "OutboxEmailMultiAlternatives",
    ]
    assert not [
        name for name in OutboxAttributes.__annotations__ if hasattr(OutboxAttributes, name)
    ]
