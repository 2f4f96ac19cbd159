"""Sending a copy of a message: a new mail with the same content, to whom the user says.

A copy carries the content away: who may not see it can send it only to those that it was for.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.models import ADDITION
from django.contrib.admin.widgets import AdminTextareaWidget
from django.core.exceptions import ValidationError
from django.http import HttpResponseRedirect
from django.utils import timezone
from django.utils.formats import number_format
from django.utils.html import format_html
from django.utils.translation import gettext as now_in_words
from django.utils.translation import gettext_lazy as _

from django_smtpx import byhand, ledger
from django_smtpx.addresses import addr_spec
from django_smtpx.admin import words
from django_smtpx.admin.asking import Question, by, offer, once
from django_smtpx.admin.base import may, may_view
from django_smtpx.admin.steering import obstacles
from django_smtpx.config import mailers
from django_smtpx.language import in_language
from django_smtpx.models import Delivery, Message

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.http import HttpRequest, HttpResponse

    from django_smtpx.admin.asking import AskingAdmin
    from django_smtpx.admin.base import BaseAdmin
    from django_smtpx.compose import Composed
    from django_smtpx.config import Mailer

MOST = 100
"""Recipients that a copy can have."""


class CopyForm(forms.Form):
    """To whom, and through which mailer."""

    recipients = forms.MultipleChoiceField(
        label=_("Recipients"), required=False, widget=forms.CheckboxSelectMultiple
    )
    others = forms.CharField(
        label=_("Other addresses"),
        required=False,
        max_length=10_000,
        widget=AdminTextareaWidget(attrs={"rows": 3}),
        help_text=_("One on each line."),
    )
    mailer = forms.ChoiceField(label=_("Mailer"))

    def __init__(
        self, *args: Any, message: Message, originals: Sequence[str], freely: bool, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self._message = message
        names = [name for name in sorted(mailers()) if not byhand.why_not(name)]
        offer(self, "mailer", [(name, name) for name in names])
        offer(self, "recipients", [(address, address) for address in originals])
        if not freely:
            del self.fields["others"]

    def clean_others(self) -> list[str]:
        """Take addresses, and name what is none."""
        found, wrong = [], []
        for line in self.cleaned_data["others"].splitlines():
            try:
                if line.strip():
                    found.append(addr_spec(line.strip()))
            except ValueError as error:
                wrong.append(in_language(error))
        if wrong:
            raise ValidationError(wrong)
        return found

    def clean(self) -> dict[str, Any]:
        """Take a copy that can be sent, to somebody and not to too many."""
        cleaned = self.cleaned_data
        to = [*cleaned.get("recipients", ()), *cleaned.get("others", ())]
        if self.errors:
            return cleaned
        if not to:
            raise ValidationError(_("Choose a recipient at least."))
        if len(to) > MOST:
            text = _("A copy can have %(most)s recipients, and these are %(count)s.")
            raise ValidationError(text, params={"most": MOST, "count": len(to)})
        try:
            cleaned["mail"] = byhand.copy_of(self._message, to, cleaned["mailer"])
        except byhand.Refused as refused:
            raise ValidationError(in_language(refused)) from refused
        return cleaned


def copy_view(admin: AskingAdmin[Message], request: HttpRequest, message: Message) -> HttpResponse:
    """Show the form; then to whom the copy goes; once that is confirmed, queue it."""
    question = Question(
        title=_("Send a copy"),
        note=_(
            "A copy is a new message with the same content, and with a Message-ID, a date and "
            "signatures of its own. What has become of the first one stays as it is."
        ),
        url=f"{admin.site_url(Message, 'copy', message.pk)}?{request.GET.urlencode()}",
        back_url=admin.page_url(message),
    )
    if ledger.content_of(message) is None:
        return admin.refuse(request, question, byhand.purged())
    one = _recipient(message, request.GET.get("delivery", ""))
    originals, total = _recipients(message)
    form = CopyForm(
        request.POST if request.method == "POST" else None,
        message=message,
        originals=list(dict.fromkeys([one, *originals] if one is not None else originals)),
        freely=may(request, "view_content"),
        initial={
            "recipients": [one] if one is not None else originals if total <= MOST else [],
            "mailer": message.mailer,
        },
    )
    return admin.ask_by_form(
        request,
        form,
        question,
        more_notes=_notes(message, total),
        confirmation=lambda valid: _confirmation(message, *valid.cleaned_data["mail"]),
        do=lambda valid: _send(admin, request, message, *valid.cleaned_data["mail"]),
    )


def may_copy(request: HttpRequest) -> bool:
    """Say whether the user may copy messages; the form shows their recipients, too."""
    seen = may_view(request, Message) and may_view(request, Delivery)
    return seen and may(request, "copy_message")


def copy_url(admin: BaseAdmin[Any], request: HttpRequest, message: Message) -> str:
    """Return the address of a message's form; "" where the user may not copy it."""
    offered = admin.admin_site.is_registered(Message) and may_copy(request)
    return admin.site_url(Message, "copy", message.pk) if offered else ""


