"""The pages of a mail's content: who may see what, what is noted, and what each response allows."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core import signing
from django.core.files.base import ContentFile
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from django_smtpx.admin import letter
from django_smtpx.models import Attempt, Content, ContentPart, Delivery, Message
from tests.admin import rows
from tests.admin.hostile import SECRET, hostile_message
from tests.admin.pressing import said, text_of
from tests.storages import configured, content, mail_storage

pytestmark = pytest.mark.django_db
POSTS = ("content", "content_source", "content_eml", "content_attachment")


@pytest.fixture
def reader(staff):
    """Log in somebody who may read contents."""
    return staff("view_message", "view_delivery", "view_content")


def stored(data=None, **values):
    """Store a mail: by default the hostile one."""
    message = rows.message(**values)
    data = hostile_message().as_bytes() if data is None else data
    Content.objects.filter(pk=message.pk).update(data=data)
    return message


def address(message, page="content", number=5):
    """Return the address of a page about a content."""
    args = [message.pk, number] if page.endswith("attachment") else [message.pk]
    return reverse(f"admin:django_smtpx_message_{page}", args=args)


def frame_of(response):
    """Return the address of the frame on the page of a content."""
    found = re.search(r'<iframe [^>]*src="([^"]+)"', response.content.decode())
    return unescape(found[1])


def page_of(client, message, page="change"):
    """Return the message's own page."""
    return client.get(reverse(f"admin:django_smtpx_message_{page}", args=[message.pk]))


def log():
    """Return what is on record: by whom, about what, and what he did."""
    entries = LogEntry.objects.order_by("pk")
    return list(entries.values_list("user__username", "object_id", "change_message"))


def state():
    """Return all that could have been changed."""
    models = (Message, Content, ContentPart, Delivery, Attempt, LogEntry)
    return [list(model.objects.order_by("pk").values()) for model in models]


# who may see what


@pytest.mark.parametrize("page", POSTS)
def test_nothing_without_the_permission(staff, page):
    """Who may view messages and do all else sees no content, and nothing is noted."""
    client = staff("view_message", "view_delivery", "retry_delivery", "copy_message")
    message = stored()
    assert client.post(address(message, page)).status_code == 403
    assert log() == []


@pytest.mark.parametrize("page", POSTS)
def test_nothing_without_the_permission_to_view_messages(staff, page):
    """The permission to read contents is none to see messages."""
    message = stored()
    assert staff("view_content").post(address(message, page)).status_code == 403


@pytest.mark.parametrize("page", [*POSTS, "content_html"])
def test_anonymous(page):
    """Who is not logged in is sent to do so."""
    message = stored()
    method = "get" if page == "content_html" else "post"
    response = getattr(Client(), method)(address(message, page))
    assert (response.status_code, "login" in response["Location"]) == (302, True)


@pytest.mark.parametrize("page", POSTS)
def test_get_shows_nothing(reader, page):
    """No link leads to a content: it is asked for by POST."""
    response = reader.get(address(stored(), page))
    assert response.status_code == 405
    assert log() == []


@pytest.mark.parametrize("page", POSTS)
def test_forged_request(reader, page):
    """A request that comes from another site is refused."""
    client = Client(enforce_csrf_checks=True)
    client.force_login(User.objects.get())
    assert client.post(address(stored(), page)).status_code == 403
    assert log() == []


def test_secret_stays_where_it_is(staff):
    """Nothing of a content is on any other page, nor found by a search."""
    message = stored()
    rows.refused(message)
    client = staff("view_message", "view_delivery")
    delivery = message.deliveries.get()
    lists = [reverse(f"admin:django_smtpx_{name}_changelist") for name in ("message", "delivery")]
    pages = [page_of(client, message), page_of(client, message, "history")]
    pages += [client.get(url) for url in lists]
    pages.append(client.get(reverse("admin:django_smtpx_delivery_change", args=[delivery.pk])))
    for page in pages:
        assert page.status_code == 200
        assert SECRET not in page.content.decode()
    for url in lists:
        assert client.get(url, {"q": SECRET}).context["cl"].result_count == 0


def test_history_holds_no_content(reader):
    """What is on record of a download has not the name of the file, which is content."""
    message = stored()
    response = reader.post(address(message, "content_attachment", 14))
    assert f"{SECRET}.csv" in response["Content-Disposition"]
    assert SECRET in b"".join(response.streaming_content).decode()
    assert log() == [("staff", str(message.pk), "Downloaded attachment 14")]


