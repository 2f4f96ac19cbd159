"""What can be done in the admin, as a person does it, and what has come of it by the database's word."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.integration.browser.pages import NAMES, choose
from tests.integration.browser.settings import ATTACHED

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.browser.lab import Visit

    Deed = Callable[[Visit], None]

DEEDS: dict[str, Deed] = {}
"""Each thing that can be done, by a name."""
ACTIONS: set[tuple[str, str]] = set()
"""Model and name of the lists' actions that these use."""


def deed(name: str, *uses: tuple[str, str] | str) -> Callable[[Deed], Deed]:
    """Keep a deed, which uses these actions of lists, and what these URL names lead to."""

    def keep(do: Deed) -> Deed:
        DEEDS[name] = do
        ACTIONS.update(use for use in uses if isinstance(use, tuple))
        NAMES.update(use for use in uses if isinstance(use, str))
        return do

    return keep


def status(visit: Visit, name: str) -> str:
    """Return a delivery's status."""
    sql = "SELECT status FROM django_smtpx_delivery WHERE id = ?"
    return str(visit.site.value(sql, visit.site.keys[name]))


def due(visit: Visit, name: str) -> bool:
    """Tell whether a delivery is ready to be claimed."""
    sql = "SELECT lane > 0 FROM django_smtpx_delivery WHERE id = ?"
    return bool(visit.site.value(sql, visit.site.keys[name]))


def state(visit: Visit, mailer: str, domain: str = "") -> tuple[str, str] | None:
    """Return a route's state and the reason for it."""
    sql = (
        "SELECT state, pause_reason FROM django_smtpx_route "
        "WHERE mailer = ? AND domain = ? AND host = '' AND sender = ''"
    )
    found = visit.site.rows(sql, mailer, domain)
    return found[0] if found else None  # type: ignore[return-value]


def logged(visit: Visit) -> list[str]:
    """Return what the admin's history says of what was done, the latest last."""
    return [text for (text,) in visit.site.rows("SELECT change_message FROM django_admin_log")]


def listed(visit: Visit) -> set[str]:
    """Return the addresses of the suppression list."""
    return {row[0] for row in visit.site.rows("SELECT address FROM django_smtpx_suppression")}


def on_page(visit: Visit, name: str, button: str) -> None:
    """Press a button on a delivery's page."""
    visit.goto(f"django_smtpx/delivery/{visit.site.keys[name]}/change/")
    visit.press(button)


def tool(visit: Visit, name: str) -> None:
    """Follow a link of a list's tools."""
    visit.follow(visit.page.locator("#content, #main").first.get_by_role("link", name=name))


def said(visit: Visit, text: str) -> None:
    """Wait for a page that says ``text``."""
    visit.page.get_by_text(text).first.wait_for()


@deed("send again, from the list", ("delivery", "retry_selected"))
def _(visit: Visit) -> None:
    keys = visit.site.keys
    visit.goto("django_smtpx/delivery/")
    choose(visit, (keys["failed"], keys["full"], keys["sent"]), "retry_selected")
    assert not due(visit, "failed")
    visit.press("Send again now")
    said(visit, "2 deliveries will be sent again.")
    assert [due(visit, name) for name in ("failed", "full", "sent")] == [True, True, False]
    assert status(visit, "sent") == "sent"
    assert logged(visit) == ["Send again now"] * 2


@deed("send again, from the page")
def _(visit: Visit) -> None:
    on_page(visit, "failed", "Send again now")
    visit.press("Send again now")
    said(visit, "1 delivery will be sent again.")
    assert due(visit, "failed")


@deed("think better of it")
def _(visit: Visit) -> None:
    on_page(visit, "failed", "Send again now")
    visit.press("No, take me back")
    visit.page.wait_for_url(f"**/delivery/{visit.site.keys['failed']}/change/")
    assert status(visit, "failed") == "failed"
    assert logged(visit) == []


@deed("cancel", ("delivery", "cancel_selected"))
def _(visit: Visit) -> None:
    keys = visit.site.keys
    visit.goto("django_smtpx/delivery/")
    choose(visit, (keys["full"], keys["held"]), "cancel_selected")
    visit.press("Cancel")
    said(visit, "2 deliveries cancelled.")
    assert [status(visit, name) for name in ("full", "held")] == ["cancelled"] * 2


@deed("settle: it arrived", ("delivery", "settle_arrived"))
def _(visit: Visit) -> None:
    on_page(visit, "unknown", "It arrived")
    visit.press("It arrived")
    said(visit, "1 delivery settled as sent.")
    assert status(visit, "unknown") == "sent"


@deed("settle: it did not arrive", ("delivery", "settle_again"))
def _(visit: Visit) -> None:
    on_page(visit, "unknown", "It did not arrive: send again")
    visit.press("It did not arrive: send again")
    said(visit, "1 delivery will be sent again.")
    assert due(visit, "unknown")


@deed("resume, from the list", ("route", "resume_selected"))
def _(visit: Visit) -> None:
    keys = visit.site.keys
    visit.goto("django_smtpx/route/")
    choose(visit, (keys["held_route"], keys["paused_route"]), "resume_selected")
    visit.press("Resume")
    said(visit, "2 routes are open again.")
    assert state(visit, "newsletter") == ("open", "")
    assert state(visit, "direct", "example.org") == ("open", "")


@deed("resume, from the line above every page")
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/message/")
    visit.follow(visit.page.get_by_role("link", name="Resume it"))
    visit.press("Resume")
    visit.press("Resume")
    said(visit, "1 route is open again.")
    assert state(visit, "newsletter") == ("open", "")