def _recipients(message: Message) -> tuple[list[str], int]:
    """Return the first recipients of a message, and how many it has."""
    rows = Delivery.objects.using(ledger.database()).filter(message=message).order_by("pk")
    first = list(rows.values_list("recipient", flat=True)[: MOST + 1])
    return first[:MOST], len(first) if len(first) <= MOST else rows.count()


def _recipient(message: Message, key: str) -> str | None:
    """Return whom one of the message's deliveries is for; None where it is none of them."""
    if not key.isascii() or not key.isdecimal() or len(key) > 18:
        return None
    rows = Delivery.objects.using(ledger.database()).filter(message=message, pk=int(key))
    return rows.values_list("recipient", flat=True).first()


def _notes(message: Message, total: int) -> list[str]:
    """Return what the form does not offer, and why."""
    reason = byhand.why_not(message.mailer) if message.mailer else ""
    notes = [reason] if reason else []
    if total > MOST:
        text = now_in_words(
            "Of %(total)s recipients the first %(most)s are shown. A copy for another one is sent "
            "from the page of its delivery."
        )
        notes.append(text % {"total": number_format(total), "most": number_format(MOST)})
    return notes


def _confirmation(message: Message, mailer: Mailer, mail: Composed) -> tuple[str, dict[str, Any]]:
    stopped = ledger.suppressed(mail.recipients, timezone.now()) if mailer.suppression else {}
    return "copy.html", {
        "subject": words.subject(message.subject),
        "mailer": mailer.name,
        "recipients": [(one, one in stopped) for one in mail.recipients],
        "redirected": bool(mailer.redirect_to),
        "expired": message.expires_at is not None and mail.expires_at is None,
        "obstacles": obstacles([mailer.name]),
    }


def _send(
    admin: AskingAdmin[Message],
    request: HttpRequest,
    message: Message,
    mailer: Mailer,
    mail: Composed,
) -> HttpResponse:
    stored = byhand.send(mailer, mail, by=by(request), once=once(request))
    copy = stored.message
    if stored.new:
        said = now_in_words("Copied, as %(uuid)s") % {"uuid": copy.uuid}
        admin.note_in_history(request, [message], said)
        said = now_in_words("Copy of %(uuid)s") % {"uuid": message.uuid}
        admin.note_in_history(request, [copy], said, ADDITION)
    text = format_html(
        '<a href="{}">{}</a>', admin.page_url(copy), now_in_words("The copy is in the queue.")
    )
    admin.message_user(request, text, messages.SUCCESS)
    for obstacle in obstacles([mailer.name]):
        admin.message_user(request, obstacle, messages.WARNING)
    return HttpResponseRedirect(admin.page_url(message))
