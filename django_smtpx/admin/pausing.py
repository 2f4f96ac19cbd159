"""Pausing a mailer, or its mail to one domain, by a form: which, for how long, and why."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from zlib import crc32

from django import forms
from django.contrib import messages
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpResponseRedirect
from django.utils.formats import number_format
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx import ledger, pacing
from django_smtpx.admin import words
from django_smtpx.admin.asking import SEEN, Question, by, offer
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import in_language
from django_smtpx.models import Route
from django_smtpx.pacing import Scope

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import datetime, timedelta

    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    from django_smtpx.admin.asking import AskingAdmin

COUNTED = 10_000
"""Deliveries that are counted for a page."""

_LENGTHS = (
    ("15m", _("15 minutes")),
    ("1h", _("1 hour")),
    ("4h", _("4 hours")),
    ("1d", _("1 day")),
    ("", _("until somebody resumes it")),
)


class PauseForm(forms.Form):
    """What is to rest, until when, and why."""

    mailer = forms.ChoiceField(label=_("Mailer"))
    domain = forms.CharField(
        label=_("Domain"),
        required=False,
        max_length=255,
        widget=AdminTextInputWidget,
        help_text=_("Only its mail to this domain. Empty: all of its mail."),
    )
    length = forms.ChoiceField(label=_("For"), choices=_LENGTHS, required=False, initial="1h")
    other_length = forms.CharField(
        label=_("Or for"),
        required=False,
        max_length=30,
        widget=AdminTextInputWidget,
        help_text=_("Such as 90s, 15m, 2h, 1d or 1h30m. It counts where it is filled in."),
    )
    reason = forms.CharField(
        label=_("Reason"),
        max_length=500,
        widget=AdminTextInputWidget,
        help_text=_("For the others: it is shown wherever this mail is."),
    )

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        offer(self, "mailer", [(name, words.mailer(name)) for name in _mailers()])

    def clean_domain(self) -> str:
        """Take the domain as deliveries have it."""
        text = self.cleaned_data["domain"]
        try:
            return pacing.domain_of(text) if text else ""
        except ValueError as error:
            raise ValidationError(in_language(error)) from error

    def clean_other_length(self) -> timedelta | None:
        """Take a duration as the commands do."""
        text = self.cleaned_data["other_length"]
        try:
            return pacing.duration(text) if text else None
        except ValueError as error:
            raise ValidationError(in_language(error)) from error

    @property
    def scope(self) -> Scope:
        """What is to rest."""
        return Scope(self.cleaned_data["mailer"], self.cleaned_data["domain"])

    def until(self, at: datetime) -> datetime | None:
        """Return when it ends that begins at ``at``; None: when somebody resumes it."""
        length = self.cleaned_data["other_length"]
        if length is None and self.cleaned_data["length"]:
            length = pacing.duration(self.cleaned_data["length"])
        return None if length is None else at + length


def pause_view(admin: AskingAdmin[Route], request: HttpRequest) -> HttpResponse:
    """Show the form; then what will rest; once that is confirmed, let it."""
    posted = request.POST if request.method == "POST" else None
    question = Question(
        title=_("Pause"),
        note=_(
            "Nothing of it is sent, no attempt is counted, and its mail gets no older. What a "
            "worker has claimed before is still sent."
        ),
        url=admin.site_url(Route, "pause"),
        back_url=admin.site_url(Route, "changelist"),
    )
    return admin.ask_by_form(
        request,
        PauseForm(posted, initial=request.GET.dict()),
        question,
        confirmation=_confirmation,
        do=lambda form: _pause(admin, request, form),
    )


def _confirmation(form: PauseForm) -> tuple[str, dict[str, Any]]:
    scope = form.scope
    closed = _row(scope).exclude(state=Route.State.OPEN).first()
    return "pause.html", {
        "rests": _rests(scope, form.until(ledger.now())),
        "reason": form.cleaned_data["reason"],
        "waiting": _counted(scope.waiting(COUNTED)),
        "sending": number_format(scope.sending()),
        "instead_of": closed,
        SEEN: standing(closed) if closed is not None else "",
    }


def _pause(admin: AskingAdmin[Route], request: HttpRequest, form: PauseForm) -> HttpResponse:
    scope, at, reason = form.scope, ledger.now(), form.cleaned_data["reason"]
    until = form.until(at)
    pacing.pause(scope.mailer, at, domain=scope.domain, until=until, reason=reason, by=by(request))
    route = _row(scope).get()
    admin.note_in_history(request, [route], now_in_words("Pause"))
    admin.message_user(request, _rests(scope, until), messages.SUCCESS)
    return HttpResponseRedirect(admin.page_url(route))


def standing(route: Route) -> str:
    """Return what tells one closing of a route from another, which probes do not change."""
    closed = f"{route.state} {route.category or route.pause_reason}"
    return f"{route.pk}:{crc32(closed.encode()):08x}"


def _mailers() -> Iterable[str]:
    """Return the mailers that are configured, well or not, and those that something rests of."""
    routes = Route.objects.using(ledger.database()).order_by()
    left = routes.values_list("mailer", flat=True).distinct()
    return sorted({*mailers(), *mailer_errors(), *left})


def _row(scope: Scope) -> QuerySet[Route]:
    routes = Route.objects.using(ledger.database())
    return routes.filter(mailer=scope.mailer, domain=scope.domain, host="", sender="")


def _rests(scope: Scope, until: datetime | None) -> str:
    if until is None:
        return now_in_words("%(scope)s is held until somebody resumes it") % {"scope": scope}
    values = {"scope": scope, "time": words.moment(until)}
    return now_in_words("%(scope)s rests until %(time)s") % values


def _counted(count: int) -> str:
    if count <= COUNTED:
        return number_format(count)
    return now_in_words("more than %(count)s") % {"count": number_format(COUNTED)}
