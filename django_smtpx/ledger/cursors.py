"""Cursors for the statements that the ledger writes out.

Django binds values on PostgreSQL into the words of a statement, unless the site has chosen
otherwise. For ours the driver hands them over beside the words, and takes what is found as bytes:
no content is spelled out in hexadecimal digits and read back.

What stores a mail is prepared, on a connection that has stored some and goes to PostgreSQL itself:
to read and to plan it takes as long as to run it. Behind a pooler nothing is, since the next
statement may be another server process's. What looks for rows is never prepared, whatever the site
has chosen: its plan would be that of the day on which the table was empty.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from django.db import connections

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from django.db import DatabaseError


_NO_SUCH_STATEMENT = "26000"
"""The SQLSTATE ``invalid_sql_statement_name``."""

RUNS_BEFORE = 5
"""Statements of a connection that might be prepared, after which it is worth to: most connections
are closed at the end of a request, before they have stored as many."""


def cursor(using: str, meanwhile: Callable[[], None] | None = None, *, stores: bool = False) -> Any:
    """Return a cursor of the database ``using``, with all that Django puts around one.

    ``meanwhile`` is called once the server has the statement and has yet to answer, where the
    driver can do that, and otherwise not at all. It must not touch the database. ``stores`` says
    that it will run a statement that looks for no rows, and that will be run again and again.
    """
    connection: Any = connections[using]
    bind = _binding() if connection.vendor == "postgresql" else None
    if bind is None:
        return connection.cursor()
    connection.ensure_connection()
    bound = bind(connection.connection)
    bound.meanwhile = meanwhile
    bound.prepared = stores and may_prepare(connection)
    return connection._prepare_cursor(bound)


def may_prepare(connection: Any) -> bool:
    """Say whether to prepare on a connection of Django's to PostgreSQL, and count the question.

    Not where the site has switched it off by name (``"prepare_threshold": None``), nor within a
    transaction that Django does not know of: there would be no way back out of an error. Nor while
    Django writes down what is run: psycopg does not keep the words of what is prepared, and
    ``connection.queries`` would have none.
    """
    if connection.queries_logged:
        return False
    if connection.settings_dict["OPTIONS"].get("prepare_threshold", RUNS_BEFORE) is None:
        return False
    if not (connection.in_atomic_block or connection.autocommit):
        return False
    raw = connection.connection
    known = _runs.get(raw, 0)
    if isinstance(known, bool):
        return known
    if known < RUNS_BEFORE:
        _runs[raw] = known + 1
        return False
    _runs[raw] = is_direct(raw)
    return False


_runs: WeakKeyDictionary[Any, int | bool] = WeakKeyDictionary()
"""Of each connection how often it was asked about, and then what is known of it."""


def was_forgotten(error: DatabaseError, using: str) -> bool:
    """Say whether a statement was not run since the server knows no such prepared one any more, and
    prepare none on this connection from now on: somebody has told the server to forget them all.
    """
    if getattr(error.__cause__, "sqlstate", None) != _NO_SUCH_STATEMENT:
        return False
    _runs[connections[using].connection] = False
    return True


def is_direct(raw: Any) -> bool:
    """Say whether a connection of psycopg goes to PostgreSQL, and not to a pooler.

    A pooler answers for many server processes, and makes up the number of the one that it says it
    is when it is connected to.
    """
    from psycopg import Error

    try:
        with raw.cursor() as asking:
            (pid,) = asking.execute("SELECT pg_backend_pid()", prepare=False).fetchone()
    except Error:
        # Of a transaction that has failed before: what comes next fails by itself.
        return False
    return bool(pid == raw.info.backend_pid)


@cache
def _binding() -> Callable[[Any], Any] | None:
    """Return what makes such a cursor of a driver's connection; None where it is psycopg2."""
    try:
        from django.db.backends.postgresql.base import ServerBindingCursor
        from psycopg.pq import Format
    except ImportError:
        return None
    kind: Any = ServerBindingCursor

    class Bound(kind):  # type: ignore[misc]
        """A cursor whose :meth:`execute` may do something else while it waits."""

        meanwhile: Callable[[], None] | None = None
        prepared = False

        def execute(self, query: Any, params: Any = None, **kwargs: Any) -> Any:
            raw = self.connection
            threshold = raw.prepare_threshold
            if self.prepared:
                # Django has it None, which is a no to whoever asks for a statement by itself.
                raw.prepare_threshold = 0
            try:
                return super().execute(query, params, **{**kwargs, "prepare": self.prepared})
            finally:
                raw.prepare_threshold = threshold

        def _execute_gen(self, *args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            # Not in psycopg's documents: where it has another name some day, nothing is done
            # meanwhile.
            steps = super()._execute_gen(*args, **kwargs)
            return steps if self.meanwhile is None else _doing(steps, self.meanwhile)

    def bind(connection: Any) -> Any:
        made = Bound(connection)
        made.format = Format.BINARY
        return made

    return bind


def _doing(steps: Generator[Any, Any, Any], work: Callable[[], None]) -> Generator[Any, Any, Any]:
    """Give the ``steps`` of a statement, what each waits for, and work before the first that waits
    for the answer alone.

    What the work raises, be it a signal's, comes behind the answer: a connection that was left in
    the middle of a statement would be lost.
    """
    from psycopg.waiting import Wait

    raised: BaseException | None = None
    worked = False
    ready = None
    while True:
        try:
            wanted = steps.send(ready)
        except StopIteration as end:
            if raised is not None:
                raise raised from None
            return end.value
        if wanted == Wait.R and not worked:
            worked = True
            try:
                work()
            except BaseException as error:  # noqa: BLE001 (it is raised below)
                raised = error
        ready = yield wanted
