"""Sentences that keep what they were made of."""

from __future__ import annotations

import copy
import json
import pickle
from dataclasses import asdict

import pytest

from django_smtpx.smtp.diagnosis import Step
from django_smtpx.smtp.errors import ConnectError
from django_smtpx.smtp.wording import Said, also, because, joined, said, stopped

INNER = said("the server's key is too weak")
SENTENCE = said("%(host)s ended TLS: %(reason)s", host="mx.example", reason=INNER)
TEXT = "mx.example ended TLS: the server's key is too weak"


def test_it_is_the_english_sentence():
    """Whoever wants a text has one."""
    assert SENTENCE == TEXT
    assert f"<{SENTENCE}>" == f"<{TEXT}>"
    assert hash(SENTENCE) == hash(TEXT)
    assert SENTENCE.template == "%(host)s ended TLS: %(reason)s"
    assert SENTENCE.values == {"host": "mx.example", "reason": INNER}


@pytest.mark.parametrize(
    "again",
    [
        copy.copy,
        copy.deepcopy,
        lambda one: pickle.loads(pickle.dumps(one)),
        lambda one: asdict(Step("tls", False, {"seen": [one]}, one))["evidence"]["seen"][0],
        lambda one: ValueError(one).args[0],
        lambda one: str(ValueError(one)),
        lambda one: str(ConnectError(one)),
        lambda one: str(pickle.loads(pickle.dumps(ConnectError(one)))),
        lambda one: str(copy.copy(ConnectError(one))),
    ],
)
def test_it_stays_whole(again):
    """Through copies, other processes and exceptions; and so do the sentences in it."""
    found = again(SENTENCE)
    assert isinstance(found, Said)
    assert (found, found.template, found.values) == (TEXT, SENTENCE.template, SENTENCE.values)
    assert isinstance(found.values["reason"], Said)


def test_json_has_the_text():
    """And nothing else: programs are told the same in each language."""
    assert json.loads(json.dumps({"cause": SENTENCE})) == {"cause": TEXT}


def test_values_are_texts_and_numbers():
    """An exception is what it says, parts and all; anything else is its text."""
    made = said("%(error)s, %(count)s, %(other)s", error=ValueError(INNER), count=3, other=b"x")
    assert made.values == {"error": INNER, "count": 3, "other": "b'x'"}
    assert isinstance(made.values["error"], Said)


def test_percent_signs():
    """Of a template they are doubled; what is in a value stays as it is."""
    assert said("%(share)s %%", share="5 %(x)s") == "5 %(x)s %"
    assert joined(" % ", ("a%", "b")) == "a% % b"


def test_parts_are_put_together():
    """Each goes on being what it is, and there may be none."""
    made = joined("; ", (INNER, "x", 5))
    assert made == "the server's key is too weak; x; 5"
    assert list(made.values.values()) == [INNER, "x", "5"]
    assert isinstance(made.values["part0"], Said)
    assert joined(", ", ()) == ""
    assert also(("a", INNER, "b")) == f"a; {INNER}; b"
    assert also((INNER,)) is INNER
    assert because("mx.example", INNER) == f"mx.example: {INNER}"
    assert stopped(INNER) == f"{INNER}."
