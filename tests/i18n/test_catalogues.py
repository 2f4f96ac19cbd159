"""Every text that people see is there in each language, with the same values in it."""

from __future__ import annotations

import re

import polib
import pytest
from django.urls import reverse
from django.utils import translation

from django_smtpx.models import Category, Delivery
from tests.i18n import catalogues
from tests.i18n.catalogues import LANGUAGES, catalogue, merged

_VALUE = re.compile(r"%(?:\(\w+\))?[%a-zA-Z]")
_TAG = re.compile(r"</?\w+")


def _forms(entry):
    """Return a text's translations, each beside what it may translate."""
    if not entry.msgid_plural:
        return [((entry.msgid,), entry.msgstr)]
    # The first form is that of one, which may do without the number.
    originals = {0: (entry.msgid, entry.msgid_plural)}
    return [
        (originals.get(form, (entry.msgid_plural,)), said)
        for form, said in entry.msgstr_plural.items()
    ]


@pytest.mark.parametrize("language", LANGUAGES)
def test_a_catalogue_has_the_texts_of_the_code(language):
    """None is left out, and none is there that nobody says (python -m tests.i18n.catalogues)."""
    wanted = {(one.msgid, one.msgid_plural, one.msgctxt) for one in merged(language)}
    there = polib.pofile(str(catalogue(language)))
    assert {(one.msgid, one.msgid_plural, one.msgctxt) for one in there} == wanted


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_text_is_translated(language):
    """None is empty or in doubt."""
    there = polib.pofile(str(catalogue(language)))
    assert not [one.msgid for one in there if one.fuzzy or not one.translated()]


@pytest.mark.parametrize("language", LANGUAGES)
def test_translations_have_the_values_and_tags_of_their_texts(language):
    """A value that is missing would be lost, and an unknown one an error on the page."""
    for entry in polib.pofile(str(catalogue(language))):
        for originals, said in _forms(entry):
            for pattern in (_VALUE, _TAG):
                wanted = [sorted(pattern.findall(original)) for original in originals]
                assert sorted(pattern.findall(said)) in wanted, (language, said)


@pytest.mark.parametrize("language", LANGUAGES)
def test_what_is_read_at_run_time_is_what_was_translated(language):
    """The compiled catalogue is that of the texts (python -m tests.i18n.catalogues)."""
    path = catalogue(language)
    said = {(one.msgid, one.msgctxt): one for one in polib.pofile(str(path))}
    compiled = {(one.msgid, one.msgctxt): one for one in polib.mofile(str(path.with_suffix(".mo")))}
    assert compiled.keys() == said.keys()
    for key, entry in said.items():
        assert compiled[key].msgstr == entry.msgstr
        assert compiled[key].msgstr_plural == entry.msgstr_plural


@pytest.mark.parametrize("language", LANGUAGES)
def test_status_and_category_are_said_in_the_language(language):
    """They come out of the compiled catalogue, through Django."""
    with translation.override("en"):
        english = [str(one.label) for one in (*Delivery.Status, *Category)]
    with translation.override(language):
        said = [str(one.label) for one in (*Delivery.Status, *Category)]
    same = [word for word, other in zip(said, english, strict=True) if word == other]
    # Some words are the same in both.
    assert len(same) <= 4, same


@pytest.mark.django_db
def test_the_lists_speak_the_readers_language(admin_client, settings):
    """As the rest of the admin does."""
    settings.LANGUAGE_CODE = "de"
    page = admin_client.get(reverse("admin:django_smtpx_delivery_changelist")).content.decode()
    with translation.override("de"):
        assert str(Delivery._meta.verbose_name_plural) in page
        assert str(Delivery._meta.get_field("recipient").verbose_name).lower() in page.lower()


def test_a_text_that_is_made_up_cannot_be_translated(tmp_path, monkeypatch):
    """It is an error to find one, with the place where it stands."""
    (tmp_path / "odd.py").write_text(
        "from django.utils.translation import gettext as _\n_('a' + name)\n", encoding="utf-8"
    )
    monkeypatch.setattr(catalogues, "PACKAGE", tmp_path)
    with pytest.raises(ValueError, match=r"odd\.py, line 2"):
        catalogues.found()


def test_texts_are_found_wherever_they_stand(tmp_path, monkeypatch):
    """In modules under any name of Django's functions, and in templates."""
    (tmp_path / "some.py").write_text(
        "from django.utils.translation import gettext_lazy as _, ngettext, pgettext as ask\n"
        "_('one')\nngettext('%(n)s two', '%(n)s twos', 3)\nask('about', 'three')\nprint('no')\n",
        encoding="utf-8",
    )
    (tmp_path / "some.html").write_text(
        '{% load i18n %}<p title="{% translate "four (4)" %}">{% blocktranslate count n=n %}{{ n }} '
        'five{% plural %}{{ n }} fives{% endblocktranslate %}{% translate "six" context "of" %}</p>'
        '{% include "other.html" with name=_("seven") %}{{ name|default:_("eight") }}',
        encoding="utf-8",
    )
    monkeypatch.setattr(catalogues, "PACKAGE", tmp_path)
    assert sorted((one.text.text, one.text.plural, one.text.context) for one in catalogues.found()) == [
        ("%(n)s five", "%(n)s fives", ""),
        ("%(n)s two", "%(n)s twos", ""),
        ("eight", "", ""),
        ("four (4)", "", ""),
        ("one", "", ""),
        ("seven", "", ""),
        ("six", "", "of"),
        ("three", "", "about"),
    ]  # fmt: skip
