"""Draw what becomes of a delivery, as images/deliveries.svg, and write its table into delivery.md.

Run it as ``python docs/make_deliveries.py`` when it changes; a test compares. Where a delivery can
go is asked of the code that decides it: ``retry.decide`` after an attempt, ``ledger.asking`` for
what a person does, ``ledger.bounces`` for a report. What the ledger writes by itself is in
``WRITTEN``, and a test has it written. Only the places of boxes and words are made up here.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import django
from django.conf import settings

if not settings.configured:
    settings.configure(INSTALLED_APPS=["django_smtpx"])
    django.setup()

from django_smtpx.ledger import bounces
from django_smtpx.ledger.asking import Facts, Step, refusal
from django_smtpx.ledger.claiming import WAITING
from django_smtpx.mailer import STANDARD_RETRY
from django_smtpx.models import Category, Delivery
from django_smtpx.retry import History, decide
from django_smtpx.smtp import Result
from django_smtpx.smtp.rules.rule import ACTIONS

DOCS = Path(__file__).parent
PAGE = DOCS / "delivery.md"
PICTURE = DOCS / "images" / "deliveries.svg"
BEGIN, END = "<!-- begin: generated -->\n", "<!-- end: generated -->\n"

Status = Delivery.Status
NEW = "new"
AT = datetime(2026, 1, 1, tzinfo=UTC)

WRITTEN: dict[str, tuple[tuple[str, str], ...]] = {
    "stored": ((NEW, Status.QUEUED),),
    "given back": tuple((Status.SENDING, status) for status in WAITING),
    "too old": tuple((status, Status.FAILED) for status in WAITING),
    "on the suppression list": ((Status.SENDING, Status.SUPPRESSED),),
}
"""What the ledger writes without asking anybody: why, from where, and to where."""

BY_PERSON = {"smtpx_retry", "smtpx_retry --arrived", "smtpx_cancel"}


def transitions() -> dict[tuple[str, str], list[str]]:
    """Return where a delivery can go from where, and why."""
    found: dict[tuple[str, str], list[str]] = defaultdict(list)
    for why, pairs in WRITTEN.items():
        for pair in pairs:
            found[pair].append(why)
    for status in WAITING:
        found[status, Status.SENDING].append("claimed")
    for status in sorted(_decided()):
        found[Status.SENDING, status].append(_AFTER[status])
    for pair in _by_person():
        found[pair[:2]].append(pair[2])
    for status in Status:
        for action, why in ((bounces.FAILED, "bounced"), ("delivered", "reported as delivered")):
            after = bounces._status_after(_held(status), SimpleNamespace(action=action))
            if after is not None and after != status:
                found[status, after].append(why)
    return {pair: found[pair] for pair in sorted(found, key=_order)}


_AFTER = {
    Status.SENT: "taken",
    Status.FAILED: "refused for good, or too old",
    Status.DEFERRED: "not taken for now",
    Status.UNKNOWN: "nobody knows",
}


def _order(pair: tuple[str, str]) -> tuple[int, int]:
    names = [NEW, *Status.values]
    return names.index(pair[0]), names.index(pair[1])


def _decided() -> set[str]:
    """Return where an attempt can leave a delivery, whatever its outcome and the options."""
    young = History(step=0, unknowns=0, age_from=AT)
    old = History(step=0, unknowns=0, age_from=AT - timedelta(days=30))
    return {
        decide(
            _result(outcome, action),
            history,
            STANDARD_RETRY,
            on_unknown=on_unknown,
            now=AT,
            rand=0.5,
        ).status
        for outcome in ("sent", "deferred", "failed", "unknown")
        for action in ("none", *ACTIONS)
        for history in (young, old)
        for on_unknown in ("retry", "hold")
    }


def _result(outcome: str, action: str) -> Any:
    known: dict[str, Any] = {"recipient": "ann@example.com", "outcome": outcome, "action": action}
    return Result(**known, category="ok", phase="eod", command="DATA")


def _by_person() -> list[tuple[str, str, str]]:
    found = []
    for status in Status:
        for category in ("", Category.UNKNOWN_OUTCOME):
            row = _facts(status, category)
            if refusal(Step.CANCEL, row, AT) is None:
                found.append((status, Status.CANCELLED, "smtpx_cancel"))
            if refusal(Step.ARRIVED, row, AT) is None:
                found.append((status, Status.SENT, "smtpx_retry --arrived"))
            if refusal(Step.RETRY, row, AT, unknown_too=True) is None and status not in WAITING:
                found.append((status, Status.DEFERRED, "smtpx_retry"))
    return sorted(set(found))


def _facts(status: str, category: str) -> Facts:
    values: dict[str, Any] = dict.fromkeys(Facts._fields)
    values |= {"mailer": "default", "category": category, "status": status, "content": 1, "lane": 0}
    return Facts(**values)


def _held(status: str) -> Any:
    return bounces._Held(row=None, status=status, category="")  # type: ignore[arg-type]


# -- the table -----------------------------------------------------------------------------------


def table() -> str:
    """Return all transitions as rows."""
    lines = ["| from | to | when |", "|---|---|---|"]
    for (before, after), reasons in transitions().items():
        said = ", ".join(f"`{why}`" if why.startswith("smtpx_") else why for why in reasons)
        first = "–" if before == NEW else f"`{before}`"
        lines.append(f"| {first} | `{after}` | {said} |")
    return "\n".join(lines) + "\n"


def page(text: str) -> str:
    """Return ``text`` with the table as it is now."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


