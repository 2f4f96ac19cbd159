"""Words of SQL for what the ledger writes without the ORM: tables, their columns, typed values."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections
from django.db.models import AutoField

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from django.db.backends.base.base import BaseDatabaseWrapper
    from django.db.models import Field, Model

    _Adapt = Callable[[Any, BaseDatabaseWrapper], Any]

MOST_PARAMETERS = 900
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
        return parameters <= MOST_PARAMETERS


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


class Piece:
    """A piece of SQL, with the parameters that it has."""

    __slots__ = ("parameters", "sql")

    def __init__(self, sql: str, parameters: Sequence[Any] = ()) -> None:
        self.sql = sql
        self.parameters = parameters

    def __add__(self, other: Piece) -> Piece:
        return Piece(self.sql + other.sql, [*self.parameters, *other.parameters])

    def returning(self, columns: Iterable[str]) -> Piece:
        """Return the statement as one that returns columns of the rows that it met."""
        return Piece(f"{self.sql} RETURNING {', '.join(columns)}", self.parameters)

    def named(self, name: str) -> Piece:
        """Return the statement as a part of another one."""
        return Piece(f"{name} AS ({self.sql})", self.parameters)


class Table:
    """The table of a model in one database, in words of its SQL."""

    def __init__(self, model: type[Model], using: str) -> None:
        self._connection = connections[using]
        self._quote = self._connection.ops.quote_name
        self._meta = model._meta
        self.name = self._quote(model._meta.db_table)
        self.key = self._quote(str(model._meta.pk.column))

    def column(self, name: str) -> str:
        """Return the column of a field."""
        return self._named(name).column

    def update(self, update: Update, keys: Sequence[int]) -> Piece:
        """Return the UPDATE of the rows with ``keys``."""
        changes = [self._given(name, value) for name, value in update.values.items()]
        changes += [self._chosen(name, keys, by_key) for name, by_key in update.each.items()]
        if update.one_more:
            column = self.column(update.one_more)
            changes.append(Piece(f"{column} = {column} + 1"))
        conditions = [self.among(keys)]
        conditions += [
            Piece(f"{self.column(name)} IS NULL") if value is None else self._given(name, value)
            for name, value in update.only.items()
        ]
        return self._change(changes) + joined(" WHERE ", conditions, " AND ")

    def take(self, keys: Piece, values: Mapping[str, Any]) -> Piece:
        """Return the UPDATE of the rows whose keys a SELECT gives."""
        changes = [self._given(name, value) for name, value in values.items()]
        # As an array they are looked up one by one, whatever the planner believes.
        where = Piece(f" WHERE {self.key} = ANY(ARRAY({keys.sql}))", keys.parameters)
        return self._change(changes) + where

    def _change(self, changes: Sequence[Piece]) -> Piece:
        # Names of ours alone, here and elsewhere: every value is a parameter.
        return joined(f"UPDATE {self.name} SET ", changes, ", ")  # noqa: S608

    def insert_for(
        self,
        insert: Insert,
        keys: Sequence[int],
        old: Table,
        source: str,
        where: Piece | None = None,
    ) -> Piece:
        """Return the INSERT of a row for each row of ``source``, whose rows are of ``old``."""
        values = [Piece(old.column(name)) for name in insert.copied.values()]
        values += [self._value(name, value) for name, value in insert.values.items()]
        values += [old._case(self, name, keys, one) for name, one in insert.each.items()]
        names = (*insert.copied, *insert.values, *insert.each)
        what = f"INSERT INTO {self.name} ({', '.join(map(self.column, names))}) SELECT "
        piece = joined(what, values, ", ") + Piece(f" FROM {source}")
        return piece if where is None else piece + Piece(" WHERE ") + where

    def insert(self, rows: Sequence[Model], *, link: str = "", parent: str = "") -> Piece:
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
        marks = ", ".join([f"CAST(%s AS {one.kind})" for one in given])
        head = f"INSERT INTO {self.name} "
        if not link:
            return Piece(f"{head}({', '.join(columns)}) VALUES ({marks})", parameters)
        head += f"({', '.join([self.column(link), *columns])}) SELECT {parent}"
        if len(rows) == 1:
            return Piece(f"{head}, {marks} FROM parent", parameters)
        marks += f"), ({_marks(len(given))}" * (len(rows) - 1)
        return Piece(f"{head}, given.* FROM parent, (VALUES ({marks})) AS given", parameters)

    def among(self, keys: Sequence[int]) -> Piece:
        """Return that the primary key is one of ``keys``."""
        if self._takes_arrays:
            return Piece(f"{self.key} = ANY(CAST(%s AS bigint[]))", [list(keys)])
        return Piece(f"{self.key} IN ({_marks(len(keys))})", keys)

    def reached(self, name: str, alias: str) -> str:
        """Return a column of the row that goes by ``alias``; by ``link__name``, of the row that it
        refers to, which is joined by :meth:`join`.
        """
        link, _, its = name.rpartition("__")
        if not link:
            return f"{alias}.{self.column(name)}"
        return f"{link}.{self._of(link).column(its)}"

    def join(self, link: str, alias: str) -> str:
        """Return the join of the row that the field ``link`` refers to."""
        other = self._of(link)
        return f" JOIN {other.name} AS {link} ON {link}.{other.key} = {alias}.{self.column(link)}"

    def run(self, piece: Piece) -> int:
        """Run a statement, and count the rows that it met."""
        with self._connection.cursor() as cursor:
            cursor.execute(piece.sql, piece.parameters)
            return int(cursor.rowcount)

    def _of(self, link: str) -> Table:
        """Return the table that the field ``link`` refers to."""
        model: Any = self._meta.get_field(link).related_model
        return Table(model, self._connection.alias)

    def _given(self, name: str, value: Any) -> Piece:
        """Return that the field has, or gets, this value."""
        return Piece(f"{self.column(name)} = %s", [self._adapted(name, value)])

    def _value(self, name: str, value: Any) -> Piece:
        """Return a value of the field by itself."""
        return Piece(self._typed(name, "%s"), [self._adapted(name, value)])

    def _chosen(self, name: str, keys: Sequence[int], by_key: Mapping[int, Any]) -> Piece:
        """Return that the field gets, in each row, the value for that row's key."""
        return Piece(f"{self.column(name)} = ") + self._case(self, name, keys, by_key)

    def _case(self, of: Table, name: str, keys: Sequence[int], by_key: Mapping[int, Any]) -> Piece:
        """Return a value of a field of the table ``of``, by the key of each row here."""
        values = [of._adapted(name, by_key[key]) for key in keys]
        if self._takes_arrays:
            kind = of._named(name).kind
            place = f"array_position(CAST(%s AS bigint[]), {self.key})"
            return Piece(f"(CAST(%s AS {kind}[]))[{place}]", [values, list(keys)])
        cases = f"CASE {self.key}{' WHEN %s THEN %s' * len(keys)} END"
        pairs = [one for pair in zip(keys, values, strict=True) for one in pair]
        return Piece(of._typed(name, cases), pairs)

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
        return f"CAST({sql} AS {self._named(name).kind})"

    def _named(self, name: str) -> _Field:
        return _field(self._meta.model, name, self._connection.alias)

    def _adapted(self, name: str, value: Any) -> Any:
        adapt = self._named(name).adapt
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


