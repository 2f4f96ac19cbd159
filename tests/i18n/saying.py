"""Whether a text can be said in each language, with all in it that this package says."""

from __future__ import annotations

import json
import re

from django_smtpx.language import FORMS
from django_smtpx.smtp.wording import Said

_TEMPLATES = frozenset(json.loads(FORMS.read_text(encoding="utf-8")))
_NAME = re.compile(r"%\(\w+\)s")


def assert_said(text):
    """Assert that a text is a sentence of the catalogues, down to the last sentence in it."""
    assert isinstance(text, Said), text
    if re.search(r"[A-Za-z]", _NAME.sub("", text.template)):
        assert text.template in _TEMPLATES, text.template
    for value in text.values.values():
        if isinstance(value, Said):
            assert_said(value)


def assert_diagnosis_said(diagnosis):
    """Assert that the causes and mends of a diagnosis can be said, and none is a plain text."""
    for step in diagnosis.steps:
        for text in filter(None, (step.cause, step.mend)):
            assert_said(text)
