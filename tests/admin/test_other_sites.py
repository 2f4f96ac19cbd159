"""The admin on a site of another name, of fewer pages, and beside an outbox in another database."""

from __future__ import annotations

import pytest
from django.contrib.admin import AdminSite
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client
from django.urls import include, path, reverse

from django_smtpx import admin
from django_smtpx.models import Delivery, Message, Route, Suppression
from tests.admin import rows
from tests.admin.pressing import confirm, said

pytestmark = pytest.mark.django_db

backstage = AdminSite(name="backstage")
backstage.register(Route, admin.RouteAdmin)
backstage.register(Message, admin.MessageAdmin)
backstage.register(Delivery, admin.DeliveryAdmin)
backstage.register(Suppression, admin.SuppressionAdmin)
ALONE = {
    "route": admin.RouteAdmin,
    "message": admin.MessageAdmin,
    "delivery": admin.DeliveryAdmin,
    "suppression": admin.SuppressionAdmin,
}
alone = {name: AdminSite(name=f"{name}_alone") for name in ALONE}
for model in (Route, Message, Delivery, Suppression):
    name = model._meta.model_name
    alone[name].register(model, ALONE[name])
urlpatterns = [
    path("", include("tests.urls")),
    path("backstage/", backstage.urls),
    *(path(f"{name}/", site.urls) for name, site in alone.items()),
]


@pytest.fixture(autouse=True)
def sites(settings):
    """Serve all of them."""
    settings.ROOT_URLCONF = __name__


@pytest.fixture
def root(db):
    """Log in a superuser."""
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client


def page(site, name, *args):
    """Return the address of a page on a site."""
    return reverse(f"admin:django_smtpx_{name}", args=args, current_app=site)


def test_all_stays_on_its_site(root):
    """Each way from a page and each way back leads to the same site."""
    route, sent = rows.route(), rows.delivery(status="sent")
    key = sent.message_id
    asked = {"mailer": "default", "domain": "example.org", "length": "", "reason": "x"}
    pause, resume = page("backstage", "route_pause"), page("backstage", "route_resume")
    copy, test = page("backstage", "message_copy", key), page("backstage", "route_test")
    shown = [
        root.get(page("backstage", "route_changelist")),
        root.get(page("backstage", "route_change", route.pk)),
        root.get(page("backstage", "message_change", key)),
        root.get(page("backstage", "delivery_change", sent.pk)),
        root.get(pause),
        root.get(copy),
        root.get(test),
        root.get(page("backstage", "route_check")),
        paused := root.post(pause, asked),
        resumed := root.post(resume, {"keys": route.pk}),
        copied := root.post(copy, {"mailer": "default", "recipients": [sent.recipient]}),
        tested := root.post(test, {"mailer": "default", "to": "me@example.com"}),
    ]
    shown += [confirm(root, one) for one in (paused, resumed, copied, tested)]
    assert [one.status_code for one in shown] == [200] * 12 + [302] * 4
    assert (
        f'<a href="{page("backstage", "route_changelist")}">Routes</a>' in tested.content.decode()
    )
    for one in shown:
        for text in (one.content.decode(), one.get("Location", ""), *said(one)):
            assert '"/admin/' not in text
            assert not text.startswith("/admin/")
    assert LogEntry.objects.count() == 5


@pytest.mark.parametrize("name", ALONE)
def test_a_site_of_one_kind_of_pages(root, name):
    """What it has no page for it does not lead to."""
    delivery = rows.refused()
    entry = rows.suppression(attempt=delivery.attempts.get())
    keys = {
        "route": rows.route().pk,
        "message": delivery.message_id,
        "delivery": delivery.pk,
        "suppression": entry.pk,
    }
    site = f"{name}_alone"
    for url in (page(site, f"{name}_changelist"), page(site, f"{name}_change", keys[name])):
        response = root.get(url)
        assert response.status_code == 200
        for other in set(ALONE) - {name}:
            assert f"django_smtpx/{other}/" not in response.content.decode()


def test_a_test_mail_from_a_site_of_routes_alone(root):
    """It is queued; there is no page to lead to."""
    asked = root.post(
        page("route_alone", "route_test"), {"mailer": "default", "to": "me@example.com"}
    )
    assert said(confirm(root, asked)) == ["The test mail is in the queue."]
