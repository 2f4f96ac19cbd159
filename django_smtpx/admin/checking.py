"""The diagnosis of a mailer, run in the request and read on the page: as ``smtpx_check`` has it."""

from __future__ import annotations

from dataclasses import dataclass
from time import monotonic
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.http import HttpResponseNotAllowed
from django.utils.formats import localize
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx import ledger
from django_smtpx.addresses import addr_spec
from django_smtpx.admin.asking import Question
from django_smtpx.admin.testing_mail import MailerForm
from django_smtpx.config import mailers
from django_smtpx.diagnosis import diagnose
from django_smtpx.language import in_language
from django_smtpx.models import Route
from django_smtpx.smtp.diagnosis import text

if TYPE_CHECKING:
    from collections.abc import Iterable

    from django.http import HttpRequest, HttpResponse
    from django.utils.functional import _StrPromise

    from django_smtpx.admin.asking import AskingAdmin
    from django_smtpx.diagnosis import Diagnosis, Step

BEGUN_WITHIN = 15.0
"""Seconds after which no other host is looked at; one takes less than so many."""

_TITLES = {
    "configuration": _("configuration"),
    "certificate": _("certificate"),
    "sender": _("sender"),
    "recipient": _("recipient"),
    "message": _("message"),
    "reverse_dns": _("reverse DNS"),
}


_EVIDENCE = {
    "address": _("address"),
    "addresses": _("addresses"),
    "aligned": _("aligned"),
    "answer": _("answer"),
    "banner": _("banner"),
    "before_tls": _("before TLS"),
    "domain": _("domain"),
    "helo_addresses": _("addresses of helo"),
    "keys": _("keys"),
    "left_out": _("left out"),
    "login": _("login"),
    "mechanism": _("mechanism"),
    "names": _("names"),
    "offered": _("offered"),
    "other_ports": _("other ports"),
    "policy": _("policy"),
    "record": _("record"),
    "reply": _("reply"),
    "result": _("result"),
    "round_trip": _("round trip"),
    "seen": _("seen"),
    "servers": _("servers"),
    "shown": _("shown"),
    "verified_by": _("verified by"),
}
"""What evidence is called, where it is not the name of an option, a command or a protocol."""


class CheckForm(MailerForm):
    """Which mailer, and whether it would take mail for somebody."""

    to = forms.CharField(
        label=_("To"),
        required=False,
        max_length=320,
        widget=AdminTextInputWidget,
        help_text=_(
            "If given, the server is asked whether it takes mail from DEFAULT_FROM_EMAIL to there. "
            "Of mail that goes straight to the recipients’ servers only the sending domain is "
            "looked at without it."
        ),
    )

    def clean_to(self) -> str:
        """Take one valid address, or none."""
        given = self.cleaned_data["to"]
        try:
            return addr_spec(given) if given else ""
        except ValueError as error:
            raise ValidationError(in_language(error)) from error


@dataclass(frozen=True, slots=True)
class Shown:
    """A step as the page has it; ``result`` is True, False, or None where there is nothing to say.

    ``evidence`` is what was seen: names, and the values of each.
    """

    title: _StrPromise | str
    result: bool | None
    evidence: list[tuple[_StrPromise | str, list[str]]]
    cause: str
    mend: str


def check_view(admin: AskingAdmin[Route], request: HttpRequest) -> HttpResponse:
    """Show the form; when it is sent, run the diagnosis and show what was found."""
    if request.method not in ("GET", "HEAD", "POST"):
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    posted = request.POST if request.method == "POST" else None
    form = CheckForm(posted, initial=request.GET.dict())
    question = Question(
        title=_("Run the diagnosis"),
        note=_(
            "It connects as a delivery does, and logs in once. Nothing is sent. The page takes as "
            "long as that: up to 15 seconds for a host, after which no other one is begun. Where "
            "mail goes straight to domains, looking those up comes on top."
        ),
        url=admin.site_url(Route, "check"),
        back_url=admin.site_url(Route, "changelist"),
    )
    if not form.is_valid():
        return admin.form_page(request, form, question)
    name, to = form.cleaned_data["mailer"], form.cleaned_data["to"]
    admin.note_in_history(request, [_route(name)], now_in_words("Run the diagnosis"))
    try:
        found = _found(name, to)
    except (ImproperlyConfigured, ValueError) as error:
        # The address of the sender, for one: that is the settings' own.
        form.add_error(None, in_language(error))
        return admin.form_page(request, form, question)
    context = {
        "diagnoses": [(one, _place(one), list(map(_shown, one.steps))) for one in found],
        "left_out": _left_out(name, len(found)),
        "checked": name,
    }
    return admin.form_page(request, form, question, "check.html", **context)


def _found(name: str, to: str) -> list[Diagnosis]:
    """Return the diagnoses of a mailer's hosts, until the time is up."""
    begun, found = monotonic(), []
    for diagnosis in diagnose(name, to):
        found.append(diagnosis)
        if monotonic() - begun >= BEGUN_WITHIN:
            break
    return found


def _left_out(name: str, looked_at: int) -> int:
    """Return how many hosts were not looked at."""
    mailer = mailers().get(name)
    return 0 if mailer is None else max(0, len(mailer.hosts) - looked_at)


def _route(name: str) -> Route:
    """Return the row of a mailer as a whole, for the history; a new one where it has none yet."""
    rows = Route.objects.using(ledger.database()).filter(mailer=name)
    return rows.filter(host="", domain="", sender="").first() or Route(mailer=name)


def _place(diagnosis: Diagnosis) -> str:
    if not diagnosis.host:
        return diagnosis.mailer
    values = {"host": diagnosis.host, "port": diagnosis.port}
    return now_in_words("%(host)s, port %(port)s") % values


def _shown(step: Step) -> Shown:
    evidence = [
        (_EVIDENCE.get(name, name), _values(value)) for name, value in step.evidence.items()
    ]
    title = _TITLES.get(step.name, text.title(step))
    return Shown(title, step.ok, evidence, in_language(step.cause), in_language(step.mend))


def _values(value: Any) -> list[str]:
    several: Iterable[Any] = value if isinstance(value, list) else [value]
    return [_value(one) for one in several] or ["–"]


def _value(value: Any) -> str:
    if value in ("", None):
        return "–"
    return in_language(value) if isinstance(value, str) else str(localize(value))