# -- the picture ---------------------------------------------------------------------------------

PLACES = {
    NEW: (20, 250),
    Status.QUEUED: (160, 250),
    Status.SENDING: (470, 250),
    Status.SENT: (860, 60),
    Status.UNKNOWN: (860, 250),
    Status.FAILED: (860, 460),
    Status.DEFERRED: (470, 460),
    Status.CANCELLED: (160, 460),
    Status.SUPPRESSED: (470, 60),
}
BENDS = {
    (Status.QUEUED, Status.SENDING): -30,
    (Status.SENDING, Status.QUEUED): -30,
    (Status.SENDING, Status.DEFERRED): 40,
    (Status.DEFERRED, Status.SENDING): 40,
    (Status.QUEUED, Status.FAILED): 172,
    (Status.SENT, Status.FAILED): -62,
    (Status.UNKNOWN, Status.DEFERRED): -8,
    (Status.DEFERRED, Status.FAILED): -18,
    (Status.FAILED, Status.DEFERRED): -18,
    (Status.DEFERRED, Status.CANCELLED): -18,
    (Status.CANCELLED, Status.DEFERRED): -18,
    (Status.DEFERRED, Status.SENT): -14,
}
"""How far a line bows to the right of its way (less than 0: to the left)."""

WORDS = {
    (Status.SENDING, Status.FAILED): 0.3,
    (Status.UNKNOWN, Status.DEFERRED): 0.3,
    (Status.DEFERRED, Status.SENT): 0.68,
    (Status.SENT, Status.FAILED): 0.7,
    (Status.QUEUED, Status.FAILED): 0.6,
}
"""How far along their line the words stand, where that is not half way."""

WIDTH, HEIGHT, BOX_WIDTH, BOX_HEIGHT = 980, 590, 104, 34


def picture() -> str:
    """Return the picture as SVG: full lines for what happens by itself, dashed for a person."""
    lines = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" '
            'style="font-family:system-ui,sans-serif;font-size:13px">'
        ),
        "<title>What becomes of a delivery</title>",
        (
            '<defs><marker id="end" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="8" '
            'markerHeight="8" orient="auto"><path d="M0 0L8 4L0 8z" fill="#3f5878"/>'
            "</marker></defs>"
        ),
        f'<rect width="{WIDTH}" height="{HEIGHT}" rx="8" fill="#fff"/>',
    ]
    words = []
    for pair, reasons in transitions().items():
        line, text = _arrow(pair, reasons)
        lines.append(line)
        words.append(text)
    lines += words
    lines += [_box(name) for name in Status.values]
    return "\n".join([*lines, "</svg>", ""])


def _box(name: str) -> str:
    x, y = PLACES[name]
    return (
        f'<rect x="{x - BOX_WIDTH / 2:.0f}" y="{y - BOX_HEIGHT / 2:.0f}" width="{BOX_WIDTH}" '
        f'height="{BOX_HEIGHT}" rx="6" fill="#eef3fa" stroke="#3f5878"/>'
        f'<text x="{x}" y="{y + 5}" text-anchor="middle" font-weight="600" fill="#1d2b3d">'
        f"{name}</text>"
    )


def _arrow(pair: tuple[str, str], reasons: list[str]) -> tuple[str, str]:
    (x, y), (to_x, to_y) = PLACES[pair[0]], PLACES[pair[1]]
    length = ((to_x - x) ** 2 + (to_y - y) ** 2) ** 0.5
    bend = BENDS.get(pair, 0)
    over_x = (x + to_x) / 2 - (to_y - y) / length * bend * 2
    over_y = (y + to_y) / 2 + (to_x - x) / length * bend * 2
    begin = (x, y) if pair[0] == NEW else _edge((x, y), (over_x, over_y))
    end = _edge((to_x, to_y), (over_x, over_y))
    dashed = ' stroke-dasharray="5 4"' if set(reasons) <= BY_PERSON else ""
    line = (
        f'<path d="M{begin[0]:.0f} {begin[1]:.0f}Q{over_x:.0f} {over_y:.0f} {end[0]:.0f} '
        f'{end[1]:.0f}" fill="none" stroke="#3f5878" stroke-width="1.3"{dashed} '
        'marker-end="url(#end)"/>'
    )
    at = WORDS.get(pair, 0.5)
    parts = ((1 - at) ** 2, 2 * at * (1 - at), at**2)
    on_x, on_y = (
        sum(
            part * point[axis]
            for part, point in zip(parts, (begin, (over_x, over_y), end), strict=True)
        )
        for axis in (0, 1)
    )
    first = on_y + 4 - 7 * (len(reasons) - 1)
    said = "".join(
        f'<tspan x="{on_x:.0f}" y="{first + 14 * number:.0f}">{why}</tspan>'
        for number, why in enumerate(reasons)
    )
    text = (
        '<text text-anchor="middle" fill="#1d2b3d" stroke="#fff" stroke-width="5" '
        f'paint-order="stroke" font-size="12">{said}</text>'
    )
    return line, text


def _edge(box: tuple[float, float], towards: tuple[float, float]) -> tuple[float, float]:
    """Return where a line from the middle of a box leaves it."""
    x, y = towards[0] - box[0], towards[1] - box[1]
    scale = min(
        (BOX_WIDTH / 2 + 2) / abs(x) if x else 1e9, (BOX_HEIGHT / 2 + 2) / abs(y) if y else 1e9
    )
    return box[0] + x * scale, box[1] + y * scale


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
    PICTURE.write_text(picture(), encoding="utf-8")
