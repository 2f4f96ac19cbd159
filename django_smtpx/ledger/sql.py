"""Words of SQL for what the ledger writes without the ORM: tables, their columns, typed values."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from django.db import connections

from django_smtpx.ledger.cursors import cursor

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
    def shape(self) -> tuple[Any, ...]:
        """Whatever its words depend on where many values are one parameter."""
        only = tuple([(name, value is None) for name, value in self.only.items()])
        return self.model, only, tuple(self.values), tuple(self.each), self.one_more

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

    @property
    def shape(self) -> tuple[Any, ...]:
        """Whatever its words depend on where many values are one parameter."""
        return self.model, tuple(self.copied.items()), tuple(self.values), tuple(self.each)


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
        self._using = using
        self._meta = model._meta
        self.name, self.key, self._vendor = _names(model, using)

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

    def of_update(self, update: Update, keys: Sequence[int]) -> list[Any]:
        """Return the parameters of :meth:`update` where many values are one."""
        adapted, all_keys = self._adapted, _array(keys)
        found = [adapted(name, value) for name, value in update.values.items()]
        for name, by_key in update.each.items():
            found += (_array([adapted(name, by_key[key]) for key in keys]), all_keys)
        found.append(all_keys)
        return found + [
            adapted(name, value) for name, value in update.only.items() if value is not None
        ]

    def of_insert(self, insert: Insert, keys: Sequence[int]) -> list[Any]:
        """Return the parameters of :meth:`insert_for` where many values are one."""
        adapted, all_keys = self._adapted, _array(keys)
        found = [adapted(name, value) for name, value in insert.values.items()]
        for name, by_key in insert.each.items():
            found += (_array([adapted(name, by_key[key]) for key in keys]), all_keys)
        return found

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

    def insert(
        self, rows: Sequence[Mapping[str, Any]], *, link: str = "", parent: str = ""
    ) -> Piece:
        """Return the INSERT of ``rows``, which have values by field, of the same fields, and whose
        field ``link`` refers to the new ``parent``.

        What all of them have by default is not a parameter: each costs time on both sides.
        """
        model, using = self._meta.model, self._using
        usual = _defaults(model)
        named = {name for row in rows for name, value in row.items() if value != usual.get(name)}
        words = _words(model, tuple(name for name in rows[0] if name in named), using, link)
        parameters = [
            one.adapt(row[name], connections[using]) if one.adapt else row[name]
            for row in rows
            for name, one in words.fields
        ]
        if not link:
            return Piece(f"{words.head} VALUES ({words.marks})", parameters)
        what = f"{words.head} SELECT {parent}, "
        if len(rows) == 1:
            return Piece(f"{what}{words.marks} FROM parent", parameters)
        # The first row tells what the types are.
        marks = "), (".join([words.typed, *[words.marks] * (len(rows) - 1)])
        return Piece(f"{what}given.* FROM parent, (VALUES ({marks})) AS given", parameters)

    def among(self, keys: Sequence[int]) -> Piece:
        """Return that the primary key is one of ``keys``."""
        if self._takes_arrays:
            return Piece(f"{self.key} = ANY(CAST(%s AS bigint[]))", [_array(keys)])
        return Piece(f"{self.key} IN ({_marks(len(keys))})", keys)

    def read(self, names: Iterable[str], keys: Sequence[int]) -> Piece:
        """Return the SELECT of some fields of the rows with ``keys``."""
        columns = ", ".join(map(self.column, names))
        return Piece(f"SELECT {columns} FROM {self.name} WHERE ") + self.among(keys)  # noqa: S608

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

    def run(self, piece: Piece, meanwhile: Callable[[], None] | None = None) -> int:
        """Run a statement, and count the rows that it met."""
        with cursor(self._using, meanwhile) as bound:
            bound.execute(piece.sql, piece.parameters)
            return int(bound.rowcount)

    def _of(self, link: str) -> Table:
        """Return the table that the field ``link`` refers to."""
        model: Any = self._meta.get_field(link).related_model
        return Table(model, self._using)

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
            return Piece(f"(CAST(%s AS {kind}[]))[{place}]", [_array(values), _array(keys)])
        cases = f"CASE {self.key}{' WHEN %s THEN %s' * len(keys)} END"
        pairs = [one for pair in zip(keys, values, strict=True) for one in pair]
        return Piece(of._typed(name, cases), pairs)

    @property
    def _takes_arrays(self) -> bool:
        """Whether many values are one parameter: the statement is the same for any number then,
        which the driver need not read again.
        """
        return self._vendor == "postgresql"

    def _typed(self, name: str, sql: str) -> str:
        """Return ``sql`` with the field's type where parameters of no type would be texts."""
        if self._vendor != "postgresql":
            return sql
        return f"CAST({sql} AS {self._named(name).kind})"

    def _named(self, name: str) -> _Field:
        return _field(self._meta.model, name, self._using)

    def _adapted(self, name: str, value: Any) -> Any:
        adapt = self._named(name).adapt
        return adapt(value, connections[self._using]) if adapt else value