# the message's own page


def test_button(reader):
    """Who may read has a button for it, and is told that it is noted."""
    message = stored()
    page = page_of(reader, message)
    assert f'formaction="{address(message)}"' in page.content.decode()
    assert "2.0 KB, kept. Who looks at it is on record" in text_of(page)


def test_no_button(staff):
    """Who may not read is told why there is none."""
    message = stored()
    page = page_of(staff("view_message"), message)
    assert "/content/" not in page.content.decode()
    assert "You do not have the permission to read it" in text_of(page)


def test_purged(reader):
    """Of a purged content the page says how long one is kept, and from when on that counted."""
    message = stored(settled_at=rows.NOW)
    Content.objects.all().delete()
    page = page_of(reader, message)
    assert "/content/" not in page.content.decode()
    assert (
        "2.0 KB, deleted by the retention. Contents are kept for 1 week after the last delivery is "
        "settled. That was on March 4, 2026, noon."
    ) in text_of(page)


@pytest.mark.parametrize("page", POSTS)
def test_purged_meanwhile(reader, page):
    """A content that was purged since the page was shown is said to be gone."""
    message = stored()
    Content.objects.all().delete()
    response = reader.post(address(message, page))
    assert (response.status_code, response.url) == (
        302,
        page_of(reader, message).request["PATH_INFO"],
    )
    assert said(response) == ["The content is there no more."]
    assert log() == []


# the page of a content


def test_page(reader):
    """Headers, text, attachments and the frame are on the page, and that it was shown is noted."""
    message = stored()
    response = reader.post(address(message))
    assert response.status_code == 200
    text = text_of(response)
    assert f"X-Secret <script src=http://hostile.example/header></script> {SECRET}" in text
    assert f"</pre><script>alert(1)</script><img src=http://hostile.example/text> {SECRET}" in text
    assert "page.html text/html" in text
    assert "passwd application/octet-stream" in text
    page = response.content.decode()
    assert "<script>alert" not in page
    assert "<img src=http" not in page
    assert 'sandbox="" referrerpolicy="no-referrer"' in page
    assert log() == [("staff", str(message.pk), "Looked at the content")]
    assert "Looked at the content" in text_of(page_of(reader, message, "history"))


def test_headers_of_the_page(reader):
    """The page runs and applies the admin's own files only, and can hold no frame of others."""
    response = reader.post(address(stored()))
    assert response["Content-Security-Policy"] == (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "font-src 'self'; connect-src 'self'; object-src 'none'; frame-src 'self'; "
        "form-action 'self'; base-uri 'none'; frame-ancestors 'self'"
    )
    assert "no-store" in response["Cache-Control"]
    assert response["Referrer-Policy"] == "same-origin"
    assert response["X-Content-Type-Options"] == "nosniff"


def test_source(reader):
    """The source is what is sent, up to a size, with signs for what would not be seen."""
    message = stored(b"Subject: x\r\n\r\n<b>\x00\xe2\x80\xae" + b"x" * letter.MOST_SOURCE)
    response = reader.post(address(message, "content_source"))
    assert "Subject: x\n\n&lt;b&gt;␀[U+202E]xxx" in response.content.decode()
    assert "Only the first 256.0 KB are shown" in text_of(response)
    assert log() == [("staff", str(message.pk), "Looked at the source")]


def test_theme(reader, settings, tmp_path):
    """What a site's own template runs and applies is left to it; the rest of the policy stays."""
    (tmp_path / "admin").mkdir()
    (tmp_path / "admin" / "base_site.html").write_text('{% extends "admin/base.html" %}')
    settings.TEMPLATES = [{**settings.TEMPLATES[0], "DIRS": [tmp_path]}]
    response = reader.post(address(stored()))
    assert response["Content-Security-Policy"] == (
        "object-src 'none'; frame-src 'self'; form-action 'self'; base-uri 'none'; "
        "frame-ancestors 'self'"
    )


def test_static_files_elsewhere(reader, settings):
    """The admin's own files may come from where the site has them."""
    settings.STATIC_URL = "https://static.example/files/"
    response = reader.post(address(stored()))
    assert "script-src 'self' https://static.example;" in response["Content-Security-Policy"]


