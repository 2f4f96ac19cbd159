"""Which mailers there are, and which of them a connection is."""

from __future__ import annotations

import warnings

import pytest
from django.conf import settings as django_settings
from django.core.exceptions import ImproperlyConfigured
from django.core.mail.backends.base import BaseEmailBackend

from django_smtpx.config import get_mailer, mailer_errors, mailer_from_kwargs, mailers
from django_smtpx.config.settings import has_mailers
from django_smtpx.config.sources import is_ours
from tests.config.conftest import BACKEND, HAS_MAILERS

LOCMEM = "django.core.mail.backends.locmem.EmailBackend"


class NotOurs(BaseEmailBackend):
    pass


def test_by_name(configure):
    """Each configured mailer is there under its name."""
    configure(default={"host": "a.example"}, direct={"host": "b.example", "mode": "now"})
    assert list(mailers()) == ["default", "direct"]
    assert get_mailer("direct") is mailers()["direct"]
    assert (get_mailer("direct").name, get_mailer("direct").mode) == ("direct", "now")
    assert mailer_errors() == {}


def test_unknown_name(configure):
    """An unknown name is an error that lists the known ones."""
    configure(default={"host": "a.example"}, direct={"port": "x"})
    with pytest.raises(ImproperlyConfigured, match=r"no mailer 'dirct'.*'default', 'direct'"):
        get_mailer("dirct")
    configure()
    with pytest.raises(ImproperlyConfigured, match="no mailer 'x'"):
        get_mailer("x")


def test_a_mistake_stops_one_mailer(configure):
    """One mailer's mistake leaves the others as they are, and says which one it is about."""
    configure(default={"host": "a.example"}, bad={"host": "b.example", "port": "25"})
    assert list(mailers()) == ["default"]
    (error,) = mailer_errors().values()
    assert "'bad'" in str(error)
    assert "'port' must be a whole number" in str(error)
    for _ in range(2):
        with pytest.raises(ImproperlyConfigured, match="'port'") as caught:
            get_mailer("bad")
        assert type(caught.value).__name__ == (
            "InvalidMailer" if HAS_MAILERS else "ImproperlyConfigured"
        )
    with pytest.raises(ImproperlyConfigured, match="'port'"):
        mailer_from_kwargs(None, {"mailer": "bad"})


@pytest.mark.parametrize("bad", [None, [], "host"])
def test_options_that_are_no_dictionary(configure, bad):
    """Options that are no dictionary are told, not tripped over."""
    configure(default={"host": "a.example"}, bad=bad)
    assert list(mailer_errors()) == ["bad"]
    assert "must be a dictionary" in str(mailer_errors()["bad"])
    with pytest.raises(ImproperlyConfigured):
        mailer_from_kwargs("bad", {"host": "a.example", "port": "x"})


def test_names_fit_into_a_row(configure):
    """A name that no row can hold is refused."""
    configure(**{"x" * 101: {"host": "a.example"}})
    assert "1 to 100 characters" in str(*mailer_errors().values())


def test_settings_are_read_late(configure):
    """A changed setting counts at the next call."""
    configure(default={"host": "a.example"})
    assert get_mailer("default").hosts[0].host == "a.example"
    configure(default={"host": "b.example"})
    assert get_mailer("default").hosts[0].host == "b.example"


def test_reading_is_done_once(configure):
    """While nothing changes, the very same mailer comes back."""
    configure(default={"host": "a.example"})
    assert get_mailer("default") is get_mailer("default")


@pytest.mark.parametrize(
    ("path", "ours"),
    [
        (BACKEND, True),
        ("tests.config.backends.Subclass", True),
        ("tests.config.test_mailers.NotOurs", False),
        ("tests.config.test_mailers.LOCMEM", False),
        (LOCMEM, False),
        ("no.such.module.Backend", False),
        ("nodots", False),
        ("", False),
        (None, False),
    ],
)
def test_is_ours(path, ours):
    """A backend is ours by its path, or as a subclass."""
    assert is_ours(path) is ours


def test_email_settings(classic):
    """EMAIL_* configure the default mailer."""
    classic(
        EMAIL_HOST="a.example", EMAIL_PORT=587, EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="p",
        EMAIL_USE_TLS=True, EMAIL_TIMEOUT=7, EMAIL_SSL_CERTFILE=__file__, EMAIL_SSL_KEYFILE=__file__,
    )  # fmt: skip
    (host,) = get_mailer("default").hosts
    assert (host.host, host.port, host.security, host.timeout) == ("a.example", 587, "starttls", 7)
    assert (host.credential.username, host.credential.password) == ("u", "p")
    assert (host.ssl_certfile, host.ssl_keyfile) == (__file__, __file__)


