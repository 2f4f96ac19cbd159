"""Lists of which so many rows are counted, and no more: to count millions takes seconds."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

from django.core.paginator import Paginator
from django.db.models import Model
from django.utils.formats import number_format

from django_smtpx.config.composing import sets_thousands_apart

if TYPE_CHECKING:
    from django.db.models import QuerySet

    _Paginator = Paginator
else:

    class _Paginator(Paginator):
        """The type checker's ``Paginator[M]``, at run time."""

        def __class_getitem__(cls, item: object) -> type:
            return cls


M = TypeVar("M", bound=Model)

COUNTED = 10_000
"""Rows that are counted of a list, and can be turned to."""


class AtLeast(int):
    """A count that was given up: there are more. It says so wherever it is shown."""

    def __str__(self) -> str:
        # Where thousands are set apart, Django does that with what this returns.
        return str(int(self)) if sets_thousands_apart() else f"{int(self)}+"

    @property
    def words(self) -> str:
        """It in the reader's manner."""
        return number_format(int(self))


class BoundedPaginator(_Paginator[M]):
    """Pages of the first :data:`COUNTED` rows; ``count`` says where there are more."""

    @cached_property
    def count(self) -> int:
        """Return how many rows there are to be turned to."""
        rows: QuerySet[Any, Any] = self.object_list  # type: ignore[assignment]
        # In the order in which most lists are read: along the same index as the page itself.
        found = rows.order_by("-pk")[: COUNTED + 1].count()
        return found if found <= COUNTED else AtLeast(COUNTED)
