"""All that can be done in the admin, clicked through: without scripts, and in another theme."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.test import RequestFactory

from tests.integration.browser.deeds import ACTIONS, DEEDS
from tests.integration.browser.lab import VIEWS

if TYPE_CHECKING:
    from tests.integration.browser.lab import Lab
    from tests.integration.browser.serving import Served

pytestmark = [pytest.mark.integration, pytest.mark.timeout(120)]


def test_no_action_is_left_out() -> None:
    """Each action of a list of ours is used here."""
    request = RequestFactory().get("/")
    request.user = User(is_superuser=True)
    ours = [model for model in admin.site._registry if model._meta.app_label == "django_smtpx"]
    actions = {
        (model._meta.model_name, action)
        for model in ours
        for action in admin.site.get_model_admin(model).get_actions(request)
    }
    assert actions == ACTIONS


@pytest.mark.parametrize("name", DEEDS)
def test_it_can_be_done_without_scripts(lab: Lab, site: Served, name: str) -> None:
    """What a person clicks through without JavaScript is what the database has then.

    Each button and link can be clicked on in each theme and width.
    """
    with lab.visit(site, views=VIEWS, java_script_enabled=False) as visit:
        DEEDS[name](visit)


@pytest.mark.parametrize("name", DEEDS)
def test_it_can_be_done_with_scripts(lab: Lab, site: Served, name: str) -> None:
    """The same with Django's own scripts, in the other theme and width."""
    with lab.visit(site, views=VIEWS[:1]) as visit:
        DEEDS[name](visit)


@pytest.mark.parametrize("name", DEEDS)
def test_it_can_be_done_in_another_theme(lab: Lab, unfold: Served, name: str) -> None:
    """The same in django-unfold's theme, with its scripts."""
    with lab.visit(unfold) as visit:
        DEEDS[name](visit)