def test_email_settings_as_django_has_them(classic):
    """With EMAIL_BACKEND alone it is Django's localhost, and a port that goes with the security."""
    classic()
    (host,) = get_mailer("default").hosts
    assert (host.host, host.port, host.security) == ("localhost", 25, "opportunistic")
    assert (host.credential, host.timeout) == (None, 60)
    classic(EMAIL_USE_SSL=True)
    assert (get_mailer("default").hosts[0].port) == 465


def test_own_options_win_over_email_settings(classic):
    """What SMTPX_MAILERS say of the default mailer wins, key by key."""
    classic(
        EMAIL_HOST="a.example", EMAIL_PORT=25, EMAIL_USE_TLS=True, EMAIL_HOST_USER="u", EMAIL_HOST_PASSWORD="p",
        SMTPX_MAILERS={"default": {"host": ["b.example"], "security": "implicit"}, "other": {"host": "c.example"}},
    )  # fmt: skip
    (host,) = get_mailer("default").hosts
    assert (host.host, host.port, host.security) == ("b.example", 25, "implicit")
    assert host.credential.username == "u"
    assert get_mailer("other").hosts[0].credential is None
    classic(EMAIL_USE_TLS=True, EMAIL_PORT=26, SMTPX_MAILERS={"default": {"use_ssl": True}})
    assert get_mailer("default").hosts[0].security == "implicit"


def test_email_settings_are_named_in_errors(classic):
    """A mistake in EMAIL_* is told by the setting's name."""
    classic(EMAIL_PORT="25")
    assert "EMAIL_PORT must be" in str(mailer_errors()["default"])
    classic(EMAIL_PORT=465, EMAIL_USE_TLS=True)
    assert "EMAIL_PORT is 465" in str(mailer_errors()["default"])
    assert "EMAIL_USE_TLS" in str(mailer_errors()["default"])
    classic(EMAIL_PORT=25, EMAIL_USE_TLS=True, EMAIL_USE_SSL=True)
    assert "EMAIL_USE_TLS and EMAIL_USE_SSL" in str(mailer_errors()["default"])


def test_bad_smtpx_mailers(classic):
    """SMTPX_MAILERS that are no dictionary are an error at every use."""
    classic(SMTPX_MAILERS=["default"])
    with pytest.raises(ImproperlyConfigured, match="SMTPX_MAILERS must be a dictionary"):
        mailers()


def test_a_host_must_be_given_but_for_email_host(classic):
    """Only the default mailer has EMAIL_HOST to fall back on."""
    classic(SMTPX_MAILERS={"default": {}, "other": {}})
    assert list(mailers()) == ["default"]
    assert "'host' must be given" in str(mailer_errors()["other"])


def test_other_backends_are_not_ours(classic):
    """Without our backend there is no default mailer, unless SMTPX_MAILERS have it."""
    classic(EMAIL_BACKEND=LOCMEM)
    assert mailers() == {}
    classic(EMAIL_BACKEND=LOCMEM, SMTPX_MAILERS={"other": {"host": "a.example"}})
    assert list(mailers()) == ["other"]
    classic(EMAIL_BACKEND="tests.config.backends.Subclass", SMTPX_MAILERS={})
    assert list(mailers()) == ["default"]


def test_reading_warns_nobody(classic, recwarn):
    """Deprecated settings are read without a warning that the site cannot act on."""
    classic(EMAIL_HOST="a.example", EMAIL_PORT=2525)
    warnings.simplefilter("always")
    assert get_mailer("default").hosts[0].port == 2525
    assert mailer_from_kwargs(None, {"host": "b.example"}).hosts[0].port == 2525
    assert recwarn.list == []


def test_the_test_environment_takes_the_mailers_away(configure):
    """Django's test environment swaps the backends without a signal, and that is seen."""
    configure(default={"host": "a.example"})
    assert "default" in mailers()
    if has_mailers():
        django_settings.MAILERS = {"default": {"BACKEND": LOCMEM}}
        assert mailers() == {}
        assert mailer_errors() == {}
    else:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            django_settings.EMAIL_BACKEND = LOCMEM
        assert list(mailers()) == ["default"]  # SMTPX_MAILERS stay
        del django_settings.SMTPX_MAILERS
        assert mailers() == {}


# -- what Django hands to the backend ------------------------------------------

OPTIONS = {
    "host": "a.example",
    "port": 2525,
    "username": "u",
    "password": "p",
    "redirect_to": "dev@a.example",
}


