"""Forms as a browser sends them, and what the next page says."""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING, Any

from django.contrib.messages import get_messages

if TYPE_CHECKING:
    from django.test import Client


def confirm(client: Client, response: Any) -> Any:
    """Press the button of a confirmation, with all that the page holds."""
    page = response.content.decode()
    found = re.search(r'<form method="post" action="([^"]+)">(.*?)</form>', page, re.DOTALL)
    assert found is not None
    data: dict[str, list[str]] = {}
    for name, value in re.findall(r'name="(\w+)" value="([^"]*)"', found[2]):
        data.setdefault(name, []).append(unescape(value))
    return client.post(unescape(found[1]), data)


def said(response: Any) -> list[str]:
    """Return the messages that the next page would show."""
    return [str(message) for message in get_messages(response.wsgi_request)]


def text_of(response: Any) -> str:
    """Return a page without its tags, each run of blanks as one."""
    page = re.sub(
        r"<(script|style|head)\b.*?</\1>", " ", response.content.decode(), flags=re.DOTALL
    )
    return " ".join(unescape(re.sub(r"<[^>]+>", " ", page)).split())
