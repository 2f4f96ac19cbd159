"""The rules as a table: their names, their order, and that each of them is needed."""

from __future__ import annotations

import csv
import doctest
import importlib.util
import pickle
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import verdicts
from django_smtpx.models import Action, Category
from django_smtpx.smtp import Rule
from django_smtpx.smtp.reply import Reply
from django_smtpx.smtp.rules import rule as rule_module
from django_smtpx.smtp.rules.rule import PHASES
from django_smtpx.smtp.rules.table import RULES
from django_smtpx.smtp.verdict import FINAL_ACTIONS, judge_reply

REPLIES = Path(__file__).parent / "replies"
DOCS = Path(__file__).parents[2] / "docs"
SESSION = ("connect", "greeting", "ehlo", "starttls", "auth")


def examples():
    """Return a reply for each rule: its id, the phase, whether from a relay, and the reply."""
    with (REPLIES / "examples.tsv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            phase, _, server = row["phase"].partition("@")
            yield row["rule"], phase, server != "mx", verdicts.parse(row["reply"])


def own(**changes):
    """Return a rule of a site."""
    return Rule(**{"id": "own", "category": "policy", "action": "fail", **changes})


def test_ids():
    """Each rule has a name of its own that a column of attempts can hold, and a source."""
    ids = [rule.id for rule in RULES]
    assert len(set(ids)) == len(ids)
    assert max(map(len, ids)) <= rule_module.ID_LIMIT == 60
    for rule in RULES:
        assert re.match(r"https?://|RFC \d+", rule.source), rule.id


def test_every_rule_is_reachable():
    """For each rule there is a reply that it judges: none stands in the shadow of those before."""
    found = {}
    for name, phase, relay, reply in examples():
        assert judge_reply(phase, reply, relay=relay).rule == name, (name, str(reply))
        found[name] = True
    assert list(found) == [rule.id for rule in RULES]


def test_the_words_are_those_of_the_models():
    """A rule can say every category and action that a refusal can have, and no other."""
    never = {"ok", "suppressed", "unknown_outcome", "expired", "unreachable"}
    assert set(rule_module.CATEGORIES) == set(Category.values) - never
    assert set(rule_module.ACTIONS) == set(Action.values) - {"none"}


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("relay", [True, False])
def test_every_phase_has_a_last_word(phase, relay):
    """No refusal is without a rule, whatever its codes."""
    for code in range(400, 600):
        for text in ("", f"{code // 100}.7.1", f"{code // 100}.99.999 \xfc"):
            judged = judge_reply(phase, Reply(code, (text,)), relay=relay)
            assert judged.rule
            assert judged.action != "none"


def test_scope():
    """Only what is about a recipient suppresses, and only behind MAIL; only RCPT is split."""
    for rule in RULES:
        phases = rule.phases.split() or PHASES
        if rule.action == "suppress":
            assert set(phases) <= {"rcpt", "data", "eod"}, rule.id
            assert rule.category in {"mailbox_unknown", "mailbox_disabled"}, rule.id
            assert rule.code.startswith("5"), rule.id
        if rule.category in {"mailbox_unknown", "mailbox_disabled", "mailbox_full"}:
            assert set(phases) <= {"rcpt", "data", "eod"}, rule.id
        if rule.action == "split":
            assert phases == ["rcpt"], rule.id


def test_no_recipient_is_given_up_for_a_fault_of_ours():
    """What is wrong with the login, the quota, the sender, the protocol or the way fails nobody."""
    ours = {
        "auth_failed",
        "auth_required",
        "quota_exhausted",
        "sender_rejected",
        "protocol_error",
        "tls_error",
    }
    for rule in RULES:
        if rule.category in ours:
            assert rule.action not in FINAL_ACTIONS or rule.relay is False, rule.id
        if rule.category == "relay_denied" and rule.relay is not False:
            assert rule.action == "hold", rule.id
    assert judge_reply("rcpt", Reply(554, ("5.7.1 Relay access denied",))).action == "hold"


@pytest.mark.parametrize(
    ("phase", "text", "category"),
    [
        ("mail", "550 5.1.1 User unknown", "sender_rejected"),
        ("auth", "535 5.7.8 User unknown", "auth_failed"),
        ("greeting", "554 No such user", "other_permanent"),
        ("eod", "550 unknown name in Message-ID", "other_permanent"),
        ("eod", "550 account suspended", "auth_failed"),
        ("mail", "452 too many recipients", "server_busy"),
        ("starttls", "454 4.7.0 greylisted", "tls_error"),
    ],
)
def test_words_in_a_phase_that_they_are_not_about(phase, text, category):
    """The same words mean something else, or nothing, where they cannot be about that."""
    judged = judge_reply(phase, verdicts.parse(text))
    assert (judged.category, judged.action != "suppress") == (category, True)


def test_own_rules_come_first():
    """The caller's rules are tried in their order, before all others, and fall through to them."""
    reply = Reply(550, ("5.1.1 User unknown",))
    rules = (
        own(id="a", code="4"),
        own(id="b", enhanced="5.7"),
        own(id="c", hosts=r"\.example\.com$"),
        own(id="d", phases="mail"),
        own(id="e", relay=False),
        own(id="f", text="USER (?:un)known", category="mailbox_full", action="retry"),
        own(id="g"),
    )
    judged = judge_reply("rcpt", reply, own=rules)
    assert (judged.rule, judged.category, judged.temporary) == ("f", "mailbox_full", True)
    assert judge_reply("rcpt", reply, own=rules, relay=False).rule == "e"
    assert judge_reply("rcpt", reply, own=rules, host="MX.EXAMPLE.COM").rule == "c"
    assert judge_reply("rcpt", reply, own=rules[:5]).rule == "text-mailbox-unknown"
    assert judge_reply("rcpt", Reply(250), own=rules).rule == ""


@pytest.mark.parametrize(
    ("wrong", "text"),
    [
        ({"id": "Own"}, "id must be"),
        ({"id": "x" * 61}, "id must be up to 60"),
        ({"id": 7}, "id must be a string"),
        ({"category": "spammy"}, "category has 'spammy', which is none of mailbox_unknown"),
        ({"category": "ok"}, "category has 'ok'"),
        ({"action": "none"}, "action has 'none'"),
        ({"phases": "rcpt dot"}, "phases has 'dot', which is none of resolve, connect"),
        ({"action": "suppress", "category": "spam"}, "suppress is for categories about the"),
        ({"action": "split", "phases": "mail rcpt"}, "split is for the phase rcpt alone"),
        ({"code": "250"}, "code must be the first digits of a refusal"),
        ({"enhanced": "5.1.1.1"}, "enhanced must be as"),
        ({"text": "("}, "text '\\(' is no regular expression: missing \\)"),
        ({"hosts": "["}, "hosts '\\[' is no regular expression"),
        ({"relay": "yes"}, "relay must be True, False or None"),
    ],
)
def test_rules_that_are_none(wrong, text):
    """A rule that could never fit, or would say what nobody understands, cannot be made."""
    with pytest.raises(ValueError, match=f"Rule .*: .*{text}"):
        own(**wrong)


def test_rules_are_values():
    """A rule is equal to its like, can be a key, and travels."""
    assert own() == own() != own(code="5")
    assert {own(): 1}[pickle.loads(pickle.dumps(own()))] == 1


def test_nothing_is_compiled_before_the_first_refusal():
    """A process in which everything is sent never loads the table."""
    code = (
        "import sys, django_smtpx.smtp.session; "
        "sys.exit('django_smtpx.smtp.rules.table' in sys.modules)"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_long_texts_are_judged_by_their_beginning():
    """However long a server talks, judging it takes its bounded time."""
    reply = Reply(550, ("relay user 1.2.3.4 " * 5_000 + "spam",))
    assert judge_reply("eod", reply).category != "spam"


def test_the_page_shows_the_rules_as_they_are():
    """The tables are those that run; ``python docs/make_rules.py`` writes them."""
    spec = importlib.util.spec_from_file_location("make_rules", DOCS / "make_rules.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    text = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    assert module.page(text) == text
    assert text.count("\n| [`") + text.count("\n| `") >= len(RULES)


def test_the_examples_of_the_page_run():
    """What the page shows is what happens."""
    text = (DOCS / "verdicts.md").read_text(encoding="utf-8")
    test = doctest.DocTestParser().get_doctest(text, {}, "verdicts.md", None, 0)
    said = []
    doctest.DocTestRunner().run(test, out=said.append)
    assert test.examples
    assert not said, "".join(said)
