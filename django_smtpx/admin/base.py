"""What the pages share; on most of them nothing can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.auth import get_permission_codename
from django.db.models import Model
from django.urls import reverse

from django_smtpx.admin.counting import BoundedPaginator
from django_smtpx.models import Route

if TYPE_CHECKING:
    from django.db.models import QuerySet
    from django.http import HttpRequest, HttpResponse

    _ModelAdmin = admin.ModelAdmin
else:

    class _ModelAdmin(admin.ModelAdmin):
        """The type checker's ``ModelAdmin[M]``, at run time."""

        def __class_getitem__(cls, item: object) -> type:
            return cls


M = TypeVar("M", bound=Model)


class BaseAdmin(_ModelAdmin[M]):
    """Lists and pages in our style that know where the others are."""

    empty_value_display = "–"
    paginator = BoundedPaginator
    show_full_result_count = False

    class Media:
        css = {"all": ("django_smtpx/admin.css",)}  # noqa: RUF012 (Django's own convention)

    def page_url(self, obj: Model) -> str:
        """Return the address of another row's page on this site."""
        return self.site_url(type(obj), "change", obj.pk)

    def site_url(self, model: type[Model], page: str, *args: object) -> str:
        """Return the address of a page ("change", "changelist") of ``model`` on this site."""
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)


class ReadOnlyAdmin(BaseAdmin[M]):
    """Lists and pages to look at; the permission to view is the only one that counts."""

    actions: tuple[str, ...] | None = None
    uuid_lookup = ""
    """The lookup that a search for a whole UUID is tried with before any other."""
    address_lookups: tuple[str, ...] = ()
    """Those that a search for a whole address, or Message-ID, is tried with then."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Mail is added by sending it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """What happened is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """The retention deletes."""
        return False

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Any], search_term: str
    ) -> tuple[QuerySet[M], bool]:
        """Search as Django does, but take a UUID, a whole address or a whole Message-ID for what it
        is first: that is found by index.
        """
        uuid = as_uuid(search_term) if self.uuid_lookup else None
        whole: dict[str, Any] = {} if uuid is None else {self.uuid_lookup: uuid}
        if "@" in search_term:
            whole.update(dict.fromkeys(self.address_lookups, search_term.strip()))
        for lookup, value in whole.items():
            exact = queryset.filter(**{lookup: value})
            if exact.order_by("pk").values_list("pk")[:1]:
                return exact, False
        return super().get_search_results(request, queryset, search_term)

    def page_context(self, request: HttpRequest, obj: M) -> dict[str, Any]:
        """Return what a row's page shows besides its fields."""
        return {}

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Show a row's page."""
        context.update(self.page_context(request, context["original"]))
        return super().render_change_form(request, context, *args, **kwargs)


def may_view(request: HttpRequest, model: type[Model]) -> bool:
    """Say whether the user may view rows of ``model``."""
    codename = get_permission_codename("view", model._meta)
    user = request.user
    return user.has_perm(f"{model._meta.app_label}.{codename}")


def may_resume(request: HttpRequest) -> bool:
    """Say whether the user may open what rests."""
    return request.user.has_perm(f"{Route._meta.app_label}.resume_route")


def as_uuid(text: str) -> UUID | None:
    """Return ``text`` as a UUID if it is one and nothing else.

    Whatever else reached a UUID column would be an error on PostgreSQL.
    """
    try:
        return UUID(text.strip())
    except ValueError:
        return None
