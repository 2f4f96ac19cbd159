"""Who may do what: each address of the application's admin, and each action, by each permission."""

from __future__ import annotations

from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import AnonymousUser, Permission, User
from django.contrib.messages.storage.cookie import CookieStorage
from django.core import signing
from django.core.exceptions import BadRequest, PermissionDenied
from django.db import connection, transaction
from django.http import Http404
from django.test import RequestFactory
from django.urls import URLResolver, resolve, reverse

from django_smtpx.admin import checking, content
from django_smtpx.models import Content, Delivery, StoredPolicy
from django_smtpx.testing import real_queue
from tests.admin import rows

if TYPE_CHECKING:
    from collections.abc import Callable

pytestmark = pytest.mark.django_db

READ_ONLY = (
    *("message", "delivery", "route", "refusedcredential", "storedpolicy"),
    *("webhookendpoint", "webhookevent"),
)
PAGES = (*READ_ONLY, "suppression")
VERBS = ("add", "change", "delete", "view")
BODY, PASSWORD, MAC = "the secret body", "correct-horse-battery", "f1n9e7p71n7"
MAIL = f"""\
Subject: Invoice 17
Content-Type: multipart/alternative; boundary=x

--x
Content-Type: text/plain

{BODY}
--x
Content-Type: text/html

<p>{BODY}</p>
--x--
""".replace("\n", "\r\n").encode()
ANYWAY: tuple[frozenset[str], ...] = ()
"""Whoever may log in to the admin."""


@dataclass(frozen=True)
class Use:
    """One way to use an address, and what comes of it.

    ``needs``: a permission of each set; None: nobody has it. ``allowed`` and ``refused`` are
    statuses. ``row`` is whose key is in the address. ``changes``: who may do it, does.
    """

    needs: tuple[frozenset[str], ...] | None
    allowed: int = 200
    refused: tuple[int, ...] = (403,)
    method: str = "post"
    data: dict[str, Any] = field(default_factory=dict)
    query: Callable[[Any, dict[str, int]], str] = lambda user, keys: ""
    shows_body: bool = False
    changes: bool = False
    row: str = ""


def one_of(*codenames):
    """Return a need that any of these permissions meets."""
    return frozenset(codenames)


def see(*names):
    """Return what it takes to look at rows, as Django has it: to view or to change them."""
    return tuple(one_of(f"view_{name}", f"change_{name}") for name in names)


def get(needs, **values):
    """Return the use of an address by GET."""
    return Use(needs, method="get", **values)


def post(needs, data=None, **values):
    """Return the use of an address by POST."""
    return Use(needs, data=data or {}, **values)


def deed(name, codename):
    """Return the uses of one thing to do with deliveries: ask, and do it."""
    needs = (*see("delivery"), one_of(codename))
    data = {"deed": name, "keys": "{doubtful}" if codename == "settle_unknown" else "{delivery}"}
    return (post(needs, data), post(needs, {**data, "confirmed": "1"}, allowed=302, changes=True))


def by_form(needs, data, **values):
    """Return the uses of what is done by a form: look at it, send it, confirm it."""
    return (
        get(needs, **values),
        post(needs, data, **values),
        post(needs, {**data, "confirmed": "1"}, allowed=302, changes=True, **values),
    )


def choose(action, codename, name, **values):
    """Return the use of an action of a list: who may not do it is not offered it."""
    data = {"action": action, "_selected_action": [f"{{{name}}}"]}
    needs = (*see(name), one_of(codename)) if codename else None
    return post(needs, data, refused=(200, 302, 403), **values)


def token(user, keys):
    """Return the query of a frame that this user has opened."""
    bound = [str(user.pk), str(keys["message"]), "html"]
    return "?token=" + signing.dumps(bound, salt=content._SALT)


READ = (*see("message"), one_of("view_content"))
COPY = tuple(one_of(name) for name in ("view_message", "view_delivery", "copy_message"))
PAUSE = {"mailer": "default", "length": "1h", "reason": "x"}

