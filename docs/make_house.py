"""Draw the house: each room in its layer, and who imports whom, as images/house.svg.

Run it as ``python docs/make_house.py`` when an import between rooms comes or goes; a test compares
the two. The layers are those of the contract in pyproject.toml, and the lines are read from the
source, but for imports that are there for the type checker alone.
"""

from __future__ import annotations

import ast
import tomllib
from collections import defaultdict
from functools import cache
from pathlib import Path

import django_smtpx

ROOT = Path(__file__).parents[1]
PACKAGE = Path(django_smtpx.__file__).parent
PICTURE = Path(__file__).parent / "images" / "house.svg"

WIDTH, ROW, BOX, MARGIN, SHIFT = 1120, 74, 30, 24, 130
SVG = "http://www.w3.org/2000/svg"
FONT = "font-family:system-ui,sans-serif;font-size:13px"


def layers() -> list[list[str]]:
    """Return the rooms of each layer, from the top down, as the contract has them."""
    text = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    contracts = tomllib.loads(text)["tool"]["importlinter"]["contracts"]
    (house,) = (one for one in contracts if one["name"].startswith("The house"))
    return [[name.strip() for name in layer.split(":")] for layer in house["layers"]]


@cache
def imports() -> dict[str, set[str]]:
    """Return, by room, which rooms it imports."""
    found: dict[str, set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE).with_suffix("").parts
        room = parts[0]
        if room in ("__init__", "migrations"):
            continue
        for module in _imported(ast.parse(path.read_text(encoding="utf-8"))):
            other = module.removeprefix("django_smtpx.").partition(".")[0]
            # What the package itself holds, its version, is in no room.
            if other != room and not other.startswith("__"):
                found[room].add(other)
    return found


def _imported(tree: ast.AST) -> set[str]:
    """Return the modules of the package that a module imports when it runs."""
    found: set[str] = set()
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module and not node.level:
            if node.module == "django_smtpx":
                found |= {f"django_smtpx.{alias.name}" for alias in node.names}
            elif node.module.startswith("django_smtpx."):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {one.name for one in node.names if one.name.startswith("django_smtpx.")}
        else:
            found |= _imported(node)
    return found


def drawn(graph: dict[str, set[str]]) -> list[tuple[str, str]]:
    """Return the imports that do not follow from others: what is reached by a way round is left
    out.
    """
    below = {room: _below(graph, room) for room in graph}
    return sorted(
        (room, other)
        for room, others in graph.items()
        for other in others
        if not any(other in below.get(way, ()) for way in others - {other})
    )


def _below(graph: dict[str, set[str]], room: str) -> set[str]:
    seen: set[str] = set()
    stack = [room]
    while stack:
        for other in graph.get(stack.pop(), ()):
            if other not in seen:
                seen.add(other)
                stack.append(other)
    return seen


def rows() -> list[list[str]]:
    """Return the layers, each cut into as many rows as its rooms stand above one another."""
    graph, cut = imports(), []
    for layer in layers():
        inside = {room: graph.get(room, set()) & set(layer) for room in layer}
        left = set(layer)
        while left:
            row = {room for room in left if not any(room in inside[other] for other in left)}
            cut.append(sorted(row))
            left -= row
    return cut


def places(order: list[list[str]], lines: list[tuple[str, str]]) -> dict[str, tuple[float, float]]:
    """Return the middle of each room's box: rows from the top down, each in the order that crosses
    few lines.
    """
    beside: dict[str, list[str]] = defaultdict(list)
    for room, other in lines:
        beside[room].append(other)
        beside[other].append(room)
    at = _spread(order)
    for _ in range(12):
        for row in order:
            row.sort(key=lambda room: (_mean([at[one][0] for one in beside[room]]), room))
            at = _spread(order)
    return at


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else WIDTH / 2


def _spread(order: list[list[str]]) -> dict[str, tuple[float, float]]:
    # No room stands right below another one, so that lines pass beside it.
    return {
        room: (
            WIDTH * (place + 0.5) / len(row) + (-1) ** number * SHIFT / len(row),
            MARGIN + BOX / 2 + number * ROW,
        )
        for number, row in enumerate(order)
        for place, room in enumerate(row)
    }


def picture() -> str:
    """Return the picture as SVG."""
    lines = drawn(imports())
    at = places(rows(), lines)
    height = max(y for _, y in at.values()) + BOX / 2 + MARGIN
    parts = [
        f'<svg xmlns="{SVG}" viewBox="0 0 {WIDTH} {height:.0f}" style="{FONT}">',
        "<title>The rooms of django_smtpx, in layers; lines lead down to what is imported</title>",
        f'<rect width="{WIDTH}" height="{height:.0f}" rx="8" fill="#fff"/>',
    ]
    for room, other in lines:
        (x, y), (to_x, to_y) = at[room], at[other]
        y, to_y = y + BOX / 2, to_y - BOX / 2
        bend = min(60.0, (to_y - y) / 2)
        parts.append(
            f'<path d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} {to_x:.0f} {to_y - bend:.0f} '
            f'{to_x:.0f} {to_y:.0f}" fill="none" stroke="#7a8ba6" stroke-width="1.2"/>'
        )
    for room, (x, y) in sorted(at.items()):
        width = 8 * len(room) + 18
        parts.append(
            f'<rect x="{x - width / 2:.0f}" y="{y - BOX / 2:.0f}" width="{width}" height="{BOX}" '
            'rx="5" fill="#eef3fa" stroke="#3f5878"/>'
            f'<text x="{x:.0f}" y="{y + 5:.0f}" text-anchor="middle" fill="#1d2b3d">{room}</text>'
        )
    return "\n".join([*parts, "</svg>", ""])


if __name__ == "__main__":
    PICTURE.write_text(picture(), encoding="utf-8")
