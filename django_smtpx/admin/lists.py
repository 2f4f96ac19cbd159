"""Lists that cost a million rows no more than a thousand: each statement reads a range of an index.

What no index answers, a search within texts, another order than the newest
first or a lookup that is no filter's, is done among the newest rows alone. The
page says how far back that is, and leads on to the rows before them, or to all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from django.contrib.admin import ShowFacets
from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.utils import build_q_object_from_lookup_parameters
from django.contrib.admin.views.main import PAGE_VAR, ChangeList
from django.core.exceptions import FieldError, ValidationError
from django.db.models import Model
from django.utils.formats import number_format

from django_smtpx.addresses import a_labels
from django_smtpx.admin import counting, words
from django_smtpx.admin.base import ReadOnlyAdmin, as_uuid
from django_smtpx.admin.counting import AtLeast
from django_smtpx.models import Delivery

if TYPE_CHECKING:
    from datetime import datetime

    from django.db.models import QuerySet
    from django.http import HttpRequest

M = TypeVar("M", bound=Model)

BEFORE = "before"
"""The parameter that leaves out a row and what is newer: its value is the row's key."""

EVERY = "every"
"""The parameter that asks to look at all rows, however long that takes."""

_OWN = (BEFORE, EVERY)
_BIGGEST_KEY = 2**63 - 1
_DIGITS = 18  # of a key, at the most
_BY_KEY = {"pk", "-pk", "id", "-id"}


@dataclass(frozen=True, slots=True)
class Reach:
    """How far back was looked: to the row of that key, and from when that is."""

    floor: int
    rows: int
    created_at: datetime

    @property
    def count(self) -> str:
        """How many rows that are at the most, in the reader's manner."""
        return number_format(self.rows)

    @property
    def since(self) -> str:
        """From when the oldest of them is."""
        return words.moment(self.created_at)


def newest(
    rows: QuerySet[Any], request: HttpRequest, count: int | None = None
) -> tuple[QuerySet[Any], int | None]:
    """Return the newest ``count`` of ``rows``, and the key of the oldest of these.

    :data:`.counting.COUNTED`, where nothing else is said. Return all of them, and
    None, where there are no more, or where that is asked for.
    """
    count = count or counting.COUNTED
    if EVERY in request.GET:
        return rows, None
    keys = rows.order_by("-pk").values_list("pk", flat=True)
    last = list(keys[count - 1 : count + 1])
    return (rows.filter(pk__gte=last[0]), last[0]) if len(last) > 1 else (rows, None)


def before(request: HttpRequest) -> int | None:
    """Return the key of the row before which a list is to begin; None: it begins with the newest.

    Never one that the database could not compare with.
    """
    text = request.GET.get(BEFORE, "")
    if not (text.isascii() and text.isdecimal()):
        return None
    return int(text) if len(text) <= _DIGITS else _BIGGEST_KEY


def first_delivery_from(message: int) -> int | None:
    """Return the key of the first delivery of that message, or of the next one that has any."""
    rows = Delivery.objects.filter(message__gte=message).order_by("message", "pk")
    return rows.values_list("pk", flat=True).first()


