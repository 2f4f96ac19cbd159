"""A mail's content, for those who may read it.

Whoever looks leaves an entry in the message's history: each look and each download is a POST, and
written down before anything is shown. Only the frame with the HTML is got by GET, with a token that
the page has for it: bound to the user, the message and that purpose, and good for ten minutes.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from django.contrib import messages
from django.contrib.admin.utils import unquote
from django.core import signing
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.utils import timezone
from django.utils.timesince import timesince
from django.utils.translation import gettext as now_in_words

from django_smtpx import reading
from django_smtpx.admin import letter, shielding, words
from django_smtpx.admin.asking import AskingAdmin
from django_smtpx.config import content_retention
from django_smtpx.language import in_language
from django_smtpx.models import Content, ContentAway, Message

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from django.http import HttpRequest, HttpResponseBase
    from django.urls import URLPattern

TOKEN_AGE = 600
"""Seconds that a frame can be loaded, and loaded again, after the look that it belongs to."""

_SALT = "django_smtpx.admin.content"
_IN_MEMORY = 1024 * 1024


class Unreadable(Exception):
    """A content that cannot be shown; the text says why, to whoever may read it."""


class ContentAdmin(AskingAdmin[Message]):
    """The pages of a message's content, and the section about it on the message's own page."""

    def has_content_permission(self, request: HttpRequest) -> bool:
        """Whether the user may read contents."""
        may_read = request.user.has_perm(f"{Message._meta.app_label}.view_content")
        return may_read and self.has_view_permission(request)

    def get_urls(self) -> list[URLPattern]:
        """Add the addresses of what can be seen of a content."""
        views: dict[str, tuple[str, Callable[..., HttpResponseBase]]] = {
            "content": ("", self.content_view),
            "content_html": ("/html", self.html_view),
            "content_source": ("/source", self.source_view),
            "content_eml": ("/eml", self.eml_view),
            "content_attachment": ("/attachment/<int:number>", self.attachment_view),
        }
        urls = [
            self.own_path(name, view, f"<path:object_id>/content{route}")
            for name, (route, view) in views.items()
        ]
        return [*urls, *super().get_urls()]

    def content_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show what is in the mail."""

        def show(message: Message, file: BinaryIO) -> HttpResponse:
            shown = letter.read(file)
            self.note_in_history(request, [message], now_in_words("Looked at the content"))
            token = signing.dumps(_bound(request, str(message.pk)), salt=_SALT)
            frame = self.site_url(Message, "content_html", message.pk)
            files = [
                (one, self.site_url(Message, "content_attachment", message.pk, one.number))
                for one in shown.files
            ]
            values = {"letter": shown, "files": files, "frame_url": f"{frame}?token={token}"}
            return self._page(request, message, "content_page.html", values)

        return self._posted(request, object_id, show)

    def source_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Show the mail as it is sent."""

        def show(message: Message, file: BinaryIO) -> HttpResponse:
            data = file.read(letter.MOST_SOURCE + 1)
            self.note_in_history(request, [message], now_in_words("Looked at the source"))
            text = data[: letter.MOST_SOURCE].decode("utf-8", "replace")
            values = {
                "source": reading.legible(text),
                "most": filesizeformat(letter.MOST_SOURCE),
                "is_cut": len(data) > letter.MOST_SOURCE,
            }
            return self._page(request, message, "content_source.html", values)

        return self._posted(request, object_id, show)

    def eml_view(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Give the mail as a file."""

        def give(message: Message, file: BinaryIO) -> HttpResponseBase:
            whole = _spooled(iter(lambda: file.read(64 * 1024), b""))
            with _closing_on_error(whole):
                self.note_in_history(request, [message], now_in_words("Downloaded the message"))
                return shielding.download(whole, f"message-{message.pk}.eml", "")

        return self._posted(request, object_id, give)

    def attachment_view(
        self, request: HttpRequest, object_id: str, number: int
    ) -> HttpResponseBase:
        """Give one of its parts as a file."""

        def give(message: Message, file: BinaryIO) -> HttpResponseBase:
            parts = reading.scan(file).parts
            part = next((one for one in parts if one.number == number), None)
            if part is None:
                raise Http404
            whole = _spooled(reading.decoded(file, part))
            # Its name is content, which not everybody who sees the history may read.
            text = now_in_words("Downloaded attachment %(number)s") % {"number": number}
            with _closing_on_error(whole):
                self.note_in_history(request, [message], text)
                return shielding.download(whole, reading.file_name(part), part.content_type)

        return self._posted(request, object_id, give)

    def html_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the mail's HTML to the frame that has a token for it."""
        if request.method not in ("GET", "HEAD"):
            return HttpResponseNotAllowed(["GET", "HEAD"])
        if not self.has_content_permission(request):
            return shielding.sentence(now_in_words("You may not read this."), 403)
        if not _has_token(request, unquote(object_id)):
            text = now_in_words("This view has expired. Go back to the message and open it again.")
            return shielding.sentence(text, 403)
        try:
            with opened(self.message_or_404(request, object_id)) as file:
                return shielding.framed(letter.html_document(file))
        except (Unreadable, OSError) as error:
            return shielding.sentence(_said(error))

    def content_section(self, request: HttpRequest, message: Message) -> dict[str, Any]:
        """Return what the message's own page says of its content."""
        values = {"size": filesizeformat(message.size)}
        if not Content.objects.filter(pk=message.pk).exists():
            text = now_in_words("%(size)s, deleted by the retention") % values
            return {"content_kept": text, "content_note": _gone(message)}
        context: dict[str, Any] = {"content_kept": now_in_words("%(size)s, kept") % values}
        if self.has_content_permission(request):
            context["content_url"] = self.site_url(Message, "content", message.pk)
            note = now_in_words("Who looks at it is on record in the history of this message.")
        else:
            note = now_in_words(
                "You do not have the permission to read it (“Can read the content of messages”)."
            )
        return {**context, "content_note": note}

    def _posted(
        self,
        request: HttpRequest,
        object_id: str,
        answer: Callable[[Message, BinaryIO], HttpResponseBase],
    ) -> HttpResponseBase:
        """Answer a POST by somebody who may read, or say on the message's page why not."""
        if request.method != "POST":
            return HttpResponseNotAllowed(["POST"])
        if not self.has_content_permission(request):
            raise PermissionDenied
        message = self.message_or_404(request, object_id)
        try:
            with opened(message) as file:
                return answer(message, file)
        except (Unreadable, OSError) as error:
            self.message_user(request, _said(error), messages.ERROR)
            return HttpResponseRedirect(self.page_url(message))

    def message_or_404(self, request: HttpRequest, object_id: str) -> Message:
        """Return the message that an address names."""
        message = self.get_object(request, unquote(object_id))
        if message is None:
            raise Http404
        return message

    def _page(
        self, request: HttpRequest, message: Message, template: str, values: dict[str, Any]
    ) -> HttpResponse:
        urls = {
            f"{name}_url": self.site_url(Message, f"content_{name}", message.pk)
            for name in ("source", "eml")
        }
        context = {
            "title": now_in_words("Content"),
            "subtitle": words.subject(message.subject),
            "content_url": self.site_url(Message, "content", message.pk),
            "back_url": self.page_url(message),
            **urls,
            **values,
        }
        return shielding.around(self.own_page(request, template, context))


