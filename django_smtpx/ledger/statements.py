"""The statements that run for each chunk of mail, written out, and made one where that can be.

To build one of these takes the ORM several times as long as it takes the
database to run it, and a chunk has only a few messages (law 4 of the outbox).
And each statement is a round trip: PostgreSQL takes several as one (``WITH``),
which is a transaction by itself. Everything else goes through the ORM.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from django.db import DataError, connections, transaction

from django_smtpx.ledger.sql import MOST_PARAMETERS, Insert, Piece, Table, Update, joined

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from django.db.models import Model, QuerySet

T = TypeVar("T")


def takes_all_at_once(using: str) -> bool:
    """Return whether the database takes several statements as one."""
    return connections[using].vendor == "postgresql"


def update_rows(update: Update, using: str) -> int:
    """Run an update, and count the rows that it met."""
    table = Table(update.model, using)
    fixed, each = len(update.only) + len(update.values), 1 + 2 * len(update.each)
    portions = _portions(update.keys, fixed, each)
    return sum(table.run(table.update(update, some)) for some in portions)


def insert_for(source: type[Model], keys: Sequence[int], insert: Insert, using: str) -> None:
    """Insert a row for each row of ``source`` with one of ``keys``."""
    old, new = Table(source, using), Table(insert.model, using)
    for some in _portions(keys, len(insert.values), 1 + 2 * len(insert.each)):
        new.run(new.insert_for(insert, some, old, old.name, old.among(some)))


def all_at_once(
    using: str, update: Update, insert: Insert, others: Sequence[Update]
) -> list[int] | None:
    """Run an update, an insert for each row that it meets, and other updates, as one statement.

    Where :func:`takes_all_at_once`. Returns how many rows the others met. None: it would be too
    long, or some row was not met; nothing was done then.
    """
    if not all(one.fits for one in (update, *others)):
        return None
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
    statement = joined("WITH ", pieces, ", ") + Piece(
        f" SELECT {', '.join(counts)}", [len(update.keys)]
    )
    try:
        return list(_fetch(statement, using)[0][1:])
    except DataError:
        return None


def store_at_once(
    parent: Model, children: Sequence[Sequence[Model]], link: str, using: str
) -> None:
    """Insert a row and those of other tables that refer to it by the field ``link``, as one
    statement, where :func:`takes_all_at_once`; its primary key is set.

    ``children`` are the rows of one table each.
    """
    table = Table(type(parent), using)
    pieces = [table.insert([parent]).returning([table.key]).named("parent")]
    for number, rows in enumerate(children):
        its = Table(type(rows[0]), using)
        pieces.append(its.insert(rows, link=link, parent=f"parent.{table.key}").named(f"c{number}"))
    statement = joined("WITH ", pieces, ", ") + Piece(
        f" SELECT {table.key} FROM parent"  # noqa: S608 (as below)
    )
    parent.pk = _fetch(statement, using)[0][0]
    parent._state.adding, parent._state.db = False, using
    for rows in children:
        for row in rows:
            # The parent keeps those that it has one of, which had no key to refer to.
            setattr(row, link, parent)


def take_at_once(
    ready: QuerySet[Any], values: Mapping[str, Any], fields: Sequence[str], using: str
) -> list[tuple[Any, ...]]:
    """Give the rows of ``ready`` that nobody else is about to take these ``values``, by one
    statement, where :func:`takes_all_at_once`; return some ``fields`` of each.

    They are those of the row, or ``link__field`` of the one that it refers to.
    """
    table = Table(ready.model, using)
    sql, parameters = ready.values_list("pk").query.get_compiler(using).as_sql()
    links = dict.fromkeys(name.partition("__")[0] for name in fields if "__" in name)
    own = (*links, *(name for name in fields if "__" not in name))
    taken = table.take(Piece("SELECT key FROM free"), values)
    pieces = [
        # The words that the compiler says within a transaction alone.
        Piece(f"{sql} FOR UPDATE SKIP LOCKED", parameters).named("free(key)"),
        taken.returning(dict.fromkeys(map(table.column, own))).named("taken"),
    ]
    columns = ", ".join(table.reached(name, "taken") for name in fields)
    joins = "".join(table.join(link, "taken") for link in links)
    what = f" SELECT {columns} FROM taken{joins}"  # noqa: S608 (as below)
    return _fetch(joined("WITH ", pieces, ", ") + Piece(what), using)


def _fetch(piece: Piece, using: str) -> list[tuple[Any, ...]]:
    """Run a statement that is a transaction by itself, and return its rows.

    Inside a caller's transaction it gets a savepoint, so that an error of it is its own.
    """
    connection = connections[using]

    def run() -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(piece.sql, piece.parameters)
            return list(cursor.fetchall())

    if not connection.in_atomic_block:
        return run()
    with transaction.atomic(using=using):
        return run()


def _portions(items: Sequence[T], fixed: int, each: int) -> Iterable[Sequence[T]]:
    """Cut ``items``, of which each has so many parameters, into what one statement takes."""
    most = (MOST_PARAMETERS - fixed) // each
    return (items[at : at + most] for at in range(0, len(items), most))