TABLE: dict[str, tuple[Use, ...]] = {
    "app_list": (
        get(
            (
                one_of(*(f"{verb}_{name}" for verb in ("view", "change") for name in PAGES))
                | {"add_suppression", "delete_suppression"},
            ),
            refused=(404,),
        ),
        post(None, refused=(200, 404)),
    ),
    # What happened is looked at, and nothing else: not even a superuser adds, changes or deletes.
    **{
        f"django_smtpx_{name}_{page}": uses
        for name in READ_ONLY
        for page, uses in {
            "changelist": (
                get(see(name)),
                choose("delete_selected", "", name),
            ),
            "add": (get(None), post(None, {"mailer": "x", "subject": "x"})),
            "change": (get(see(name), row=name), post(None, {"mailer": "x"}, row=name)),
            "delete": (get(None, row=name), post(None, {"post": "yes"}, row=name)),
            "history": (get(see(name), row=name), post(see(name), row=name)),
        }.items()
    },
    # Who is on the suppression list is for people to say.
    "django_smtpx_suppression_changelist": (
        get(see("suppression")),
        choose("delete_selected", "delete_suppression", "suppression"),
        post(
            (*see("suppression"), one_of("delete_suppression")),
            {"action": "delete_selected", "_selected_action": ["{suppression}"], "post": "yes"},
            allowed=302,
            refused=(200, 302, 403),
            changes=True,
        ),
    ),
    "django_smtpx_suppression_add": (
        get((one_of("add_suppression"),)),
        post((one_of("add_suppression"),), {"address": "a@x.y"}, allowed=302, changes=True),
    ),
    "django_smtpx_suppression_change": (
        get(see("suppression"), row="suppression"),
        post(
            (one_of("change_suppression"),),
            {"reason": "other"},
            allowed=302,
            changes=True,
            row="suppression",
        ),
    ),
    "django_smtpx_suppression_delete": (
        get((one_of("delete_suppression"),), row="suppression"),
        post(
            (one_of("delete_suppression"),),
            {"post": "yes"},
            allowed=302,
            changes=True,
            row="suppression",
        ),
    ),
    "django_smtpx_suppression_history": (get(see("suppression"), row="suppression"),),
    # What is done with deliveries.
    "django_smtpx_delivery_steer": (
        get(ANYWAY, allowed=405),
        *deed("retry", "retry_delivery"),
        *deed("cancel", "cancel_delivery"),
        *deed("arrived", "settle_unknown"),
        *deed("again", "settle_unknown"),
    ),
    # What is done with mailers and destinations.
    "django_smtpx_route_resume": (
        get(ANYWAY, allowed=405),
        post((*see("route"), one_of("resume_route")), {"keys": "{route}"}),
        post(
            (*see("route"), one_of("resume_route")),
            {"keys": "{route}", "confirmed": "1"},
            allowed=302,
            changes=True,
        ),
    ),
    "django_smtpx_route_pause": by_form((*see("route"), one_of("pause_route")), PAUSE),
    "django_smtpx_route_test": by_form(
        (*see("route"), one_of("test_mailer")), {"mailer": "default", "to": "me@example.com"}
    ),
    "django_smtpx_route_check": (
        get((*see("route"), one_of("check_mailer"))),
        post((*see("route"), one_of("check_mailer")), {"mailer": "default"}, changes=True),
    ),
    # What is done with webhooks.
    "django_smtpx_webhookendpoint_enable": (
        get(ANYWAY, allowed=405),
        post((*see("webhookendpoint"), one_of("enable_webhook")), {"keys": "{webhookendpoint}"}),
        post(
            (*see("webhookendpoint"), one_of("enable_webhook")),
            {"keys": "{webhookendpoint}", "confirmed": "1"},
            allowed=302,
            changes=True,
        ),
    ),
    # What is done with messages.
    "django_smtpx_message_copy": by_form(
        COPY, {"mailer": "default", "recipients": ["ann@example.com"]}, row="message"
    ),
    # A look at a content is on record, so it is a POST; the frame within has a token.
    "django_smtpx_message_content": (
        get(ANYWAY, allowed=405, row="message"),
        post(READ, row="message", changes=True, shows_body=True),
    ),
    "django_smtpx_message_content_source": (
        get(ANYWAY, allowed=405, row="message"),
        post(READ, row="message", changes=True, shows_body=True),
    ),
    "django_smtpx_message_content_eml": (
        get(ANYWAY, allowed=405, row="message"),
        post(READ, row="message", changes=True, shows_body=True),
    ),
    "django_smtpx_message_content_attachment": (
        get(ANYWAY, allowed=405, row="message"),
        post(READ, row="message", changes=True, shows_body=True),
    ),
    "django_smtpx_message_content_html": (
        get(None, row="message"),
        get(READ, row="message", query=token, shows_body=True),
        post(ANYWAY, allowed=405, row="message"),
    ),
}
for _name, _uses in {
    "django_smtpx_route_changelist": (choose("resume_selected", "resume_route", "route"),),
    "django_smtpx_webhookendpoint_changelist": (
        choose("enable_selected", "enable_webhook", "webhookendpoint"),
    ),
    "django_smtpx_delivery_changelist": (
        choose("retry_selected", "retry_delivery", "delivery"),
        choose("cancel_selected", "cancel_delivery", "delivery"),
        choose("settle_arrived", "settle_unknown", "delivery"),
        choose("settle_again", "settle_unknown", "delivery"),
    ),
}.items():
    TABLE[_name] += _uses