def test_large_mail(reader):
    """Of a mail that is too long for a page the beginning is shown, and that is said."""
    message = stored(b"Subject: x\r\n\r\n" + b"x" * (letter.MOST_TEXT + 1000))
    response = reader.post(address(message))
    assert "Only the first 256.0 KB of the plain text are shown." in text_of(response)
    assert len(response.content) < letter.MOST_TEXT + 20_000


# the frame


def test_frame(reader):
    """The frame has the HTML, without its links and with its images, and loading it notes nothing."""
    frame = frame_of(reader.post(address(stored())))
    before = state()
    with CaptureQueriesContext(connection) as queries:
        response = reader.get(frame)
    html = response.content.decode()
    assert response.status_code == 200
    assert SECRET in html
    assert 'src="data:image/png;base64,iVBOR' in html
    assert 'src="cid:evil@hostile.example"' in html
    assert not re.search(r"href\s*=\s*[\"']?[^\"'#]", html)
    assert all(query["sql"].startswith("SELECT") for query in queries)
    assert state() == before


def test_headers_of_the_frame(reader, settings):
    """The frame can do nothing, load nothing and be in no page but ours."""
    settings.MIDDLEWARE = [
        *settings.MIDDLEWARE,
        "django.middleware.clickjacking.XFrameOptionsMiddleware",
        "django.middleware.security.SecurityMiddleware",
    ]
    page = reader.post(address(stored()))
    response = reader.get(frame_of(page))
    assert page["X-Frame-Options"] == "DENY"
    expected = {
        "Content-Security-Policy": (
            "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; "
            "font-src data:; form-action 'none'; base-uri 'none'; frame-ancestors 'self'"
        ),
        "Content-Type": "text/html; charset=utf-8",
        "X-Frame-Options": "SAMEORIGIN",
        "Referrer-Policy": "no-referrer",
        "X-Content-Type-Options": "nosniff",
        "Cross-Origin-Resource-Policy": "same-origin",
        "X-DNS-Prefetch-Control": "off",
    }
    assert {name: response[name] for name in expected} == expected
    assert "no-store" in response["Cache-Control"]


def test_frame_without_a_token(reader):
    """Without a token, with a made-up one and with one for another message there is nothing."""
    message, other = stored(), stored()
    token = frame_of(reader.post(address(other))).partition("token=")[2]
    forged = signing.dumps(["1", str(message.pk), "html"], salt="another")
    for query in ("", "?token=", "?token=x", f"?token={forged}", f"?token={token}"):
        response = reader.get(address(message, "content_html") + query)
        assert response.status_code == 403
        assert SECRET not in response.content.decode()
        assert "This view has expired" in text_of(response)
        assert response["Content-Security-Policy"].startswith("sandbox;")


def test_frame_of_another_user(reader, admin_client):
    """A token is of no use to anybody else, whatever he may."""
    frame = frame_of(reader.post(address(stored())))
    assert admin_client.get(frame).status_code == 403
    assert reader.get(frame).status_code == 200


def test_frame_later(reader, monkeypatch):
    """A token is good for ten minutes."""
    frame = frame_of(reader.post(address(stored())))
    times = [0.0]
    now = signing.time.time()
    monkeypatch.setattr(signing.time, "time", lambda: now + times[0])
    times[0] = 590
    assert reader.get(frame).status_code == 200
    times[0] = 610
    assert reader.get(frame).status_code == 403


def test_frame_when_the_permission_is_withdrawn(reader):
    """What somebody may no longer read his token does not show him."""
    frame = frame_of(reader.post(address(stored())))
    user = User.objects.get()
    user.user_permissions.remove(Permission.objects.get(codename="view_content"))
    response = reader.get(frame)
    assert response.status_code == 403
    assert SECRET not in response.content.decode()


def test_frame_is_got_only(reader):
    """The frame cannot be posted to."""
    frame = frame_of(reader.post(address(stored())))
    assert reader.post(frame).status_code == 405


# downloads


def test_eml(reader):
    """The whole mail can be saved, as it is sent."""
    message = stored()
    response = reader.post(address(message, "content_eml"))
    assert b"".join(response.streaming_content) == Content.objects.get().read()
    assert response["Content-Disposition"] == f'attachment; filename="message-{message.pk}.eml"'
    assert response["Content-Type"] == "application/octet-stream"
    assert int(response["Content-Length"]) == len(Content.objects.get().read())
    assert log() == [("staff", str(message.pk), "Downloaded the message")]


