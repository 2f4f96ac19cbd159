"""The diagnosis of a mailer is run and read in the admin."""

from __future__ import annotations

import base64
from html import unescape

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import translation

from django_smtpx.admin import checking
from django_smtpx.config import mailer_errors
from django_smtpx.diagnosis import STEPS, Diagnosis, Step, diagnose
from django_smtpx.language import in_language
from django_smtpx.models import Message, Route
from django_smtpx.smtp import probe
from django_smtpx.smtp.diagnosis import siblings
from django_smtpx.testing import ScriptedServer, real_queue
from tests.admin import rows
from tests.admin.pressing import text_of
from tests.i18n.catalogues import LANGUAGES

pytestmark = pytest.mark.django_db
CHECK = "admin:django_smtpx_route_check"
PASSWORD = "correct-horse-battery"
LOGIN = {
    "username": "me@example.com",
    "password": PASSWORD,
    "security": "none",
    "allow_plaintext_auth": True,
}
SECRETS = (
    PASSWORD,
    base64.b64encode(PASSWORD.encode()).decode(),
    base64.b64encode(b"\0me@example.com\0" + PASSWORD.encode()).decode(),
)


@pytest.fixture(autouse=True)
def _no_other_ports(monkeypatch):
    """The usual ports of this machine may be anybody's."""
    monkeypatch.setattr(siblings, "PORTS", ())
    probe.findings.forget()
    yield
    probe.findings.forget()


@pytest.fixture
def checker(staff):
    """Log in somebody who may see routes and run the diagnosis."""
    return staff("view_route", "check_mailer")


def results(response):
    """Return the result of each step of the only diagnosis, by name."""
    ((diagnosis, _, _),) = response.context["diagnoses"]
    return {step.name: step.ok for step in diagnosis.steps}


def test_a_mailer_that_works(checker):
    """Each step with what was seen; nothing is sent, no secret shown, and it is noted by whom."""
    with ScriptedServer(users={"me@example.com": PASSWORD}) as server, real_queue(server, **LOGIN):
        response = checker.post(reverse(CHECK), {"mailer": "default", "to": "you@example.net"})
        assert server.messages == ()
    page = text_of(response)
    assert f"Diagnosis of default: 127.0.0.1, port {server.port} No step fails." in page
    assert results(response) == {**dict.fromkeys(STEPS, True), "certificate": None, "message": None}
    for seen in ("transport smtp", "login password", "address 127.0.0.1", "mechanism"):
        assert seen in page
    for secret in SECRETS:
        assert secret not in unescape(response.content.decode())
    assert not Message.objects.exists()
    assert not Route.objects.exists()
    entry = LogEntry.objects.get()
    assert (entry.object_id, entry.object_repr) == (None, "default")
    assert entry.get_change_message() == "Run the diagnosis"


def test_a_login_that_is_refused(checker):
    """The step that fails has its cause and its mend; the history of the route says who looked."""
    route = rows.route()
    with ScriptedServer(users={"me@example.com": "other"}) as server, real_queue(server, **LOGIN):
        response = checker.post(reverse(CHECK), {"mailer": "default"})
    assert results(response)["auth"] is False
    page = text_of(response)
    assert "1 step fails." in page
    assert "AUTH fails" in page
    assert "Cause: " in page
    assert "Mend: " in page
    for secret in (*SECRETS, "f1n9e7p71n7"):
        assert secret not in unescape(response.content.decode())
    assert LogEntry.objects.get().object_id == str(route.pk)


@pytest.mark.parametrize(
    ("language", "cause", "mend", "refused"),
    [
        (
            "de",
            "Ursache: Der Server lehnt die Anmeldung ab: Der Server antwortete auf AUTH mit 535 5.7.8",
            "Abhilfe: Prüfen Sie username und password (oder oauth_token)",
            "Ungültige Adresse 'a@b.de, c@d.de': Es muss eine einzelne Adresse sein.",
        ),
        (
            "fr",
            "Cause : Le serveur refuse l’authentification : Le serveur a répondu à AUTH par",
            "Remède : Vérifiez username et password (ou oauth_token)",
            "Adresse non valide 'a@b.de, c@d.de' : ce doit être une seule adresse.",
        ),
        (
            "es",
            "Causa: El servidor rechaza el inicio de sesión: El servidor respondió a AUTH con 535 5.7.8",
            "Remedio: Compruebe username y password (u oauth_token)",
            "Dirección no válida 'a@b.de, c@d.de': debe ser una sola dirección.",
        ),
    ],
)
def test_it_is_told_in_the_readers_language(checker, settings, language, cause, mend, refused):
    """Cause, mend, what was seen and what is wrong with an address; a server's words stay."""
    settings.LANGUAGE_CODE = language
    with ScriptedServer(users={"me@example.com": "other"}) as server, real_queue(server, **LOGIN):
        page = text_of(checker.post(reverse(CHECK), {"mailer": "default"}))
        two = {"mailer": "default", "to": "a@b.de, c@d.de"}
        wrong = text_of(checker.post(reverse(CHECK), two))
        english = list(diagnose("default"))
    assert cause in page
    assert mend in page
    assert refused in wrong
    for step in english[0].steps:
        for text in filter(None, (step.cause, step.mend)):
            assert text not in page
    assert "The " not in page


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_wrong_configuration_is_told_in_the_readers_language(checker, settings, language):
    """As the diagnosis has it, and above the lists, with what to do."""
    settings.LANGUAGE_CODE = language
    with real_queue(host="127.0.0.1", mailers={"wrong": {"host": "127.0.0.1", "prot": 25}}):
        page = text_of(checker.post(reverse(CHECK), {"mailer": "wrong"}))
        overview = text_of(checker.get(reverse("admin:app_list", args=["django_smtpx"])))
        error = mailer_errors()["wrong"]
    with translation.override(language):
        told = " ".join(in_language(error).split())
    assert "Did you mean" in str(error)
    assert told in page
    assert told[:120] in overview
    for english in ("Unknown", "Did you mean", "Known:", "Correct it"):
        assert english not in page
        assert english not in overview