class _Field(NamedTuple):
    """A field of a table that a value is for: its column, its type, and what makes a value one
    that the driver takes (None: all are so).

    The type is without a length: a cast to ``varchar(320)`` cuts what is longer, and the column
    refuses it.
    """

    name: str
    column: str
    kind: str
    adapt: _Adapt | None


@lru_cache(maxsize=256)
def _field(model: type[Model], name: str, using: str) -> _Field:
    connection = connections[using]
    its: Any = model._meta.pk if name == "pk" else model._meta.get_field(name)
    return _Field(
        name=its.attname,
        column=connection.ops.quote_name(its.column),
        kind=its.db_type(connection).partition("(")[0],
        adapt=_adapter(its, connection),
    )


def _adapter(its: Field[Any, Any], connection: BaseDatabaseWrapper) -> _Adapt | None:
    kind = its.get_internal_type()
    on_postgresql = connection.vendor == "postgresql" and kind in _AS_THEY_ARE_ON_POSTGRESQL
    if kind in _AS_THEY_ARE or on_postgresql:
        return None
    return lambda value, connection: its.get_db_prep_save(value, connection=connection)


@lru_cache(maxsize=16)
def _fields(model: type[Model], using: str, link: str) -> tuple[_Field, ...]:
    """Return those that an INSERT names, but for the key and ``link``."""
    return tuple(
        _field(model, one.name, using)
        for one in model._meta.concrete_fields
        if one.name != link and not isinstance(one, AutoField)
    )


def joined(head: str, pieces: Sequence[Piece], between: str) -> Piece:
    """Return the pieces behind ``head``, with the same words ``between`` each two."""
    return Piece(
        head + between.join(piece.sql for piece in pieces),
        [one for piece in pieces for one in piece.parameters],
    )


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)
