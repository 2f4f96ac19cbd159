"""What stands in front of each thing that a person does: a page that says what will come of it.

Nothing is done before its second step: the first shows, by a form or by what was chosen in a list,
what is meant and what that touches; the second, a POST that carries "confirmed", does it. It is
noted in the admin's own history, by whom.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar, cast
from uuid import uuid4

import django
from django.contrib import messages
from django.contrib.admin.helpers import AdminForm
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import BadRequest
from django.db.models import Model
from django.forms import ChoiceField
from django.http import HttpResponseNotAllowed
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.formats import number_format
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from django_smtpx.admin.base import ReadOnlyAdmin, as_uuid

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from uuid import UUID

    from django import forms
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse, HttpResponseBase
    from django.urls import URLPattern
    from django.utils.functional import _StrPromise

M = TypeVar("M", bound=Model)
F = TypeVar("F", bound="forms.Form")

_LOG_BATCH = 1000
_ONCE = "once"
SEEN = "seen"
"""The field of a confirmation that says how what it is about stood when the user saw it."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """Rows that something is to be done with, and where the user goes afterwards.

    ``query`` is the query string of the list, or of the page where ``on_page``: that of the one
    row.
    """

    keys: tuple[int, ...]
    query: str = ""
    on_page: bool = False

    def fields(self) -> list[tuple[str, str]]:
        """Return what a form has to carry for :meth:`AskingAdmin.posted` to read it again."""
        fields = [("keys", ",".join(map(str, self.keys))), ("query", self.query)]
        return [*fields, ("page", "1")] if self.on_page else fields


@dataclass(frozen=True, slots=True)
class Question:
    """One thing to do that is asked for by a form: its title, which its button has as well, its
    address, a sentence about it, and where the user goes who does not want it.
    """

    title: _StrPromise
    url: str
    back_url: str
    note: _StrPromise | str = ""

    @property
    def context(self) -> dict[str, Any]:
        """What the pages show of it."""
        return {
            "title": self.title,
            "label": self.title,
            "note": self.note,
            "post_url": self.url,
            "back_url": self.back_url,
        }


class AskingAdmin(ReadOnlyAdmin[M]):
    """Pages of two steps."""

    most = 1000
    """Rows that can be chosen at once in a list."""
    too_many: _StrPromise
    """What is said where more are chosen, with a place for ``count``."""

    def own_path(
        self, name: str, view: Callable[..., HttpResponseBase], route: str = ""
    ) -> URLPattern:
        """Return the pattern of a page beside Django's own, at ``route`` or at its name."""
        full = f"{self.opts.app_label}_{self.opts.model_name}_{name}"
        # An error report of Django's has what variables hold, and not all who get it may read that.
        view = sensitive_variables()(view)
        return path(f"{route or name}/", self.admin_site.admin_view(view), name=full)

    def chosen(self, request: HttpRequest, queryset: QuerySet[M]) -> Chosen | None:
        """Return what was chosen in the list; None where that is too much, and the user told so."""
        keys = tuple(queryset.order_by().values_list("pk", flat=True)[: self.most + 1])
        if len(keys) <= self.most:
            return Chosen(keys, request.GET.urlencode())
        text = self.too_many % {"count": number_format(self.most)}
        self.message_user(request, text, messages.ERROR)
        return None

    def posted(self, request: HttpRequest) -> Chosen:
        """Return what a form of ours carries; what none does is a bad request."""
        try:
            keys = tuple(dict.fromkeys(map(int, request.POST.get("keys", "").split(","))))
        except ValueError:
            raise BadRequest("No such rows.") from None
        if len(keys) > self.most or max(keys) >= 2**63 or min(keys) < 0:
            raise BadRequest("No such rows.")
        return Chosen(keys, request.POST.get("query", ""), "page" in request.POST)

    def back_url(self, chosen: Chosen) -> str:
        """Return the address of the list, or of the page, that the user came from."""
        page, args = ("change", chosen.keys[:1]) if chosen.on_page else ("changelist", ())
        url = self.site_url(self.model, page, *args)
        return f"{url}?{chosen.query}" if chosen.query else url

    def own_page(
        self, request: HttpRequest, template: str, context: dict[str, Any]
    ) -> TemplateResponse:
        """Return a page of the admin's own making."""
        request.current_app = self.admin_site.name
        shared = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "media": self.media,
            # Django's own markup of that, which its style sheet is for.
            "crumbs_in_list": django.VERSION >= (6, 1),
        }
        return TemplateResponse(request, f"admin/django_smtpx/{template}", {**shared, **context})

    def ask_by_form(
        self,
        request: HttpRequest,
        form: F,
        question: Question,
        *,
        confirmation: Callable[[F], tuple[str, dict[str, Any]]],
        do: Callable[[F], HttpResponse],
        more_notes: Sequence[str] = (),
    ) -> HttpResponse:
        """Show the form until it is valid, then what it means, and once that is confirmed do it.

        ``confirmation`` returns a template and what it shows; where that has :data:`SEEN`, and it
        is another one when the user confirms, that is shown anew. ``more_notes`` are for the form.
        """
        if request.method not in ("GET", "HEAD", "POST"):
            return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
        if not form.is_valid():
            return self.form_page(request, form, question, more_notes=more_notes)
        confirmed = "confirmed" in request.POST
        if confirmed and SEEN not in request.POST:
            return do(form)
        template, details = confirmation(form)
        if confirmed and request.POST[SEEN] == details.get(SEEN):
            return do(form)
        if confirmed:
            self.message_user(request, _("It has changed meanwhile: look again."), messages.WARNING)
        hidden = [(name, value) for name in form.fields for value in request.POST.getlist(name)]
        hidden += [(SEEN, details[SEEN])] if SEEN in details else []
        hidden.append((_ONCE, str(uuid4())))
        return self.own_page(request, template, {**question.context, "hidden": hidden, **details})

    def form_page(
        self,
        request: HttpRequest,
        form: forms.Form,
        question: Question,
        template: str = "ask.html",
        **context: Any,
    ) -> HttpResponse:
        """Show a form, with what is wrong about it if it was sent."""
        fields = [(None, {"fields": list(form.fields)})]
        shown = {"form": form, "adminform": AdminForm(cast("Any", form), fields, {})}
        return self.own_page(request, template, {**question.context, **shown, **context})

    def refuse(self, request: HttpRequest, question: Question, reason: str) -> HttpResponse:
        """Say why something cannot be done; there is nothing to confirm."""
        context = {"title": question.title, "reason": reason, "back_url": question.back_url}
        return self.own_page(request, "refused.html", context)

    def note_in_history(
        self, request: HttpRequest, rows: Iterable[Model], text: str, flag: int = CHANGE
    ) -> None:
        """Write into the admin's own history what the user did with ``rows``."""
        assert request.user.pk is not None  # admin_view has seen to that
        LogEntry.objects.log_actions(request.user.pk, list(rows), flag, text)

    def note_keys(self, request: HttpRequest, keys: tuple[int, ...], text: str) -> None:
        """Write the same of this admin's rows by their keys, however many they are."""
        for first in range(0, len(keys), _LOG_BATCH):
            rows = self.model._default_manager.filter(pk__in=keys[first : first + _LOG_BATCH])
            self.note_in_history(request, rows, text)


def offer(form: forms.Form, name: str, choices: Sequence[tuple[str, str]]) -> None:
    """Let one of ``choices`` be chosen in the field ``name``."""
    field = form.fields[name]
    assert isinstance(field, ChoiceField)
    field.choices = choices


def once(request: HttpRequest) -> UUID:
    """Return what tells a confirmation from any other, and is the same where it is sent twice."""
    return as_uuid(request.POST.get(_ONCE, "")) or uuid4()


def by(request: HttpRequest) -> str:
    """Return who does it, for the log."""
    return f"user {request.user.pk} in the admin"
