"""The pages about providers: replies are judged as shown, and each page has what it has to have."""

from __future__ import annotations

import io
import json
import re
import urllib.request

import pytest

from django_smtpx.smtp import Reply
from django_smtpx.smtp.verdict import judge_reply
from tests.docs.blocks import DOCS, blocks, name_of

PAGES = sorted(page for page in (DOCS / "providers").glob("*.md") if page.stem != "index")
ROW = re.compile(
    r"^\| `(\d{3}) (.+)` \| (.+?) \| \[`(\w+)`\]\(\S+#(\w+)\) \| `(\w+)` \|$", re.MULTILINE
)
PHASES = {"the content": "eod", "the connection": "greeting"}


def replies():
    """Return each reply that a page shows: where, phase, code, text, and what it is judged as."""
    for page in PAGES:
        for code, text, at, category, anchor, action in ROW.findall(page.read_text("utf-8")):
            phase = PHASES.get(at, at.lower())
            assert anchor == category
            yield pytest.param(
                page, phase, int(code), text, category, action, id=f"{page.stem}-{code}"
            )


@pytest.mark.parametrize(("page", "phase", "code", "text", "category", "action"), list(replies()))
def test_each_reply_is_judged_as_the_page_says(page, phase, code, text, category, action):
    """What a provider says comes to what the page says of it, by the rules as they are."""
    host = re.search(r'"(?:host|EMAIL_HOST)": \[?"([^"]+)"', page.read_text("utf-8"))[1]
    judged = judge_reply(phase, Reply(code, (text,)), host=host, relay=True)
    assert (judged.category, judged.action) == (category, action)


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_each_page_has_what_a_site_owner_needs(page):
    """Settings in both ways, limits with their source, replies, pitfalls, and how to find out."""
    text = page.read_text(encoding="utf-8")
    python = [block.text for block in blocks(page) if block.language == "python"]
    assert any("MAILERS = {" in block and "SMTPX_MAILERS" not in block for block in python)
    assert any("EMAIL_BACKEND" in block for block in python)
    for heading in ("Limits", "What it says", "Pitfalls", "When it does not work"):
        assert f"\n## {heading}\n" in text
    assert "smtpx_check" in text
    limits = text.partition("\n## Limits\n")[2].partition("\n## ")[0]
    rows = [row for row in limits.splitlines() if row.startswith("| ")][1:]
    assert rows
    assert all("](https://" in row for row in rows)
    assert ROW.search(text)


def test_the_first_page_leads_to_each_provider():
    """None is left out of the table, or of the list beside it."""
    text = (DOCS / "providers" / "index.md").read_text(encoding="utf-8")
    shown = re.findall(r"\]\((\w+)\.md\)", text)
    listed = text.partition("```{toctree}")[2].split()[1:-1]
    assert sorted(set(shown)) == sorted(listed) == [page.stem for page in PAGES]


def test_the_source_of_tokens_keeps_what_it_gets(monkeypatch):
    """The callable for Microsoft asks once, as the page says, and again when the token ends."""
    (code,) = (
        block.text
        for block in blocks(DOCS / "providers" / "microsoft.md")
        if "def microsoft_token" in block.text
    )
    names = {}
    exec(compile(code, "microsoft.md", "exec"), names)  # (the page's own code)
    asked = []

    def answer(request, timeout):
        asked.append((request.full_url, request.data.decode(), timeout))
        token = {"access_token": f"token-{len(asked)}", "expires_in": 3600}
        return io.BytesIO(json.dumps(token).encode())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    for name in ("TENANT", "CLIENT_ID", "CLIENT_SECRET"):
        monkeypatch.setenv(f"MICROSOFT_{name}", name.lower())
    assert [names["microsoft_token"]() for _ in range(2)] == ["token-1", "token-1"]
    names["_kept"]["until"] = 0.0
    assert names["microsoft_token"]() == "token-2"
    url, form, timeout = asked[0]
    assert url == "https://login.microsoftonline.com/tenant/oauth2/v2.0/token"
    assert "grant_type=client_credentials" in form
    assert "outlook.office365.com%2F.default" in form
    assert timeout == 10