def opened(message: Message) -> BinaryIO:
    """Return a content as a file. Raises :class:`Unreadable` where it is gone, or away."""
    try:
        return message.body.open()
    except (Content.DoesNotExist, FileNotFoundError):
        raise Unreadable(now_in_words("The content is there no more.")) from None
    except ContentAway as away:
        raise Unreadable(_said(away)) from away


def _said(error: Unreadable | OSError) -> str:
    if isinstance(error, Unreadable):
        return str(error)
    text = now_in_words("The content cannot be read just now: %(reason)s.")
    return text % {"reason": in_language(error)}


def _gone(message: Message) -> str:
    """Say why a content is there no more, and since when about."""
    now = timezone.now()
    text = now_in_words("Contents are kept for %(time)s after the last delivery is settled.")
    kept_for = text % {"time": timesince(now - content_retention(), now)}
    if message.settled_at is None:
        return kept_for
    settled = now_in_words("That was on %(time)s.") % {"time": words.moment(message.settled_at)}
    return f"{kept_for} {settled}"


def _bound(request: HttpRequest, key: str) -> list[str]:
    """Return what a token is for."""
    return [str(request.user.pk), key, "html"]


def _has_token(request: HttpRequest, key: str) -> bool:
    try:
        given = signing.loads(request.GET.get("token", ""), salt=_SALT, max_age=TOKEN_AGE)
    except signing.BadSignature:
        return False
    return bool(given == _bound(request, key))


def _spooled(blocks: Iterable[bytes]) -> BinaryIO:
    """Return all blocks in a file: what cannot be read is found out before the answer begins."""
    file: Any = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115 (the response closes it)
    with _closing_on_error(file):
        for block in blocks:
            file.write(block)
        file.seek(0)
    return cast("BinaryIO", file)


@contextmanager
def _closing_on_error(file: BinaryIO) -> Iterator[None]:
    try:
        yield
    except BaseException:
        file.close()
        raise
