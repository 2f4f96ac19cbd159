"""Nobody overlooks a mailer that is held."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from django.db import connection
from django.template import Context, Template
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from django_smtpx.admin import banner
from django_smtpx.models import Delivery
from tests.admin import rows

pytestmark = pytest.mark.django_db
LIST = "admin:django_smtpx_delivery_changelist"


def shown(client, url=None):
    """Return the text of each error above a page, without its link."""
    page = client.get(url or reverse(LIST)).content.decode()
    lines = re.findall(r'<li class="error">(.*?)</li>', page, re.DOTALL)
    return [re.sub(r"\s*<a .*</a>", "", line) for line in lines]


def waiting(count, **values):
    """Store so many deliveries that wait, and return the first of them."""
    message = rows.message()
    made = [rows.delivery(message, f"{number}@example.com", **values) for number in range(count)]
    return made[0]


def test_a_refused_login_is_on_every_page(admin_client):
    """On lists, pages, histories, forms and this application's index: why, how much waits, what helps."""
    row = waiting(3, lane=Delivery.Lane.IDLE, parked_at=rows.NOW)
    route = rows.route(paused_until=timezone.now() + rows.SOON)
    keys = {
        "message": row.message_id,
        "delivery": row.pk,
        "route": route.pk,
        "refusedcredential": rows.refused_credential().pk,
        "suppression": rows.suppression().pk,
    }
    urls = [reverse("admin:app_list", args=["django_smtpx"])]
    for name, key in keys.items():
        urls.append(reverse(f"admin:django_smtpx_{name}_changelist"))
        urls += [
            reverse(f"admin:django_smtpx_{name}_{page}", args=[key])
            for page in ("change", "history")
        ]
    urls.append(reverse("admin:django_smtpx_suppression_add"))
    urls.append(reverse("admin:django_smtpx_suppression_delete", args=[keys["suppression"]]))
    for url in urls:
        (line,) = shown(admin_client, url)
        assert re.fullmatch(
            r"Mailer &#x27;default&#x27; is held, since it cannot log in \(auth 535 5\.7\.8 Bad "
            r"credentials\): 3 deliveries wait\. Next probe: in [45].minutes \(.*\)\. Mend its "
            r"credentials, or resume it\.",
            line,
        ), (url, line)


@pytest.mark.parametrize(
    ("values", "line"),
    [
        (
            {"category": "quota_exhausted", "pause_reason": "eod 550 5.4.5 Daily limit"},
            "is held, since its quota is used up (eod 550 5.4.5 Daily limit): 1 delivery waits. Next probe: due now.",
        ),
        (
            {"category": "", "pause_reason": "moving", "paused_until": None},
            "is held by a person (moving): 1 delivery waits.",
        ),
        (
            {"category": "", "pause_reason": "", "paused_until": None},
            "is held by a person (no reason given): 1 delivery waits.",
        ),
    ],
)
def test_why_it_is_held(viewer, values, line):
    """Who or what holds it, in a sentence."""
    waiting(1)
    rows.route(**{"paused_until": rows.NOW, **values})
    assert shown(viewer) == [f"Mailer &#x27;default&#x27; {line}"]


@pytest.mark.parametrize(
    "values",
    [
        {"state": "open", "paused_until": None},
        {"state": "paused"},
        {"domain": "example.com"},
        {"host": "mx.example.com"},
        {"sender": "From a@example.com"},
        {"mailer": "gone"},
    ],
)
def test_what_is_no_held_mailer_is_not_shouted_about(viewer, values):
    """Pauses pass by themselves; domains, hosts and senders are in the list of routes."""
    rows.route(**values)
    assert shown(viewer) == []


def test_only_for_those_who_may_see_routes(staff):
    """Others are told nothing about the site's accounts."""
    rows.route()
    client = staff("view_delivery", "resume_route")
    assert shown(client) == []
    assert "Bad credentials" not in client.get(reverse(LIST)).content.decode()
    assert Client().get(reverse(LIST)).status_code == 302


