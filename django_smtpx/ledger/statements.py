"""The statements that run for each chunk of mail, written out, and made one where that can be.

To build one of these takes the ORM several times as long as it takes the
database to run it, and a chunk has only a few messages (law 4 of the outbox).
And each statement is a round trip: PostgreSQL takes several as one (``WITH``),
which is a transaction by itself. Everything else goes through the ORM.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from django.db import DataError, connections, transaction
from django.db.models import AutoField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Field, Model

    _Adapt = Callable[[Any, BaseDatabaseWrapper], Any]

T = TypeVar("T")

_MOST_PARAMETERS = 900
"""What every SQLite takes in one statement: its limit was 999 for long."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Update:
    """What the rows of ``model`` with these primary ``keys`` become.

    ``only`` are values that a row must have to be met (None: NULL). ``values`` is what all of them
    get; ``each`` gives, by field and key, what differs from row to row; the field ``one_more`` is
    counted up.
    """

    model: type[Model]
    keys: Sequence[int]
    only: Mapping[str, Any]
    values: Mapping[str, Any]
    each: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)
    one_more: str = ""

    @property
    def fits(self) -> bool:
        """Whether one statement takes all of it."""
        parameters = len(self.only) + len(self.values) + len(self.keys) * (1 + 2 * len(self.each))
        return parameters <= _MOST_PARAMETERS


@dataclass(frozen=True, slots=True, kw_only=True)
class Insert:
    """A row of ``model`` for each row of another table.

    ``copied`` gives, by the new row's field, the field of the other row that it is taken from;
    ``values`` is what all new rows get, and ``each`` what differs, by the other row's key.
    """

    model: type[Model]
    copied: Mapping[str, str]
    values: Mapping[str, Any]
    each: Mapping[str, Mapping[int, Any]] = field(default_factory=dict)


def takes_all_at_once(using: str) -> bool:
    """Return whether the database takes several statements as one."""
    return connections[using].vendor == "postgresql"


def update_rows(update: Update, using: str) -> int:
    """Run an update, and count the rows that it met."""
    table = _Table(update.model, using)
    fixed, each = len(update.only) + len(update.values), 1 + 2 * len(update.each)
    portions = _portions(update.keys, fixed, each)
    return sum(table.run(table.update(update, some)) for some in portions)