def addresses_of(patterns):
    """Yield the names of all addresses below some patterns."""
    for one in patterns:
        if isinstance(one, URLResolver):
            yield from addresses_of(one.url_patterns)
        elif one.name:
            yield one.name


def test_each_address_is_in_the_table():
    """Whoever adds a page says here who may use it."""
    names = {name for name in addresses_of(admin.site.urls[0]) if name.startswith("django_smtpx_")}
    assert names == TABLE.keys() - {"app_list"}
    assert len(names) > 35


def test_each_action_is_in_the_table(rf):
    """And so does whoever adds an action to a list."""
    request = rf.get("/")
    request.user = User(is_staff=True, is_superuser=True, is_active=True)
    for name in PAGES:
        (model,) = (one for one in admin.site._registry if one._meta.model_name == name)
        offered = admin.site._registry[model].get_actions(request).keys()
        uses = TABLE[f"django_smtpx_{name}_changelist"]
        known = {use.data["action"] for use in uses if "action" in use.data}
        assert offered <= known, name


# -- who ------------------------------------------------------------------------------------------


def people():
    """Yield everybody: a name, and the permissions or None for who is not logged in."""
    ours = set(
        Permission.objects.filter(content_type__app_label="django_smtpx").values_list(
            "codename", flat=True
        )
    )
    usual = {f"{verb}_{name}" for verb in VERBS for name in PAGES}
    views = {f"view_{name}" for name in PAGES}
    own = {name for name in ours if name.partition("_")[0] not in VERBS} | {"view_content"}
    assert own >= {
        "view_content",
        "copy_message",
        "retry_delivery",
        "cancel_delivery",
        "settle_unknown",
        "pause_route",
        "resume_route",
        "check_mailer",
        "test_mailer",
        "enable_webhook",
    }
    lists = {f"{verb}_suppression" for verb in ("add", "change", "delete")}
    told_apart = own | views | lists | {f"change_{name}" for name in PAGES}
    idle = ours - told_apart
    yield "nobody", None
    yield "staff", set()
    yield "superuser", ours
    yield "what means nothing", idle
    for codename in sorted(told_apart):
        yield codename, {codename}
    yield "views and what means nothing", views | idle | (usual - lists)
    for codename in sorted(own | lists):
        yield f"views and {codename}", views | {codename}


def user_for(name, held):
    """Return the user who has these permissions."""
    if held is None:
        return AnonymousUser()
    user = User.objects.create_user(name, is_staff=True, is_superuser=name == "superuser")
    found = Permission.objects.filter(content_type__app_label="django_smtpx", codename__in=held)
    user.user_permissions.set([] if user.is_superuser else found)
    return user


def may(use, held):
    """Say whether these permissions are what a use needs."""
    return use.needs is not None and all(need & held for need in use.needs)


# -- what -----------------------------------------------------------------------------------------


@pytest.fixture
def site(default_mailer, monkeypatch):
    """Configure a mailer with a password, and let no diagnosis connect anywhere."""
    # The same on every page, and slow.
    monkeypatch.setattr(admin.site, "enable_nav_sidebar", False)
    monkeypatch.setattr(checking, "diagnose", lambda name, to: iter(()))
    options = {"host": "127.0.0.1", "port": 1, "username": "me", "password": PASSWORD}
    with real_queue(**options):
        yield