def test_it_leads_to_the_route(viewer):
    """Whoever may not resume it can still look."""
    route = rows.route()
    page = viewer.get(reverse(LIST)).content.decode()
    url = reverse("admin:django_smtpx_route_change", args=[route.pk])
    assert f'<a href="{url}">See its route</a>' in page


def test_whoever_may_resume_it_is_led_there(staff):
    """One click away is the page with the button."""
    route = rows.route()
    page = staff("view_route", "resume_route", "view_delivery").get(reverse(LIST)).content.decode()
    url = reverse("admin:django_smtpx_route_change", args=[route.pk])
    assert f'<a href="{url}">Resume it</a>' in page


def test_it_is_there_while_somebody_confirms(staff):
    """The pages between the steps say so as well."""
    client = staff("view_route", "resume_route", "view_delivery", "retry_delivery")
    route, row = rows.route(), waiting(1)
    for name, key in (("resume", route.pk), ("steer", row.pk)):
        place = "route" if name == "resume" else "delivery"
        url = reverse(f"admin:django_smtpx_{place}_{name}")
        page = client.post(url, {"keys": key, "deed": "retry"}).content.decode()
        assert '<li class="error">Mailer &#x27;default&#x27; is held' in page


def test_a_servers_words_are_text(viewer):
    """And no more of them than fit above a page."""
    rows.route(pause_reason="<script>alert(1)</script>" + "x" * 1000)
    (line,) = shown(viewer)
    assert "&lt;script&gt;" in line
    assert "<script>" not in line
    assert len(line) < 500


def test_many_that_wait_are_not_all_counted(viewer, monkeypatch):
    """It is on every page, so it costs no more than so many rows; what has ended is not counted."""
    rows.route()
    waiting(2, lane=Delivery.Lane.IDLE)
    waiting(1, status="deferred", lane=Delivery.Lane.ALONE)
    waiting(1, status="sent", lane=Delivery.Lane.OUT)
    waiting(1, mailer="other")
    assert ": 3 deliveries wait." in shown(viewer)[0]
    monkeypatch.setattr(banner, "COUNTED", 2)
    assert ": more than 2 deliveries wait." in shown(viewer)[0]


def test_it_costs_one_statement(viewer):
    """Where nothing is held; and one more for each mailer that is."""

    def asked():
        with CaptureQueriesContext(connection) as queries:
            viewer.get(reverse(LIST))
        return len([one for one in queries if "held" in one["sql"] and "COUNT" not in one["sql"]])

    def statements():
        with CaptureQueriesContext(connection) as queries:
            viewer.get(reverse(LIST))
        return len(queries)

    viewer.get(reverse(LIST))
    before = statements()
    assert asked() == 1
    rows.route()
    assert statements() == before + 1


def test_a_template_without_a_request_shows_none():
    """A page that some other program renders has nobody who may see it."""
    rows.route()
    page = Template("{% load smtpx_admin %}{% held_mailers as held %}{{ held|length }}")
    assert page.render(Context()) == "0"


def test_on_a_site_without_routes_there_is_no_link(viewer, monkeypatch):
    """A site of one's own need not have them."""

    def nowhere(*args, **kwargs):
        raise banner.NoReverseMatch

    monkeypatch.setattr(banner, "reverse", nowhere)
    rows.route()
    page = viewer.get(reverse(LIST)).content.decode()
    assert "resume it.</li>" in page.replace(" </li>", "</li>")


def test_a_site_without_the_admin_needs_none_of_it():
    """Django reads every application's template tags; ours bring no admin with them."""
    program = """
import sys, django
from django.conf import settings
settings.configure(
    INSTALLED_APPS=["django.contrib.contenttypes", "django_smtpx"],
    TEMPLATES=[{"BACKEND": "django.template.backends.django.DjangoTemplates"}],
)
django.setup()
from django.template import engines
page = engines["django"].from_string("{% load i18n smtpx_admin %}{% translate 'Yes' %}")
print(page.render(), "django_smtpx.admin" in sys.modules)
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, check=True
    )
    assert ran.stdout.split() == ["Yes", "False"]
