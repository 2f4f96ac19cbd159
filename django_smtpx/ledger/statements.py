"""The statements that run for each chunk of mail, written out, and made one where that can be.

To build one of these takes the ORM several times as long as it takes the
database to run it, and a chunk has only a few messages (law 4 of the outbox).
And each statement is a round trip: PostgreSQL takes several as one (``WITH``),
which is a transaction by itself. Everything else goes through the ORM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DatabaseError, DataError, connections, transaction

from django_smtpx.ledger.cursors import cursor, was_forgotten
from django_smtpx.ledger.sql import MOST_PARAMETERS, Insert, Piece, Table, Update, joined

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from django.db.models import Model

T = TypeVar("T")

MOST_PREPARED = 50
"""Parameters of a statement that is worth to be prepared: of one with more recipients there may not
be another soon.
"""


def takes_all_at_once(using: str) -> bool:
    """Return whether the database takes several statements as one."""
    return connections[using].vendor == "postgresql"


def update_rows(update: Update, using: str, meanwhile: Callable[[], None] | None = None) -> int:
    """Run an update, and count the rows that it met."""
    table = Table(update.model, using)
    fixed, each = len(update.only) + len(update.values), 1 + 2 * len(update.each)
    portions = _portions(update.keys, fixed, each)
    return sum(table.run(table.update(update, some), meanwhile) for some in portions)


def read_rows(
    model: type[Model], keys: Sequence[int], fields: Sequence[str], using: str
) -> Iterator[tuple[Any, ...]]:
    """Give some fields, as the driver has them, of the rows with ``keys``."""
    table = Table(model, using)
    for some in _portions(keys, 0, 1):
        yield from _read(table.read(fields, some), using)


def insert_for(source: type[Model], keys: Sequence[int], insert: Insert, using: str) -> None:
    """Insert a row for each row of ``source`` with one of ``keys``."""
    old, new = Table(source, using), Table(insert.model, using)
    for some in _portions(keys, len(insert.values), 1 + 2 * len(insert.each)):
        new.run(new.insert_for(insert, some, old, old.name, old.among(some)))


def all_at_once(
    using: str,
    update: Update,
    insert: Insert,
    others: Sequence[Update],
    meanwhile: Callable[[], None] | None = None,
) -> list[int] | None:
    """Run an update, an insert for each row that it meets, and other updates, as one statement.

    Where :func:`takes_all_at_once`. Returns how many rows the others met. None: it would be too
    long, or some row was not met; nothing was done then.
    """
    if not all(one.fits for one in (update, *others)):
        return None
    shape = (using, update.shape, insert.shape, *[one.shape for one in others])
    words = _known.get(shape)
    if words is None:
        words = _known[shape] = _all_in_words(using, update, insert, others).sql
    parameters = _parameters(using, update, insert, others)
    try:
        return list(_fetch(Piece(words, parameters), using, meanwhile)[0][1:])
    except DataError:
        return None


_known: dict[tuple[Any, ...], str] = {}
"""The words of :func:`all_at_once`, by their shape: to find them takes longer than what they do,
and there are as many as kinds of outcomes."""


def _all_in_words(using: str, update: Update, insert: Insert, others: Sequence[Update]) -> Piece:
    table, new = Table(update.model, using), Table(insert.model, using)
    met = [*dict.fromkeys(["id", *insert.copied.values()])]
    pieces = [
        table.update(update, update.keys).returning(map(table.column, met)).named("met"),
        new.insert_for(insert, update.keys, table, "met").named("new"),
    ]
    # There is no other way out of a statement that is not to take effect than an error. It is none
    # of a constant, which would be found before anything is run. It comes first, since the parts
    # run in the order in which they are asked for: rows are locked in the order of everybody else.
    counts = ["1 / CASE WHEN (SELECT COUNT(*) FROM met) = %s THEN 1 ELSE 0 END"]
    for number, other in enumerate(others):
        its = Table(other.model, using)
        piece = its.update(other, other.keys).returning([its.key])
        pieces.append(piece.named(f"other{number}"))
        counts.append(f"(SELECT COUNT(*) FROM other{number})")  # noqa: S608 (as below)
    return joined("WITH ", pieces, ", ") + Piece(f" SELECT {', '.join(counts)}", [len(update.keys)])


def _parameters(using: str, update: Update, insert: Insert, others: Sequence[Update]) -> list[Any]:
    """Return those of :func:`_all_in_words`, in their order."""
    found = Table(update.model, using).of_update(update, update.keys)
    found += Table(insert.model, using).of_insert(insert, update.keys)
    for other in others:
        found += Table(other.model, using).of_update(other, other.keys)
    return [*found, len(update.keys)]


def store_at_once(
    parent: tuple[type[Model], Mapping[str, Any]],
    children: Sequence[tuple[type[Model], Sequence[Mapping[str, Any]]]],
    link: str,
    using: str,
) -> int:
    """Insert a row and those of other tables that refer to it by the field ``link``, as one
    statement, where :func:`takes_all_at_once`; return its primary key.

    A row is its model, and its values by field.
    """
    table = Table(parent[0], using)
    pieces = [table.insert([parent[1]]).returning([table.key]).named("parent")]
    for number, (model, rows) in enumerate(children):
        its = Table(model, using)
        pieces.append(its.insert(rows, link=link, parent=f"parent.{table.key}").named(f"c{number}"))
    statement = joined("WITH ", pieces, ", ") + Piece(
        f" SELECT {table.key} FROM parent"  # noqa: S608 (as below)
    )
    stores = len(statement.parameters) <= MOST_PREPARED
    try:
        found = _fetch(statement, using, stores=stores)
    except DatabaseError as error:
        if not was_forgotten(error, using):
            raise
        found = _fetch(statement, using)
    key: int = found[0][0]
    return key


def take_at_once(
    model: type[Model], ready: Piece, values: Mapping[str, Any], fields: Sequence[str], using: str
) -> list[tuple[Any, ...]]:
    """Give the rows of ``model`` whose keys ``ready`` selects, and that nobody else is about to
    take, these ``values``, by one statement, where :func:`takes_all_at_once`; return some
    ``fields`` of each.

    They are those of the row, or ``link__field`` of the one that it refers to.
    """
    table = Table(model, using)
    links = dict.fromkeys(name.partition("__")[0] for name in fields if "__" in name)
    own = (*links, *(name for name in fields if "__" not in name))
    taken = table.take(Piece("SELECT key FROM free"), values)
    pieces = [
        # The words that the compiler says within a transaction alone.
        Piece(f"{ready.sql} FOR UPDATE SKIP LOCKED", ready.parameters).named("free(key)"),
        taken.returning(dict.fromkeys(map(table.column, own))).named("taken"),
    ]
    columns = ", ".join(table.reached(name, "taken") for name in fields)
    joins = "".join(table.join(link, "taken") for link in links)
    what = f" SELECT {columns} FROM taken{joins}"  # noqa: S608 (as below)
    return _fetch(joined("WITH ", pieces, ", ") + Piece(what), using)


def _fetch(
    piece: Piece,
    using: str,
    meanwhile: Callable[[], None] | None = None,
    *,
    stores: bool = False,
) -> list[tuple[Any, ...]]:
    """Run a statement that is a transaction by itself, and return its rows.

    Inside a caller's transaction it gets a savepoint, so that an error of it is its own.
    """
    if not connections[using].in_atomic_block:
        return _read(piece, using, meanwhile, stores=stores)
    with transaction.atomic(using=using):
        return _read(piece, using, meanwhile, stores=stores)


def _read(
    piece: Piece,
    using: str,
    meanwhile: Callable[[], None] | None = None,
    *,
    stores: bool = False,
) -> list[tuple[Any, ...]]:
    with cursor(using, meanwhile, stores=stores) as bound:
        bound.execute(piece.sql, piece.parameters)
        return list(bound.fetchall())


def _portions(items: Sequence[T], fixed: int, each: int) -> Iterable[Sequence[T]]:
    """Cut ``items``, of which each has so many parameters, into what one statement takes."""
    most = (MOST_PARAMETERS - fixed) // each
    return (items[at : at + most] for at in range(0, len(items), most))
