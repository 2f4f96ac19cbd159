"""The list of MTA-STS policies."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from django_smtpx.models import StoredPolicy

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_storedpolicy_changelist"
PAGE = "admin:django_smtpx_storedpolicy_change"


def row(**values):
    """Write the row of a policy that could not be fetched anew."""
    now = timezone.now()
    defaults = {
        "domain": "example.com",
        "mode": "enforce",
        "mx": "mx.example.com",
        "max_age": 86400,
        "policy_id": "7",
        "fetched_at": now,
        "expires_at": now + timedelta(days=1),
        "tried_id": "8",
        "tried_at": now,
        "next_try_at": now,
        "failure": "sts-policy-invalid",
        "failure_text": "it has the line '<html>'",
    }
    return StoredPolicy.objects.create(**{**defaults, **values})


def test_the_list_and_the_page_tell_what_is_known(staff):
    """What holds, until when, and what went wrong, as text."""
    client = staff("view_storedpolicy")
    policy = row()
    page = client.get(reverse(LIST)).content.decode()
    for text in ("example.com", "enforce", "sts-policy-invalid"):
        assert text in page
    page = client.get(reverse(PAGE, args=[policy.pk])).content.decode()
    assert "it has the line &#x27;&lt;html&gt;&#x27;" in page
    assert "<html>'" not in page


def test_each_choice_of_a_failure_has_a_name(staff):
    """Also that nothing went wrong; a link without words could not be seen, nor be read out."""
    row()
    fine = row(domain="example.net", failure="", failure_text="")
    client = staff("view_storedpolicy")
    [_, by_failure] = client.get(reverse(LIST)).context["cl"].filter_specs
    choices = list(by_failure.choices(client.get(reverse(LIST)).context["cl"]))
    assert [str(choice["display"]) for choice in choices] == ["All", "none", "sts-policy-invalid"]
    found = client.get(reverse(LIST), {"failure": ""}).context["cl"].result_list
    assert list(found) == [fine]


def test_nothing_can_be_changed(staff):
    """Not even by who has every permission."""
    client = staff("view_storedpolicy", "change_storedpolicy", "delete_storedpolicy")
    policy = row()
    client.post(reverse(PAGE, args=[policy.pk]), {"mode": "none"})
    client.post(reverse("admin:django_smtpx_storedpolicy_delete", args=[policy.pk]), {"post": "y"})
    assert StoredPolicy.objects.get().mode == "enforce"


def test_who_may_not_see_them_does_not(staff):
    """The permission to view is needed."""
    assert staff().get(reverse(LIST)).status_code == 403
