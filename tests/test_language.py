"""Sentences are said in the reader's language, at once and when they come out of a row."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest
from django.utils import translation

from django_smtpx.addresses import addr_spec
from django_smtpx.language import FORMS, in_language, recorded, recorded_reason
from django_smtpx.smtp.diagnosis.causes import Case, explain
from django_smtpx.smtp.diagnosis.heard import Heard
from django_smtpx.smtp.errors import ConnectError
from django_smtpx.smtp.failures import no_tls
from django_smtpx.smtp.mode import speaks_tls
from django_smtpx.smtp.options import Options, Security
from django_smtpx.smtp.wording import Said, joined, said
from tests.i18n import catalogues

TEMPLATES = json.loads(FORMS.read_text(encoding="utf-8"))
HOST = Options(host="mx.example", port=25, security=Security.NONE)


def test_nothing_is_translated_where_english_is_spoken():
    """The sentence is its own text."""
    with translation.override("en"):
        for template in TEMPLATES:
            made = filled(template)
            assert in_language(made) == made == recorded(made)


def filled(template):
    """Return a sentence with a word of its own for each value."""
    names = set(re.findall(r"%\((\w+)\)s", template))
    return said(template, **{name: f"<{name}>" for name in names})


def test_a_sentence_within_a_sentence():
    """All that the package says is translated, and what others say is not."""
    reason = said("it is somebody else's")
    text = said("the certificate of %(host)s does not hold: %(reason)s", host="x", reason=reason)
    with translation.override("de"):
        assert in_language(text) == "das Zertifikat von x gilt nicht: es gehört jemand anderem"
        assert (
            in_language(joined(", ", (reason, "5.7.1 No"))) == "es gehört jemand anderem, 5.7.1 No"
        )
        assert in_language("5.7.1 No") == "5.7.1 No"


def test_an_exception_is_what_it_says():
    """Its text has kept its parts."""
    with pytest.raises(ValueError, match="Invalid address") as caught:
        addr_spec("a@b.de, c@d.de")
    with translation.override("fr"):
        assert in_language(caught.value).startswith("Adresse non valide 'a@b.de, c@d.de'")


def test_nothing_to_say():
    """An empty text is not the head of the catalogue."""
    with translation.override("de"):
        assert in_language("") == in_language(Said("", {})) == recorded("") == ""


def test_a_cause_and_its_mend():
    """As the diagnosis makes them: the error is part of the cause."""
    error = ConnectError(
        said(
            "No connection to %(host)s port %(port)s (%(failures)s)",
            host="mx.example",
            port=25,
            failures="192.0.2.1: Connection refused",
        )
    )
    cause, mend = explain(Case(error, HOST, Heard()))
    with translation.override("de"):
        assert in_language(cause) == (
            "Niemand lauscht auf Port 25: Die Verbindung wurde abgelehnt (Keine Verbindung zu "
            "mx.example Port 25 (192.0.2.1: Connection refused))"
        )
        assert in_language(mend) == "Berichtigen Sie host und port, oder starten Sie den Server."


# -- out of a row --------------------------------------------------------------------------------


@pytest.mark.parametrize("template", TEMPLATES)
def test_a_sentence_is_told_by_its_form(template):
    """What was stored is translated as what is just said; only what could be anything is not."""
    made = filled(template)
    letters = sum(map(str.isalpha, re.sub(r"%\(\w+\)s", "", template)))
    with translation.override("de"):
        assert recorded(str.__str__(made)) == (in_language(made) if letters >= 5 else made)


def test_sentences_within_a_stored_sentence():
    """They are found in it, and behind the signs that put sentences together."""
    inner = joined(": ", ("MX of x.example", said("its CNAME records go round in a circle")))
    outer = said("The DNS gives no usable answer for %(why)s", why=inner)
    with translation.override("de"):
        assert recorded(str.__str__(outer)) == (
            "Das DNS gibt keine brauchbare Antwort auf MX of x.example: "
            "seine CNAME-Einträge führen im Kreis"
        )


def test_a_sentence_with_another_behind_it():
    """Both are ours, and are told apart."""
    text = speaks_tls(replace(HOST, security=Security.STARTTLS), said("it answers in TLS"))
    with translation.override("de"):
        assert recorded(f"{text}") == in_language(text)
        assert in_language(text).endswith("; STARTTLS wird gewöhnlich auf Port 587 gesprochen")


def test_a_policy_is_named_at_the_end():
    """A failure of TLS says who asks for it, also when it comes out of a row."""
    policy = said("the MTA-STS policy of %(name)s (%(mode)s)", name="x.example", mode="enforce")
    error = no_tls(
        said("The TLS handshake with %(host)s took too long", host="mx.example"),
        Options(host="mx.example", port=25, security=Security.STARTTLS, tls_reason=policy),
    )
    said_now = (
        "Der TLS-Handshake mit mx.example dauerte zu lange; TLS wird verlangt durch "
        "die MTA-STS-Richtlinie von x.example (enforce)"
    )
    with translation.override("de"):
        assert in_language(error) == recorded(f"{error}") == said_now


@pytest.mark.parametrize(
    "text",
    [
        "Requested mail action okay",
        "5.7.1 <x@example.net>: Recipient address rejected: not owned by user me",
        "moving to another provider",
        "it" * 2000,
        "a (after b) c",
    ],
)
def test_what_others_have_said_stays(text):
    """A server's words and a person's are nobody's to translate."""
    with translation.override("de"):
        assert recorded(text) == recorded_reason(text) == text


def test_what_closed_a_route():
    """The phase stays in front of it."""
    with translation.override("es"):
        assert recorded_reason("connect The server closed the connection (after EHLO)") == (
            "connect El servidor cerró la conexión (tras EHLO)"
        )
        assert recorded_reason("auth 535 5.7.8 Bad credentials") == "auth 535 5.7.8 Bad credentials"


def test_the_forms_are_those_of_the_code():
    """None is missing, and none is there that nobody says (python -m tests.i18n.catalogues)."""
    assert FORMS.read_text(encoding="utf-8") == catalogues.sentences()