def test_words_of_a_server_are_text(checker):
    """Whatever a banner holds, it runs nowhere."""
    evil = "<script>alert(1)</script>"
    with ScriptedServer(greeting=f"220 {evil}") as server, real_queue(server, security="none"):
        page = checker.post(reverse(CHECK), {"mailer": "default"}).content.decode()
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page


def test_a_mailer_that_is_wrongly_configured(checker):
    """Its configuration is what fails."""
    with real_queue(host="127.0.0.1", mailers={"wrong": {"host": "127.0.0.1", "port": "x"}}):
        response = checker.post(reverse(CHECK), {"mailer": "wrong"})
    assert results(response)["configuration"] is False
    assert "Diagnosis of wrong: wrong" in text_of(response)


@pytest.mark.parametrize(
    ("values", "error"),
    [
        ({"mailer": ""}, "This field is required."),
        ({"mailer": "gone"}, "Select a valid choice. gone is not one of the available choices."),
        ({"to": "me@"}, "Invalid address 'me@'"),
    ],
)
def test_what_is_wrong_is_said(checker, values, error):
    """At its field, and no server is asked."""
    response = checker.post(reverse(CHECK), {"mailer": "default", **values})
    assert error in text_of(response)
    assert "diagnoses" not in response.context
    assert not LogEntry.objects.exists()


def test_a_sender_that_is_no_address_is_said(checker, settings):
    """What is wrong with the settings is an error of the form, not of the page."""
    settings.DEFAULT_FROM_EMAIL = "nobody at all"
    response = checker.post(reverse(CHECK), {"mailer": "default", "to": "you@example.net"})
    assert "Invalid address 'nobody at all'" in text_of(response)


def test_hosts_are_left_out_when_the_time_is_up(checker, monkeypatch):
    """The page does not take as long as all of many hosts that do not answer."""
    seconds = iter((0.0, 9.0, 18.0, 27.0))
    monkeypatch.setattr(checking, "monotonic", lambda: next(seconds))

    def diagnose(name, to):
        for host in ("a", "b", "c", "d", "e"):
            step = Step(
                "tcp", False, {"tried": ["192.0.2.1", ""], "size": None}, "No answer", "Wait"
            )
            yield Diagnosis(name, host, 25, (step,))

    monkeypatch.setattr(checking, "diagnose", diagnose)
    with real_queue(host=["a", "b", "c", "d", "e"]):
        response = checker.post(reverse(CHECK), {"mailer": "default"})
    assert [place for _, place, _ in response.context["diagnoses"]] == ["a, port 25", "b, port 25"]
    assert "3 hosts were not looked at: the time was up." in text_of(response)
    assert "TCP fails tried 192.0.2.1 – size – Cause: No answer Mend: Wait" in text_of(response)


def test_the_page_says_how_long_it_takes(checker):
    """Before the button is pressed; and a link fills in the form, and runs nothing."""
    response = checker.get(reverse(CHECK), {"mailer": "default", "to": "you@example.net"})
    assert "up to 15 seconds for a host" in text_of(response)
    assert '<option value="default" selected>' in response.content.decode()
    assert "diagnoses" not in response.context
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize("codenames", [("view_route",), ("check_mailer",)])
def test_who_may_not_run_it(staff, codenames):
    """It takes the permission to see routes, and its own."""
    client = staff(*codenames)
    assert client.get(reverse(CHECK)).status_code == 403
    assert client.post(reverse(CHECK), {"mailer": "default"}).status_code == 403
    assert not LogEntry.objects.exists()


def test_running_it_takes_a_post_and_a_token(checker):
    """No other verb, and no other site's form."""
    assert checker.put(reverse(CHECK)).status_code == 405
    strict = Client(enforce_csrf_checks=True)
    strict.cookies = checker.cookies
    assert strict.post(reverse(CHECK), {"mailer": "default"}).status_code == 403
    assert not LogEntry.objects.exists()