@pytest.mark.parametrize(
    ("number", "disposition", "kind"),
    [
        (2, 'filename="part-2.html"', "application/octet-stream"),
        (3, 'filename="part-3.png"', "image/png"),
        (4, 'filename="part-4.svg"', "application/octet-stream"),
        (5, 'filename="page.html"', "application/octet-stream"),
        (9, 'filename="passwd"', "application/octet-stream"),
        (10, 'filename="evil.exe"', "application/octet-stream"),
        (11, 'filename="quote_.txt_ filename=_evil.html"', "text/plain"),
        (12, 'filename="name_.png"', "image/png"),
        (13, 'filename="invoicefdp.exe"', "application/octet-stream"),
    ],
)
def test_attachment(reader, number, disposition, kind):
    """An attachment is saved under a safe name, and nothing active has a type."""
    message = stored()
    response = reader.post(address(message, "content_attachment", number))
    assert response["Content-Disposition"] == f"attachment; {disposition}"
    assert response["Content-Type"] == kind
    assert response["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    assert response["X-Content-Type-Options"] == "nosniff"
    assert "no-store" in response["Cache-Control"]
    assert len(b"".join(response.streaming_content)) > 0
    assert log() == [("staff", str(message.pk), f"Downloaded attachment {number}")]


def test_attachment_that_is_not_there(reader):
    """A number without a part is no page, and nothing is noted."""
    assert reader.post(address(stored(), "content_attachment", 99)).status_code == 404
    assert log() == []


def test_message_that_is_not_there(reader):
    """A message that is not there has no content."""
    for key in (0, 2**80, "x"):
        url = reverse("admin:django_smtpx_message_content", args=[key])
        assert reader.post(url).status_code == 404


# contents that are kept elsewhere


@pytest.fixture
def elsewhere(settings):
    """Let the site keep large contents in a storage, and store one."""
    for name, value in configured().items():
        setattr(settings, name, value)
    message = rows.message()
    name = mail_storage().save("one", ContentFile(content(5000)))
    Content.objects.filter(pk=message.pk).update(
        data=b"", large_size=5000, storage="mail", name=name
    )
    return message


def test_storage(reader, elsewhere):
    """A content in a storage is shown as any other."""
    assert "of it" in text_of(reader.post(address(elsewhere)))


@pytest.mark.parametrize("page", POSTS)
def test_storage_fails(reader, elsewhere, page):
    """A storage that gives nothing just now is no error of the page, which says so."""
    mail_storage().fails = {"open"}
    response = reader.post(address(elsewhere, page))
    assert response.status_code == 302
    (text,) = said(response)
    assert text.startswith("The content cannot be read just now: the storage 'mail' does not give")
    assert log() == []


@pytest.mark.parametrize("page", ["content", "content_eml"])
def test_storage_breaks_off(reader, elsewhere, page):
    """A content of which only the beginning comes is not shown as if that were all."""
    mail_storage().breaks_after = 2000
    response = reader.post(address(elsewhere, page))
    assert response.status_code == 302
    assert "the line is cut" in said(response)[0]
    assert log() == []


def test_storage_fails_in_the_frame(reader, elsewhere):
    """The frame says so, too, with the headers that it always has."""
    user = User.objects.get()
    token = signing.dumps(
        [str(user.pk), str(elsewhere.pk), "html"], salt="django_smtpx.admin.content"
    )
    mail_storage().fails = {"open"}
    response = reader.get(address(elsewhere, "content_html") + f"?token={token}")
    assert "cannot be read just now" in text_of(response)
    assert response["Content-Security-Policy"].startswith("sandbox;")


# statements


def test_query_count(reader):
    """A look takes as many statements for a mail of many parts as for one of few, and so its frame.

    Session, user, permissions (2), the message, its content; for the page the entry as well.
    """
    few, many = stored(b"Content-Type: text/html\r\n\r\nhello\r\n"), stored()
    reader.post(address(few))  # content types are known by then
    for message in (few, many):
        with CaptureQueriesContext(connection) as page:
            response = reader.post(address(message))
        with CaptureQueriesContext(connection) as frame:
            assert reader.get(frame_of(response)).status_code == 200
        assert (len(page), len(frame)) == (7, 6)
