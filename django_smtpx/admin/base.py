"""What the pages share; on most of them nothing can be changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar
from uuid import UUID

from django.contrib import admin
from django.contrib.admin.views.main import SEARCH_VAR
from django.contrib.auth import get_permission_codename
from django.core.exceptions import BadRequest
from django.db.models import Model
from django.db.models.constants import LOOKUP_SEP
from django.urls import reverse

from django_smtpx.admin.counting import BoundedPaginator
from django_smtpx.models import Route

if TYPE_CHECKING:
    from django.http import HttpRequest, HttpResponse

    _ModelAdmin = admin.ModelAdmin
else:

    class _ModelAdmin(admin.ModelAdmin):
        """The type checker's ``ModelAdmin[M]``, at run time."""

        def __class_getitem__(cls, item: object) -> type:
            return cls


M = TypeVar("M", bound=Model)

_PATTERNS = ("regex", "iregex")


class BaseAdmin(_ModelAdmin[M]):
    """Lists and pages in our style that know where the others are."""

    empty_value_display = "–"
    paginator = BoundedPaginator
    show_full_result_count = False
    unseen: tuple[str, ...] = ()
    """Fields that no page shows: Django takes any field of a row in the query of a list, and by it
    they could be guessed, letter by letter.
    """

    class Media:
        css = {"all": ("django_smtpx/admin.css",)}  # noqa: RUF012 (Django's own convention)

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        """Say whether the query of a list may ask for that; a pattern could take hours."""
        parts = lookup.split(LOOKUP_SEP)
        if parts[0] in self.unseen or parts[-1] in _PATTERNS:
            return False
        return super().lookup_allowed(lookup, value, request)

    def changelist_view(
        self, request: HttpRequest, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Show the list, unless a filter asks for a NUL: PostgreSQL raises on one.

        Django itself says what is wrong where one is searched for.
        """
        asked = (values for name, values in request.GET.lists() if name != SEARCH_VAR)
        if any("\0" in value for values in asked for value in values):
            raise BadRequest("A NUL is in no text.")
        return super().changelist_view(request, extra_context)

    def page_url(self, obj: Model) -> str:
        """Return the address of another row's page on this site."""
        return self.site_url(type(obj), "change", obj.pk)

    def has_pages_of(self, model: type[Model], request: HttpRequest) -> bool:
        """Say whether this site has pages of ``model``, and the user may view them."""
        return self.admin_site.is_registered(model) and may_view(request, model)

    def site_url(self, model: type[Model], page: str, *args: object) -> str:
        """Return the address of a page ("change", "changelist") of ``model`` on this site."""
        name = f"admin:{model._meta.app_label}_{model._meta.model_name}_{page}"
        return reverse(name, args=args, current_app=self.admin_site.name)


class ReadOnlyAdmin(BaseAdmin[M]):
    """Lists and pages to look at; the permission to view is the only one that counts."""

    actions: tuple[str, ...] | None = None

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Mail is added by sending it."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """What happened is not changed."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: M | None = None) -> bool:
        """The retention deletes."""
        return False

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
    return may(request, "resume_route")


def may(request: HttpRequest, codename: str) -> bool:
    """Say whether the user has the permission ``codename`` of this application."""
    return request.user.has_perm(f"{Route._meta.app_label}.{codename}")


def as_uuid(text: str) -> UUID | None:
    """Return ``text`` as a UUID if it is one and nothing else.

    Whatever else reached a UUID column would be an error on PostgreSQL.
    """
    try:
        return UUID(text.strip())
    except ValueError:
        return None
