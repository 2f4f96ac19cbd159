"""The pages that the application has in the admin, and the way to each."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.integration.browser.lab import Visit

    Way = Callable[[Visit], None]

PAGES: dict[str, Way] = {}
"""The way to each page, by a name."""
NAMES: set[str] = set()
"""The URL names that these pages, and those behind the actions, have."""
NONE = {
    f"django_smtpx_{model}_{page}"
    for model in (
        *("message", "delivery", "route", "refusedcredential", "storedpolicy"),
        *("webhookendpoint", "webhookevent"),
    )
    for page in ("add", "delete")
}
"""Those that Django has for every model and that are refused here, to whomever it is."""


def page(name: str, *names: str) -> Callable[[Way], Way]:
    """Keep the way to the page ``name``, which shows what these URL names lead to."""

    def keep(way: Way) -> Way:
        PAGES[name] = way
        NAMES.update(names)
        return way

    return keep


def at(name: str, path: str, *names: str) -> None:
    """Keep a page that has an address; ``{…}`` in it is a key of the site's past."""
    PAGES[name] = lambda visit: visit.goto(f"django_smtpx/{path}".format(**visit.site.keys))
    NAMES.update(names)


at("overview", "", "app_list")
at("deliveries", "delivery/", "django_smtpx_delivery_changelist")
at("deliveries, none found", "delivery/?q=nothing-like-this")
at("deliveries, chosen", "delivery/?status__exact=deferred")
at("delivery sent", "delivery/{sent}/change/", "django_smtpx_delivery_change")
at("delivery failed", "delivery/{failed}/change/")
at("delivery in doubt", "delivery/{unknown}/change/")
at("delivery with long words", "delivery/{odd}/change/")
at("delivery's history", "delivery/{sent}/history/", "django_smtpx_delivery_history")
at("messages", "message/", "django_smtpx_message_changelist")
at("message", "message/{sent_message}/change/", "django_smtpx_message_change")
at("message to many", "message/{many_message}/change/")
at("message purged", "message/{purged_message}/change/")
at("message's history", "message/{sent_message}/history/", "django_smtpx_message_history")
at("copy", "message/{sent_message}/copy/", "django_smtpx_message_copy")
at("routes", "route/", "django_smtpx_route_changelist")
at("route held", "route/{held_route}/change/", "django_smtpx_route_change")
at("route slow", "route/{slow_route}/change/")
at("route's history", "route/{held_route}/history/", "django_smtpx_route_history")
at("pause", "route/pause/", "django_smtpx_route_pause")
at("test mail", "route/test/", "django_smtpx_route_test")
at("suppressions", "suppression/", "django_smtpx_suppression_changelist")
at("suppression", "suppression/{suppression}/change/", "django_smtpx_suppression_change")
at("suppression, new", "suppression/add/", "django_smtpx_suppression_add")
at("suppression, taken off", "suppression/{suppression}/delete/", "django_smtpx_suppression_delete")
at(
    "suppression's history",
    "suppression/{suppression}/history/",
    "django_smtpx_suppression_history",
)
at("credentials", "refusedcredential/", "django_smtpx_refusedcredential_changelist")
at("credential", "refusedcredential/{credential}/change/", "django_smtpx_refusedcredential_change")
at(
    "credential's history",
    "refusedcredential/{credential}/history/",
    "django_smtpx_refusedcredential_history",
)
at("policies", "storedpolicy/", "django_smtpx_storedpolicy_changelist")
at("policy", "storedpolicy/{policy}/change/", "django_smtpx_storedpolicy_change")
at("policy's history", "storedpolicy/{policy}/history/", "django_smtpx_storedpolicy_history")
for _name, _key in (("webhookendpoint", "webhook"), ("webhookevent", "event")):
    at(f"{_key}s", f"{_name}/", f"django_smtpx_{_name}_changelist")
    at(_key, f"{_name}/{{{_key}}}/change/", f"django_smtpx_{_name}_change")
    at(f"{_key}'s history", f"{_name}/{{{_key}}}/history/", f"django_smtpx_{_name}_history")


def choose(visit: Visit, rows: Iterable[int], action: str) -> None:
    """Tick rows of a list, choose an action, and run it."""
    for row in rows:
        visit.page.locator(f'input[name="_selected_action"][value="{row}"]').check()
    visit.page.locator('select[name="action"]').select_option(action)
    visit.follow(visit.page.locator('button[name="index"]').first)


@page("confirmation: send again", "django_smtpx_delivery_steer")
def _send_again(visit: Visit) -> None:
    keys = visit.site.keys
    visit.goto("django_smtpx/delivery/")
    choose(visit, (keys["failed"], keys["full"], keys["sent"]), "retry_selected")


@page("confirmation: nothing to do")
def _nothing_to_do(visit: Visit) -> None:
    visit.goto("django_smtpx/delivery/")
    choose(visit, (visit.site.keys["sent"],), "cancel_selected")


@page("confirmation: enable", "django_smtpx_webhookendpoint_enable")
def _enable(visit: Visit) -> None:
    visit.goto(f"django_smtpx/webhookendpoint/{visit.site.keys['webhook']}/change/")
    visit.press("Enable")


@page("confirmation: resume", "django_smtpx_route_resume")
def _resume(visit: Visit) -> None:
    visit.goto(f"django_smtpx/route/{visit.site.keys['held_route']}/change/")
    visit.press("Resume")


@page("confirmation: pause")
def _pause(visit: Visit) -> None:
    visit.goto("django_smtpx/route/pause/?mailer=direct&domain=example.com")
    visit.page.locator('[name="reason"]').fill("They asked us to wait until Monday.")
    visit.press("Pause")


@page("content", "django_smtpx_message_content", "django_smtpx_message_content_html")
def _content(visit: Visit) -> None:
    visit.goto(f"django_smtpx/message/{visit.site.keys['sent_message']}/change/")
    visit.press("Show content")


@page("source", "django_smtpx_message_content_source")
def _source(visit: Visit) -> None:
    _content(visit)
    visit.press("Show source")


@page("confirmation: copy")
def _copy(visit: Visit) -> None:
    visit.goto(f"django_smtpx/message/{visit.site.keys['sent_message']}/copy/")
    visit.page.locator('[name="others"]').fill("ann@example.org\nbob@example.net")
    visit.submit()


@page("confirmation: test mail")
def _test_mail(visit: Visit) -> None:
    visit.goto("django_smtpx/route/test/?mailer=default")
    visit.page.locator('[name="to"]').fill("ann@example.org")
    visit.submit()


@page("diagnosis", "django_smtpx_route_check")
def _diagnosis(visit: Visit) -> None:
    visit.goto("django_smtpx/route/check/?mailer=default")
    visit.submit()
    visit.page.locator(".smtpx-diagnosis").wait_for()


@page("suppressions, several taken off")
def _taken_off(visit: Visit) -> None:
    visit.goto("django_smtpx/suppression/")
    choose(visit, (visit.site.keys["suppression"],), "delete_selected")