@lru_cache(maxsize=64)
def _names(model: type[Model], using: str) -> tuple[str, str, str]:
    """Return the names of a model's table and of its key, and what kind of database has it."""
    connection = connections[using]
    quote = connection.ops.quote_name
    return quote(model._meta.db_table), quote(str(model._meta.pk.column)), connection.vendor


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
_NUMBERS = ({int}, {float})
_CONSTANTS = (str, int, list, dict)


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


class _Words(NamedTuple):
    """The words of an INSERT: its beginning, and a row of values, each in its type where nothing
    else says it. ``fields``, by name, have the values that are parameters.
    """

    head: str
    marks: str
    typed: str
    fields: tuple[tuple[str, _Field], ...]


@lru_cache(maxsize=128)
def _words(model: type[Model], names: tuple[str, ...], using: str, link: str) -> _Words:
    """Return them for rows that have ``names``, and the defaults of all other fields."""
    fields = tuple((name, _field(model, name, using)) for name in names)
    values = [(one, "%s") for _, one in fields]
    values += [
        (_field(model, name, using), _constant(value))
        for name, value in _defaults(model).items()
        if name not in names
    ]
    table = Table(model, using)
    columns = [table.column(link)] if link else []
    columns += [one.column for one, _ in values]
    return _Words(
        head=f"INSERT INTO {table.name} ({', '.join(columns)})",
        marks=", ".join([mark for _, mark in values]),
        typed=", ".join([f"CAST({mark} AS {one.kind})" for one, mark in values]),
        fields=fields,
    )


@lru_cache(maxsize=16)
def _defaults(model: type[Model]) -> dict[str, Any]:
    """Return the defaults of a model's fields, where they are always the same and not NULL."""
    found = {one.name: one.get_default() for one in model._meta.concrete_fields}
    return {name: value for name, value in found.items() if isinstance(value, _CONSTANTS)}


def _constant(value: Any) -> str:
    """Return a default in SQL; those are ours, and none has a quote in it."""
    if isinstance(value, str):
        return f"'{value!s}'"
    return f"'{json.dumps(value)}'" if isinstance(value, (list, dict)) else json.dumps(value)


def joined(head: str, pieces: Sequence[Piece], between: str) -> Piece:
    """Return the pieces behind ``head``, with the same words ``between`` each two."""
    return Piece(
        head + between.join(piece.sql for piece in pieces),
        [one for piece in pieces for one in piece.parameters],
    )


def _array(values: Sequence[Any]) -> str | list[Any]:
    """Return an array as a driver is to have it: numbers and times in PostgreSQL's own words, for
    which the driver would take several times as long as the rest of the statement takes it.
    """
    kinds = {type(value) for value in values}
    if kinds in _NUMBERS:
        return f"{{{','.join(map(repr, values))}}}"
    if kinds == {datetime}:
        return f"{{{','.join(map(str, values))}}}"
    return list(values)


def _marks(count: int) -> str:
    return ", ".join(["%s"] * count)