@pytest.fixture
def keys(site):
    """Store one row of each kind and return their keys."""
    failed = rows.refused()
    Delivery.objects.filter(pk=failed.pk).update(status="deferred", lane=Delivery.Lane.IDLE)
    doubtful = rows.delivery(failed.message, "bob@example.com", status="unknown")
    policy = StoredPolicy.objects.create(
        domain="example.com", tried_at=rows.NOW, next_try_at=rows.NOW, expires_at=rows.NOW
    )
    Content.objects.update(data=MAIL)
    return {
        "message": failed.message_id,
        "delivery": failed.pk,
        "doubtful": doubtful.pk,
        "route": rows.route().pk,
        "refusedcredential": rows.refused_credential().pk,
        "storedpolicy": policy.pk,
        "webhookendpoint": rows.webhook().pk,
        "webhookevent": rows.event().pk,
        "suppression": rows.suppression("held@example.com").pk,
    }


def address_of(name, use, user, keys):
    """Return the address that a use is of."""
    if name == "app_list":
        return reverse("admin:app_list", args=["django_smtpx"])
    args = [keys[use.row]] if use.row else []
    if name.endswith("_attachment"):
        args.append(1)
    return reverse(f"admin:{name}", args=args) + use.query(user, keys)


def answer(name, use, user, keys):
    """Use an address as the server does, without its middleware; return the status and the text."""
    url = address_of(name, use, user, keys)
    data = {
        key: [one.format(**keys) for one in ([value] if isinstance(value, str) else value)]
        for key, value in use.data.items()
    }
    request = getattr(RequestFactory(), use.method)(url, data if use.method == "post" else None)
    request.user = user
    request.session = {}
    request._messages = CookieStorage(request)
    request._dont_enforce_csrf_checks = True
    match = resolve(url.partition("?")[0])
    request.resolver_match = match
    try:
        response = match.func(request, *match.args, **match.kwargs)
        if hasattr(response, "render"):
            response.render()
    except PermissionDenied:
        return 403, ""
    except Http404:
        return 404, ""
    except BadRequest:
        return 400, ""
    body = b"".join(response) if response.streaming else response.content
    for close in response._resource_closers:
        close()
    said = " ".join(str(message) for message in request._messages)
    return response.status_code, body.decode() + said


@contextmanager
def writes():
    """Collect the statements that write."""
    found = []

    def look(run, sql, *args):
        if sql.lstrip().upper().startswith(("INSERT", "UPDATE", "DELETE", "REPLACE")):
            found.append(sql)
        return run(sql, *args)

    with connection.execute_wrapper(look):
        yield found


@contextmanager
def undone():
    """Take back what is written."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def everything():
    """Return all rows of all tables but those that say who there is."""
    return {
        model._meta.label: sorted(map(repr, model._base_manager.values_list()))
        for model in apps.get_models(include_auto_created=True)
        if model._meta.app_label != "auth"
    }


# Some thousand requests.
@pytest.mark.timeout(600)
def test_everybody_and_everything(keys):
    """Each use of each address by each of the people has the status that the table says; nobody
    changes anything by a GET, or without the permission, and no content or credential shows.
    """
    wrong = []
    before = everything()
    for who, held in people():
        user = user_for(who, held)
        for name, uses in TABLE.items():
            for use in uses:
                wrong += tried(who, held, user, name, use, keys)
        if everything() != before:
            wrong.append(f"{who}: rows have changed")
    assert wrong == []


def tried(who, held, user, name, use, keys):
    """Use an address, yield what is not as the table has it, and undo what was done."""
    allowed = held is not None and may(use, held)
    expected = (302,) if held is None else (use.allowed,) if allowed else use.refused
    with undone() if use.method == "post" else nullcontext(), writes() as written:
        status, text = answer(name, use, user, keys)
    label = f"{who}: {use.method} {name} {use.data}"
    if status not in expected:
        yield f"{label}: {status}, not {expected}"
    if bool(written) != (allowed and use.changes):
        yield f"{label}: wrote {written}"
    if PASSWORD in text or MAC in text:
        yield f"{label}: shows a credential"
    if (BODY in text) != (allowed and use.shows_body):
        yield f"{label}: the content {'shows' if BODY in text else 'does not show'}"