def test_plain_connection(configure):
    """A connection without arguments of its own is the default mailer."""
    configure(default=OPTIONS)
    assert mailer_from_kwargs(None, {}) is get_mailer("default")
    assert mailer_from_kwargs(
        None, {"username": None, "password": None, "fail_silently": False}
    ) is get_mailer("default")
    assert mailer_from_kwargs("default", dict(OPTIONS)) is get_mailer("default")
    assert mailer_from_kwargs(
        "default", {**OPTIONS, "_ignore_unknown_kwargs": set()}
    ) is get_mailer("default")


@pytest.mark.parametrize("alias", [None, "default"])
def test_fail_silently_alone_does_not_count(configure, alias):
    """A silent connection is the named mailer, silent."""
    configure(default=OPTIONS)
    options = {**(OPTIONS if alias else {}), "fail_silently": True}
    mailer = mailer_from_kwargs(alias, options)
    assert (mailer.name, mailer.fail_silently, mailer.mode) == ("default", True, "queue")
    assert not get_mailer("default").fail_silently


@pytest.mark.parametrize(
    "own",
    [
        {"host": "b.example"},
        {"port": 26},
        {"username": "x"},
        {"password": "x"},
        {"timeout": 5},
        {"username": ""},
    ],
)
@pytest.mark.parametrize("alias", [None, "default"])
def test_options_of_its_own_make_it_nameless(configure, alias, own):
    """A connection with host or credentials of its own has no name and delivers at once."""
    configure(default=OPTIONS)
    mailer = mailer_from_kwargs(alias, {**(OPTIONS if alias else {}), **own, "fail_silently": True})
    assert (mailer.name, mailer.mode, mailer.fail_silently) == ("", "now", True)
    assert mailer.redirect_to == ("dev@a.example",)
    (host,) = mailer.hosts
    assert host.host == own.get("host", "a.example")
    assert host.port == own.get("port", 2525)
    if own == {"username": ""}:
        assert host.credential is None
    else:
        assert host.credential.username == own.get("username", "u")
        assert host.credential.password == own.get("password", "p")


@pytest.mark.parametrize("alias", [None, "default"])
def test_what_is_configured_anyway_keeps_the_name(configure, alias):
    """The values count, not the way they came."""
    configure(default=OPTIONS)
    same = {"host": "a.example", "username": "u", "eod_timeout": 600, "verify": True}
    assert mailer_from_kwargs(alias, {**(OPTIONS if alias else {}), **same}) is get_mailer(
        "default"
    )
    empty = {"host": "", "port": None}
    if alias is None:
        assert mailer_from_kwargs(alias, empty) is get_mailer("default")


@pytest.mark.parametrize("alias", [None, "default"])
def test_choosing_by_name(configure, alias):
    """get_connection(mailer=…) is that mailer, and an unknown one lists the known ones."""
    configure(default=OPTIONS, direct={"host": "b.example"})
    merged = OPTIONS if alias else {}
    assert mailer_from_kwargs(alias, {**merged, "mailer": "direct"}) is get_mailer("direct")
    silent = mailer_from_kwargs(alias, {**merged, "mailer": "direct", "fail_silently": True})
    assert (silent.name, silent.fail_silently) == ("direct", True)
    own = mailer_from_kwargs(alias, {**merged, "mailer": "direct", "port": 26})
    assert (own.name, own.hosts[0].host, own.hosts[0].port) == ("", "b.example", 26)
    assert own.hosts[0].credential is None
    with pytest.raises(ImproperlyConfigured, match=r"'nobody'.*'default', 'direct'"):
        mailer_from_kwargs(alias, {**merged, "mailer": "nobody"})


def test_security_of_its_own_replaces_the_configured_one(configure):
    """use_ssl= of a connection is not at odds with the configured use_tls."""
    configure(default={"host": "a.example", "port": 2525, "use_tls": True})
    mailer = mailer_from_kwargs(None, {"use_ssl": True})
    assert mailer.hosts[0].security == "implicit"


def test_bad_keywords(configure):
    """What a connection cannot have is an error that names it."""
    configure(default=OPTIONS)
    for kwargs in (
        {"port": "x"},
        {"hots": "b.example"},
        {"host": "b", "use_tls": True, "use_ssl": True},
    ):
        with pytest.raises(ImproperlyConfigured, match=r"port|hots|use_tls"):
            mailer_from_kwargs(None, kwargs)
        with pytest.raises(ImproperlyConfigured, match=r"port|hots|use_tls"):
            mailer_from_kwargs("default", {**OPTIONS, **kwargs})


def test_backend_made_by_hand(classic):
    """Where the default mailer is another backend's, a backend made by hand has EMAIL_* and no name."""
    classic(EMAIL_BACKEND=LOCMEM, EMAIL_HOST="a.example")
    mailer = mailer_from_kwargs(None, {})
    assert (mailer.name, mailer.mode, mailer.hosts[0].host) == ("", "now", "a.example")
