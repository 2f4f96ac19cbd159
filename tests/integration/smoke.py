"""A site in an environment with nothing but the package and what it declares; a file, not a module.

``python smoke.py`` in an empty folder: it fails where something is missing.
"""

from __future__ import annotations

import importlib
import importlib.util
import pkgutil
import sys
from pathlib import Path

EXTRAS = (
    "asn1crypto",
    "cryptography",
    "dkim",
    "opentelemetry",
    "prometheus_client",
    "pytest",
    "scramp",
    "trustme",
)
"""What no site has for the package's sake unless it asks for it."""
NEED_AN_EXTRA = {
    "django_smtpx.metrics": "prometheus_client",
    "django_smtpx.smtp.chains": "cryptography",
    "django_smtpx.testing.fixtures": "pytest",
}
"""Modules that are imported when they are wanted alone, and what they cannot do without."""


def the_client_alone() -> None:
    """The client is there without Django, Celery and settings."""
    import django_smtpx.smtp

    assert not {"django", "celery", "kombu", "dns"} & sys.modules.keys()
    assert "site-packages" in django_smtpx.smtp.__file__, django_smtpx.smtp.__file__


def no_extra() -> None:
    """Nothing is here that the package does not declare."""
    there = [name for name in EXTRAS if importlib.util.find_spec(name) is not None]
    assert there == [], there


def configure() -> None:
    """Be a small site."""
    import django
    from django.conf import settings

    options = {"host": "127.0.0.1", "port": int(sys.argv[1]), "security": "none"}
    backend = "django_smtpx.backend.EmailBackend"
    mailers = (
        {"MAILERS": {"default": {"BACKEND": backend, "OPTIONS": options}}}
        if django.VERSION >= (6, 1)
        else {"EMAIL_BACKEND": backend, "SMTPX_MAILERS": {"default": options}}
    )
    settings.configure(
        SECRET_KEY="only for tests",
        USE_TZ=True,
        DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
        DATABASES={
            "default": {
                "ENGINE": "django.db.backends.sqlite3",
                "NAME": "site.sqlite3",
                "OPTIONS": {
                    "timeout": 20,
                    "transaction_mode": "IMMEDIATE",
                    "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
                },
            }
        },
        INSTALLED_APPS=[
            "django.contrib.admin", "django.contrib.auth", "django.contrib.contenttypes",
            "django.contrib.messages", "django.contrib.sessions", "django.contrib.staticfiles",
            "django_smtpx",
        ],
        MIDDLEWARE=[
            "django.contrib.sessions.middleware.SessionMiddleware",
            "django.contrib.auth.middleware.AuthenticationMiddleware",
            "django.contrib.messages.middleware.MessageMiddleware",
        ],
        TEMPLATES=[{
            "BACKEND": "django.template.backends.django.DjangoTemplates",
            "APP_DIRS": True,
            "OPTIONS": {"context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ]},
        }],
        STATIC_URL="static/",
        **mailers,
    )  # fmt: skip
    django.setup()


def every_module() -> int:
    """Import each module, and return how many there are."""
    import django_smtpx

    missing, count = {}, 0
    for found in pkgutil.walk_packages(django_smtpx.__path__, "django_smtpx."):
        if not found.name.endswith(".__main__"):
            count += 1
            try:
                importlib.import_module(found.name)
            except ImportError as error:
                missing[found.name] = error.name
    assert missing == NEED_AN_EXTRA, missing
    return count


def what_is_no_code() -> None:
    """Templates, styles and translations came along."""
    from django.contrib.staticfiles import finders
    from django.template.loader import get_template
    from django.utils.translation import gettext, override

    import django_smtpx

    root = Path(django_smtpx.__file__).parent
    assert (root / "py.typed").exists()
    pages = sorted((root / "templates").rglob("*.html"))
    assert pages
    for page in pages:
        get_template(str(page.relative_to(root / "templates")))
    files = [path for path in (root / "static").rglob("*") if path.is_file()]
    assert files
    assert all(finders.find(str(path.relative_to(root / "static"))) for path in files)
    for language in ("de", "fr", "es"):
        with override(language):
            assert gettext("No delivery.") != "No delivery.", language


def a_mail() -> None:
    """Check, migrate, send and deliver."""
    from django.core.mail import send_mail
    from django.core.management import call_command

    call_command("check", fail_level="WARNING")
    call_command("makemigrations", check=True, verbosity=0)
    call_command("migrate", verbosity=0)
    assert send_mail("Subject", "Body", "from@example.com", ["to@example.net"]) == 1
    call_command("smtpx_deliver")
    from django_smtpx.models import Delivery

    assert Delivery.objects.get().status == "sent"


if __name__ == "__main__":
    the_client_alone()
    no_extra()
    configure()
    modules = every_module()
    assert modules > 200, modules
    what_is_no_code()
    a_mail()
    print(f"{modules} modules")
