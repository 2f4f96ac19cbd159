"""Mailers by name, and by what Django hands to a backend."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django_smtpx.config.options import Redacted, parse
from django_smtpx.config.settings import has_mailers
from django_smtpx.config.site import rules
from django_smtpx.config.sources import (
    DEFAULT,
    SECURITY_KEYS,
    Read,
    classic_options,
    current,
    error_of,
    improper,
    without_security,
)
from django_smtpx.config.unknown import BadOption
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from collections.abc import Mapping

    from django.core.exceptions import ImproperlyConfigured

    from django_smtpx.mailer import Mailer


def mailers() -> Mapping[str, Mailer]:
    """Return the mailers of this package by name.

    An empty ``helo`` in them stands for this machine's own name. Mailers of
    other backends are not among them, and neither are those that
    :func:`mailer_errors` tells about: one mailer's mistake stops no other.
    """
    return current().mailers


def mailer_errors() -> Mapping[str, ImproperlyConfigured]:
    """Return what is wrong with each of the mailers that cannot be used, by name."""
    read = current()
    return {name: error_of(name, text, read) for name, text in read.errors.items()}


def get_mailer(name: str) -> Mailer:
    """Return the mailer ``name``.

    Raises ``InvalidMailer`` (Django 6.1) or ``ImproperlyConfigured``: what is
    wrong with it, or, for an unknown one, which ones there are.
    """
    read = current()
    if name in read.mailers:
        return read.mailers[name]
    if name in read.errors:
        raise error_of(name, read.errors[name], read)
    known = ", ".join(repr(one) for one in (*read.mailers, *read.errors)) or said("none")
    raise improper(
        said(
            "There is no mailer %(name)s of django_smtpx. Configured: %(known)s.",
            name=repr(name),
            known=known,
        )
    )


def half_credentials(name: str) -> list[tuple[str, str]]:
    """Return what the mailer ``name`` has of a credential, and what it lacks, if that is so."""
    source = current().sources[name]
    pairs = (("username", "password"), ("password", "username"))
    options = source.options or Redacted()
    if any(host.credential for host in current().mailers[name].hosts):
        # It logs in all the same: with a bearer token, or a certificate.
        return []
    return [
        (source.labels.get(one, one), source.labels.get(other, other))
        for one, other in pairs
        if options.get(one) and not options.get(other)
    ]


def port_follows_email_settings() -> bool:
    """Whether the default mailer's port follows from EMAIL_USE_TLS or EMAIL_USE_SSL alone."""
    source = current().sources[DEFAULT]
    options = source.options or Redacted()
    by_email_settings = {"EMAIL_USE_TLS", "EMAIL_USE_SSL"} & set(source.labels.values())
    return options.get("port") is None and bool(by_email_settings)


def mailer_from_kwargs(alias: str | None, kwargs: Mapping[str, Any]) -> Mailer:
    """Return the mailer that Django asks the backend for.

    ``kwargs`` are those of the backend's constructor. Where they say what is
    configured (but for ``fail_silently``) that is the configured mailer; else
    it is a nameless one, which delivers at once. ``mailer`` among them chooses
    one by name; None means not given. Raises as :func:`get_mailer` does.
    """
    kwargs = Redacted(kwargs)
    kwargs.pop("_ignore_unknown_kwargs", None)
    chosen = kwargs.pop("mailer", None)
    if alias is None:
        return _with_overrides(chosen or DEFAULT, kwargs)
    read = current()
    source = read.sources.get(alias)
    own = (source.options if source is not None else None) or Redacted()
    if chosen is None and not (own and own.keys() <= kwargs.keys()):
        return _named_or_nameless(alias, kwargs, read)
    # mailers[alias], or a get_connection() whose keywords Django has merged into its options.
    changed = Redacted((k, v) for k, v in kwargs.items() if k not in own or own[k] != v)
    return _with_overrides(chosen or alias, changed)


def _with_overrides(name: str, keywords: Redacted) -> Mailer:
    """Return the mailer ``name`` with the keywords of a get_connection() over its options."""
    given = Redacted((key, value) for key, value in keywords.items() if _is_given(key, value))
    silent = given.pop("fail_silently", None)
    read = current()
    if name in read.errors or (name not in read.mailers and name != DEFAULT):
        get_mailer(name)
    if not given and name in read.mailers:
        return _silenced(read.mailers[name], silent)
    source = read.sources.get(name)
    options = Redacted((source.options if source else None) or _unnamed_base())
    if SECURITY_KEYS & given.keys():
        options = without_security(options)
    options.update(given)
    if silent is not None:
        options["fail_silently"] = bool(silent)
    return _named_or_nameless(name, options, read)


def _is_given(key: str, value: Any) -> bool:
    """Whether a get_connection() keyword counts, as in Django's own backend."""
    # Before Django 6.1 get_connection() passes fail_silently=False whether or not it was given.
    return bool(value) if key in ("host", "port", "fail_silently") else value is not None


def _silenced(mailer: Mailer, silent: Any) -> Mailer:
    if silent is None or mailer.fail_silently == bool(silent):
        return mailer
    return replace(mailer, fail_silently=bool(silent))


def _unnamed_base() -> Redacted:
    """Return what a backend that is made by hand starts from where no mailer of ours is."""
    return Redacted() if has_mailers() else classic_options()


def _named_or_nameless(name: str, options: Redacted, read: Read) -> Mailer:
    labels = read.sources[name].labels if name in read.sources else {}
    try:
        mailer = parse("", options, labels, rules())
    except BadOption as error:
        raise improper(str(error), alias=name if has_mailers() else None) from None
    configured = read.mailers.get(name)
    if configured is not None and mailer == replace(
        configured, name="", fail_silently=mailer.fail_silently
    ):
        return _silenced(read.mailers[name], mailer.fail_silently)
    return replace(mailer, mode="now")