def insert_for(source: type[Model], keys: Sequence[int], insert: Insert, using: str) -> None:
    """Insert a row for each row of ``source`` with one of ``keys``."""
    old, new = _Table(source, using), _Table(insert.model, using)
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
    table, new = _Table(update.model, using), _Table(insert.model, using)
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
        its = _Table(other.model, using)
        piece = its.update(other, other.keys).returning([its.key])
        pieces.append(piece.named(f"other{number}"))
        counts.append(f"(SELECT COUNT(*) FROM other{number})")  # noqa: S608 (as below)
    statement = _joined("WITH ", pieces, ", ") + _Piece(
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
    table = _Table(type(parent), using)
    pieces = [table.insert([parent]).returning([table.key]).named("parent")]
    for number, rows in enumerate(children):
        its = _Table(type(rows[0]), using)
        pieces.append(its.insert(rows, link=link, parent=f"parent.{table.key}").named(f"c{number}"))
    statement = _joined("WITH ", pieces, ", ") + _Piece(
        f" SELECT {table.key} FROM parent"  # noqa: S608 (as below)
    )
    parent.pk = _fetch(statement, using)[0][0]
    parent._state.adding, parent._state.db = False, using
    for rows in children:
        for row in rows:
            # The parent keeps those that it has one of, which had no key to refer to.
            setattr(row, link, parent)


class _Piece:
    """A piece of SQL, with the parameters that it has."""

    __slots__ = ("parameters", "sql")

    def __init__(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.sql = sql
        self.parameters = parameters

    def __add__(self, other: _Piece) -> _Piece:
        return _Piece(self.sql + other.sql, [*self.parameters, *other.parameters])

    def returning(self, columns: Iterable[str]) -> _Piece:
        """Return the statement as one that returns columns of the rows that it met."""
        return _Piece(f"{self.sql} RETURNING {', '.join(columns)}", self.parameters)

    def named(self, name: str) -> _Piece:
        """Return the statement as a part of another one."""
        return _Piece(f"{name} AS ({self.sql})", self.parameters)


class _Table:
    """The table of a model in one database, in words of its SQL."""

    def __init__(self, model: type[Model], using: str) -> None:
        self._connection = connections[using]
        self._quote = self._connection.ops.quote_name
        self._meta = model._meta
        self.name = self._quote(model._meta.db_table)
        self.key = self._quote(str(model._meta.pk.column))

    def column(self, name: str) -> str:
        """Return the column of a field."""
        return self._quote(str(self._field(name).column))

    def update(self, update: Update, keys: Sequence[int]) -> _Piece:
        """Return the UPDATE of the rows with ``keys``."""
        changes = [self._given(name, value) for name, value in update.values.items()]
        changes += [self._chosen(name, keys, by_key) for name, by_key in update.each.items()]
        if update.one_more:
            column = self.column(update.one_more)
            changes.append(_Piece(f"{column} = {column} + 1"))
        conditions = [self.among(keys)]
        conditions += [
            _Piece(f"{self.column(name)} IS NULL") if value is None else self._given(name, value)
            for name, value in update.only.items()
        ]
        # Names of ours alone, here and elsewhere: every value is a parameter.
        what = _joined(f"UPDATE {self.name} SET ", changes, ", ")  # noqa: S608
        return what + _joined(" WHERE ", conditions, " AND ")

    def insert_for(
        self,
        insert: Insert,
        keys: Sequence[int],
        old: _Table,
        source: str,
        where: _Piece | None = None,
    ) -> _Piece:
        """Return the INSERT of a row for each row of ``source``, whose rows are of ``old``."""
        values = [_Piece(old.column(name)) for name in insert.copied.values()]
        values += [self._value(name, value) for name, value in insert.values.items()]
        values += [old._case(self, name, keys, one) for name, one in insert.each.items()]
        names = (*insert.copied, *insert.values, *insert.each)
        what = f"INSERT INTO {self.name} ({', '.join(map(self.column, names))}) SELECT "
        piece = _joined(what, values, ", ") + _Piece(f" FROM {source}")
        return piece if where is None else piece + _Piece(" WHERE ") + where

    def insert(self, rows: Sequence[Model], *, link: str = "", parent: str = "") -> _Piece:
        """Return the INSERT of ``rows``, whose field ``link`` refers to the new ``parent``.

        What none of them has (None) is left out: each value costs time on both sides.
        """
        fields = _fields(self._meta.model, self._connection.alias, link)
        given = [one for one in fields if any(getattr(row, one.name) is not None for row in rows)]
        parameters = [
            one.adapt(value, self._connection) if one.adapt and value is not None else value
            for row in rows
            for one in given
            for value in (getattr(row, one.name),)
        ]
        columns = [one.column for one in given]
        # The first row tells what the types are.
        marks = ", ".join([one.typed for one in given])
        head = f"INSERT INTO {self.name} "
        if not link:
            return _Piece(f"{head}({', '.join(columns)}) VALUES ({marks})", parameters)
        head += f"({', '.join([self.column(link), *columns])}) SELECT {parent}"
        if len(rows) == 1:
            return _Piece(f"{head}, {marks} FROM parent", parameters)
        marks += f"), ({_marks(len(given))}" * (len(rows) - 1)
        return _Piece(f"{head}, given.* FROM parent, (VALUES ({marks})) AS given", parameters)

    def among(self, keys: Sequence[int]) -> _Piece:
        """Return that the primary key is one of ``keys``."""
        if self._takes_arrays:
            return _Piece(f"{self.key} = ANY(CAST(%s AS bigint[]))", [list(keys)])
        return _Piece(f"{self.key} IN ({_marks(len(keys))})", keys)

    def run(self, piece: _Piece) -> int:
        """Run a statement, and count the rows that it met."""
        with self._connection.cursor() as cursor:
            cursor.execute(piece.sql, piece.parameters)
            return int(cursor.rowcount)

    def _given(self, name: str, value: Any) -> _Piece:
        """Return that the field has, or gets, this value."""
        return _Piece(f"{self.column(name)} = %s", [self._adapted(name, value)])

    def _value(self, name: str, value: Any) -> _Piece:
        """Return a value of the field by itself."""
        return _Piece(self._typed(name, "%s"), [self._adapted(name, value)])

    def _chosen(self, name: str, keys: Sequence[int], by_key: Mapping[int, Any]) -> _Piece:
        """Return that the field gets, in each row, the value for that row's key."""
        return _Piece(f"{self.column(name)} = ") + self._case(self, name, keys, by_key)

    def _case(
        self, of: _Table, name: str, keys: Sequence[int], by_key: Mapping[int, Any]
    ) -> _Piece:
        """Return a value of a field of the table ``of``, by the key of each row here."""
        values = [of._adapted(name, by_key[key]) for key in keys]
        if self._takes_arrays:
            kind = _type(_field(of._meta.model, name), self._connection)
            place = f"array_position(CAST(%s AS bigint[]), {self.key})"
            return _Piece(f"(CAST(%s AS {kind}[]))[{place}]", [values, list(keys)])
        cases = f"CASE {self.key}{' WHEN %s THEN %s' * len(keys)} END"
        pairs = [one for pair in zip(keys, values, strict=True) for one in pair]
        return _Piece(of._typed(name, cases), pairs)

    @property
    def _takes_arrays(self) -> bool:
        """Whether many values are one parameter: the statement is the same for any number then,
        which the driver need not read again.
        """
        return self._connection.vendor == "postgresql"

    def _typed(self, name: str, sql: str) -> str:
        """Return ``sql`` with the field's type where parameters of no type would be texts."""
        if self._connection.vendor != "postgresql":
            return sql
        return _cast(sql, self._field(name), self._connection)

    def _field(self, name: str) -> Field[Any, Any]:
        return _field(self._meta.model, name)

    def _adapted(self, name: str, value: Any) -> Any:
        adapt = _adapter(self._field(name), self._connection.alias)
        return adapt(value, self._connection) if adapt else value


_AS_THEY_ARE = frozenset(
    {
        "BooleanField",
        "CharField",
        "FloatField",
        "ForeignKey",
        "IntegerField",
        "PositiveBigIntegerField",
        "PositiveIntegerField",
        "PositiveSmallIntegerField",
        "SmallIntegerField",
        "TextField",
    }
)
_AS_THEY_ARE_ON_POSTGRESQL = frozenset({"DateTimeField", "UUIDField"})


@lru_cache(maxsize=128)
def _field(model: type[Model], name: str) -> Field[Any, Any]:
    found: Any = model._meta.get_field(name)
    return found  # type: ignore[no-any-return]


@lru_cache(maxsize=128)
def _adapter(its: Field[Any, Any], using: str) -> _Adapt | None:
    """Return what makes a value of a field one that the driver takes; None: all are so."""
    kind, vendor = its.get_internal_type(), connections[using].vendor
    if kind in _AS_THEY_ARE or (vendor == "postgresql" and kind in _AS_THEY_ARE_ON_POSTGRESQL):
        return None
    return lambda value, connection: its.get_db_prep_save(value, connection=connection)


class _Field(NamedTuple):
    """A field of a table that a value is for: its column, and how a value is written."""

    name: str
    column: str
    typed: str
    adapt: _Adapt | None


@lru_cache(maxsize=16)
def _fields(model: type[Model], using: str, link: str) -> tuple[_Field, ...]:
    """Return those that an INSERT names, but for the key and ``link``."""
    connection = connections[using]
    return tuple(
        _Field(
            str(one.attname),
            connection.ops.quote_name(str(one.column)),
            _cast("%s", one, connection),
            _adapter(one, using),
        )
        for one in model._meta.concrete_fields
        if one.name != link and not isinstance(one, AutoField)
    )


def _cast(sql: str, its: Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    """Return ``sql`` as a value of the field's type."""
    return f"CAST({sql} AS {_type(its, connection)})"


def _type(its: Field[Any, Any], connection: BaseDatabaseWrapper) -> str:
    """Return the field's type, of whatever length.

    A cast to ``varchar(320)`` cuts what is longer; the column refuses it.
    """
    return str(its.db_type(connection)).partition("(")[0]


def _fetch(piece: _Piece, using: str) -> list[tuple[Any, ...]]:
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


def _joined(head: str, pieces: Sequence[_Piece], between: str) -> _Piece:
    return _Piece(
        head + between.join(piece.sql for piece in pieces),
        [one for piece in pieces for one in piece.parameters],
    )


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)


def _portions(items: Sequence[T], fixed: int, each: int) -> Iterable[Sequence[T]]:
    """Cut ``items``, of which each has so many parameters, into what one statement takes."""
    most = (_MOST_PARAMETERS - fixed) // each
    return (items[at : at + most] for at in range(0, len(items), most))