@deed("enable a webhook", ("webhookendpoint", "enable_selected"))
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/webhookendpoint/")
    choose(visit, (visit.site.keys["webhook"],), "enable_selected")
    visit.press("Enable")
    said(visit, "1 webhook is enabled.")
    sql = "SELECT disabled_at IS NULL FROM django_smtpx_webhookendpoint"
    assert visit.site.value(sql) == 1


@deed("pause a mailer")
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/route/pause/")
    visit.page.get_by_label("Mailer").select_option("default")
    visit.page.get_by_label("Reason").fill("The provider is being changed")
    visit.press("Pause")
    assert state(visit, "default") == ("open", "")
    visit.press("Pause")
    visit.page.wait_for_url("**/route/*/change/")
    assert state(visit, "default") == ("paused", "The provider is being changed")


@deed("read a mail")
def _(visit: Visit) -> None:
    visit.goto(f"django_smtpx/message/{visit.site.keys['sent_message']}/change/")
    assert logged(visit) == []
    visit.press("Show content")
    visit.page.get_by_text("thank you for your order").first.wait_for()
    assert "Invoice 2026-117" in visit.page.frame_locator("iframe").locator("h1").inner_text()
    visit.press("Show source")
    visit.page.get_by_text("Content-Type: multipart/mixed").wait_for()
    assert logged(visit) == ["Looked at the content", "Looked at the source"]


@deed(
    "take a mail and its attachment away",
    "django_smtpx_message_content_eml",
    "django_smtpx_message_content_attachment",
)
def _(visit: Visit) -> None:
    visit.goto(f"django_smtpx/message/{visit.site.keys['sent_message']}/change/")
    visit.press("Show content")
    stored = "SELECT data FROM django_smtpx_content WHERE message_id = ?"
    for button, name, content in (
        ("Download as .eml", "message-12.eml", visit.site.value(stored, 12)),
        ("Download Invoice 2026-117.pdf", "Invoice 2026-117.pdf", ATTACHED),
    ):
        with visit.page.expect_download() as download:
            visit.page.get_by_role("button", name=button, exact=True).click()
        file = download.value
        assert (file.suggested_filename, file.path().read_bytes()) == (name, content)
    done = logged(visit)
    assert done[:2] == ["Looked at the content", "Downloaded the message"]
    assert done[2].startswith("Downloaded attachment ")


@deed("send a copy")
def _(visit: Visit) -> None:
    visit.goto(f"django_smtpx/message/{visit.site.keys['sent_message']}/change/")
    deeds = visit.page.locator(".smtpx-deeds")
    visit.follow(deeds.get_by_role("link", name="Send a copy"))
    visit.page.locator('[name="others"]').fill("ann@example.org")
    visit.press("Send a copy")
    sql = "SELECT COUNT(*) FROM django_smtpx_delivery WHERE recipient = 'ann@example.org'"
    assert visit.site.value(sql) == 0
    visit.press("Send a copy")
    visit.page.wait_for_url("**/message/*/change/")
    assert visit.site.value(sql) == 1


@deed("send a test mail")
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/route/")
    tool(visit, "Send a test mail")
    visit.page.locator('[name="mailer"]').select_option("default")
    visit.page.locator('[name="to"]').fill("ann@example.org")
    visit.press("Send a test mail")
    sql = "SELECT COUNT(*) FROM django_smtpx_delivery WHERE recipient = 'ann@example.org'"
    assert visit.site.value(sql) == 0
    visit.press("Send a test mail")
    said(visit, "The test mail is in the queue.")
    assert visit.site.value(sql) == 1
    assert logged(visit) == ["Test mail"]


@deed("run the diagnosis")
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/route/")
    tool(visit, "Run the diagnosis")
    visit.page.locator('[name="mailer"]').select_option("default")
    visit.press("Run the diagnosis")
    visit.page.get_by_text("Diagnosis of default").wait_for()
    assert logged(visit) == ["Run the diagnosis"]


@deed("enable a webhook", ("webhookendpoint", "enable_selected"))
def _(visit: Visit) -> None:
    sql = "SELECT disabled_at FROM django_smtpx_webhookendpoint WHERE id = ?"
    key = visit.site.keys["webhook"]
    visit.goto("django_smtpx/webhookendpoint/")
    choose(visit, (key,), "enable_selected")
    assert visit.site.value(sql, key) is not None
    visit.press("Enable")
    said(visit, "1 webhook is enabled.")
    assert visit.site.value(sql, key) is None
    assert logged(visit) == ["Enable"]


@deed("put an address on the list")
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/suppression/add/")
    visit.page.get_by_label("Address").fill("gone@example.net")
    visit.follow(visit.page.locator('[name="_save"]'))
    said(visit, "has been on the list since")
    visit.page.get_by_label("Address").fill("ann@example.org")
    visit.page.get_by_label("Reason").fill("Asked for it.")
    visit.follow(visit.page.locator('[name="_save"]'))
    visit.page.wait_for_url("**/suppression/")
    assert "ann@example.org" in listed(visit)


@deed("take an address off the list")
def _(visit: Visit) -> None:
    visit.goto(f"django_smtpx/suppression/{visit.site.keys['suppression']}/delete/")
    visit.submit()
    visit.page.wait_for_url("**/suppression/")
    assert listed(visit) == {"never@example.org"}


@deed("take addresses off the list", ("suppression", "delete_selected"))
def _(visit: Visit) -> None:
    visit.goto("django_smtpx/suppression/")
    choose(visit, (visit.site.keys["suppression"],), "delete_selected")
    assert len(listed(visit)) == 2
    visit.submit()
    visit.page.wait_for_url("**/suppression/")
    assert listed(visit) == {"never@example.org"}
