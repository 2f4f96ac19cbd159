"""Sending a test mail through a mailer, by a form; it takes the way of any mail in the queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import ADDITION
from django.contrib.admin.widgets import AdminTextInputWidget
from django.core.exceptions import ValidationError
from django.http import HttpResponseRedirect
from django.utils.html import format_html
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx import byhand
from django_smtpx.addresses import addr_spec
from django_smtpx.admin import words
from django_smtpx.admin.asking import Question, by, offer, once
from django_smtpx.admin.steering import obstacles
from django_smtpx.config import mailer_errors, mailers
from django_smtpx.language import in_language
from django_smtpx.models import Message, Route

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    from django_smtpx.admin.asking import AskingAdmin
    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer


class MailerForm(forms.Form):
    """A mailer, configured well or not."""

    mailer = forms.ChoiceField(label=_("Mailer"))

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        names = sorted({*mailers(), *mailer_errors()})
        offer(self, "mailer", [(name, words.mailer(name)) for name in names])


class TestMailForm(MailerForm):
    """Through which mailer, and to whom."""

    __test__ = False  # it is no test
    to = forms.CharField(
        label=_("To"),
        max_length=320,
        widget=AdminTextInputWidget,
        help_text=_("An address whose mailbox you can see."),
    )

    def clean_to(self) -> str:
        """Take one valid address."""
        try:
            return addr_spec(self.cleaned_data["to"])
        except ValueError as error:
            raise ValidationError(in_language(error)) from error

    def clean(self) -> dict[str, Any]:
        """Take what the mailer can send."""
        cleaned = self.cleaned_data
        if self.errors:
            return cleaned
        try:
            cleaned["mail"] = byhand.test_mail(cleaned["mailer"], cleaned["to"])
        except byhand.Refused as refused:
            raise ValidationError(in_language(refused)) from refused
        return cleaned


def test_view(admin: AskingAdmin[Route], request: HttpRequest) -> HttpResponse:
    """Show the form; then what will be sent; once that is confirmed, queue it."""
    question = Question(
        title=_("Send a test mail"),
        note=_(
            "A small plain mail from DEFAULT_FROM_EMAIL. It is queued and sent as any mail is, and "
            "its page says what becomes of it."
        ),
        url=admin.site_url(Route, "test"),
        back_url=admin.site_url(Route, "changelist"),
    )
    return admin.ask_by_form(
        request,
        TestMailForm(
            request.POST if request.method == "POST" else None, initial=request.GET.dict()
        ),
        question,
        confirmation=lambda form: _confirmation(*form.cleaned_data["mail"]),
        do=lambda form: _send(admin, request, *form.cleaned_data["mail"]),
    )


def _confirmation(mailer: Mailer, mail: Composed) -> tuple[str, dict[str, Any]]:
    return "test.html", {
        "mailer": mailer.name,
        "sender": mail.from_header,
        "recipients": mail.recipients,
        "redirected": bool(mailer.redirect_to),
        "obstacles": obstacles([mailer.name]),
    }


def _send(
    admin: AskingAdmin[Route], request: HttpRequest, mailer: Mailer, mail: Composed
) -> HttpResponse:
    stored = byhand.send(mailer, mail, by=by(request), once=once(request))
    message = stored.message
    if stored.new:
        admin.note_in_history(request, [message], now_in_words("Test mail"), ADDITION)
    text = now_in_words("The test mail is in the queue.")
    if admin.has_pages_of(Message, request):
        text = format_html('<a href="{}">{}</a>', admin.page_url(message), text)
    admin.message_user(request, text, messages.SUCCESS)
    for obstacle in obstacles([mailer.name]):
        admin.message_user(request, obstacle, messages.WARNING)
    return HttpResponseRedirect(admin.site_url(Route, "changelist"))