class BoundedList(ChangeList):
    """A list of a :class:`LogAdmin`, in pages."""

    model_admin: LogAdmin[Any]
    reach: Reach | None = None
    """How far back this page has looked; None: to the end."""
    _besides: dict[str, Any]
    """Lookups that were asked for besides the filters."""

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().__init__(request, *args, **kwargs)
        for name in _OWN:
            # The next search begins with the newest rows.
            self.params.pop(name, None)

    def get_filters_params(self, params: Any = None) -> dict[str, Any]:
        """Return the parameters that are filters: those of the list itself are none."""
        found = super().get_filters_params(params)
        return {name: value for name, value in found.items() if name not in _OWN}

    def get_filters(self, request: HttpRequest) -> Any:
        """Return the filters, and leave what was asked for besides to :meth:`get_queryset`.

        Django takes any field and lookup in a list's address, whether an index answers it or not.
        """
        specs, has_filters, self._besides, *rest = super().get_filters(request)
        return (specs, has_filters, {}, *rest)

    def get_query_string(self, new_params: Any = None, remove: Any = None) -> str:
        """Return a query; only from page to page it goes on to be about older rows, or about all
        of them.
        """
        new = new_params or {}
        if PAGE_VAR not in new:
            new = {**dict.fromkeys(_OWN), **new}
        return super().get_query_string(new, remove)

    def get_queryset(
        self, request: HttpRequest, exclude_parameters: list[str | None] | None = None
    ) -> QuerySet[Any]:
        """Return what is filtered, searched for and ordered, as far back as an index reaches."""
        newer = before(request)
        if newer is not None:
            self.root_queryset = self.root_queryset.filter(pk__lt=newer)
        # Not Django's way, which searches all that is filtered.
        term, self.query = self.query, ""
        try:
            rows = super().get_queryset(request, exclude_parameters)
        finally:
            self.query = term
        floors = [(getattr(spec, "floor", None), counting.COUNTED) for spec in self.filter_specs]
        if self._besides:
            rows, floor = self._looked_up(request, rows)
            floors.append((floor, counting.COUNTED))
        if term:
            rows, floor = self._searched(request, rows, term)
            floors.append((floor, self.model_admin.searched))
        elif rows.query.order_by[:1] and rows.query.order_by[0] not in _BY_KEY:
            rows, floor = newest(rows, request)
            floors.append((floor, counting.COUNTED))
        self._note([(floor, count) for floor, count in floors if floor is not None])
        return rows

    def _looked_up(
        self, request: HttpRequest, rows: QuerySet[Any]
    ) -> tuple[QuerySet[Any], int | None]:
        within, floor = newest(rows, request)
        try:
            return within.filter(build_q_object_from_lookup_parameters(self._besides)), floor
        except (FieldError, TypeError, ValueError, ValidationError) as error:
            raise IncorrectLookupParameters(error) from error

    def _searched(
        self, request: HttpRequest, rows: QuerySet[Any], term: str
    ) -> tuple[QuerySet[Any], int | None]:
        whole = self.model_admin.whole_matches(rows, term)
        if whole is not None:
            return whole, None
        within, floor = self.model_admin.searched_rows(request, rows)
        found, _ = super(LogAdmin, self.model_admin).get_search_results(request, within, term)
        # Read once: the count and the page would each look through the texts again. A message that
        # is found by two of its deliveries is one.
        keys = found.order_by("-pk").values_list("pk", flat=True)[: counting.COUNTED + 1]
        return rows.filter(pk__in=set(keys)), floor

    def _note(self, floors: list[tuple[int, int]]) -> None:
        """Say how far back was looked: no further than the one that looked least far."""
        if not floors:
            return
        floor, count = max(floors)
        lookup = self.model_admin.created_lookup
        rows = self.model_admin.model._default_manager.filter(pk=floor)
        created_at = rows.values_list(lookup, flat=True).first()
        self.reach = Reach(floor, count, created_at) if created_at is not None else None

    @property
    def older(self) -> str:
        """The query of the rows behind the last page that can be turned to; "" where none are."""
        rows = list(self.result_list)
        on_last = self.page_num == self.paginator.num_pages
        if not rows or not on_last or self.reach or not isinstance(self.result_count, AtLeast):
            return ""
        return self._from_the_first_page({BEFORE: rows[-1].pk})

    @property
    def further(self) -> str:
        """The query that looks at what is before all that was looked at; "" if that was all."""
        return self._from_the_first_page({BEFORE: self.reach.floor}) if self.reach else ""

    @property
    def everything(self) -> str:
        """The query that looks at all rows, whatever that costs."""
        return self._from_the_first_page({BEFORE: None, EVERY: "1"})

    @property
    def back(self) -> str:
        """The query of the newest rows; "" where they are shown."""
        elsewhere = BEFORE in self.filter_params
        return self._from_the_first_page(dict.fromkeys(_OWN)) if elsewhere else ""

    def _from_the_first_page(self, params: dict[str, Any]) -> str:
        return self.get_query_string({**params, PAGE_VAR: None})


class LogAdmin(ReadOnlyAdmin[M]):
    """Messages or deliveries: as many as the log has, by keys that grow with time."""

    # They would count every row.
    show_facets = ShowFacets.NEVER
    # As many as take no longer than twice what a thousand do.
    searched = 2_000
    """Rows whose texts a search goes through at once."""
    created_lookup = "created_at"
    """Where a row says when it was stored."""
    uuid_lookup = ""
    """The lookup that a search for a whole UUID is tried with before any other."""
    address_lookups: tuple[str, ...] = ()
    """Those that a search for a whole address, or Message-ID, is tried with then."""

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[ChangeList]:
        """Return the kind of list."""
        return BoundedList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[M], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """Search the newest rows: so a field of another model that completes what is typed does."""
        within = self.searched_rows(request, queryset)[0] if search_term else queryset
        return super().get_search_results(request, within, search_term)

    def whole_matches(self, rows: QuerySet[Any], term: str) -> QuerySet[Any] | None:
        """Return what a whole UUID, address or Message-ID finds by index; None: nothing, or it is
        no such thing.
        """
        term = term.strip()
        uuid = as_uuid(term) if self.uuid_lookup else None
        tries: list[tuple[str, Any]] = [] if uuid is None else [(self.uuid_lookup, uuid)]
        if "@" in term and not term.startswith("@"):
            tries += [(lookup, value) for lookup in self.address_lookups for value in _spelt(term)]
        for lookup, value in tries:
            exact = rows.filter(**{lookup: value})
            if exact.order_by("pk").values_list("pk")[:1]:
                return exact
        return None

    def searched_rows(
        self, request: HttpRequest, rows: QuerySet[Any]
    ) -> tuple[QuerySet[Any], int | None]:
        """Return those of ``rows`` whose texts a search goes through, as :func:`newest` does."""
        return newest(rows, request, self.searched)


def _spelt(term: str) -> list[str]:
    """Return how an address or a Message-ID may be written in its row."""
    bare = term.removeprefix("<").removesuffix(">")
    local, _, domain = bare.rpartition("@")
    try:
        domain = a_labels(domain)
    except ValueError:
        return [term]
    spellings = (term, bare, f"{local}@{domain}", f"{local}@{domain.lower()}", f"<{bare}>")
    return list(dict.fromkeys(spellings))
