"""What a mailer logs in with."""

from __future__ import annotations

import sys

import pytest

from django_smtpx.checks import check_half_credentials
from django_smtpx.config import mailers
from django_smtpx.config.logins import TokenSource
from django_smtpx.config.options import parse
from django_smtpx.config.unknown import BadOption
from django_smtpx.smtp import sasl
from django_smtpx.smtp.options import Credential
from django_smtpx.smtp.tokens import TokenError, fetch

PATH = "tests.config.test_logins.token"
TOKEN = {"username": "u", "oauth_token": PATH}
PASSWORD = {"username": "u", "password": "p"}


def token():
    """Return a token, as a site's own function does."""
    return "a-token"


class token_class:  # noqa: N801 (a path that leads to something else)
    not_callable = 5


def server(**options):
    """Return the one server of some options."""
    return parse("m", {"host": "smtp.example.com", **options}).hosts[0]


@pytest.mark.parametrize("name", sasl.PASSWORD)
def test_password(name):
    """Each mechanism that takes a password may be named, in any case."""
    host = server(**PASSWORD, auth=name.lower())
    assert (host.auth, host.credential) == ((name,), Credential("u", "p"))


@pytest.mark.parametrize("auth", ["auto", ["xoauth2"], ["OAUTHBEARER", "XOAUTH2"]])
def test_token(auth):
    """A source of tokens takes the place of a password; TLS is wanted as for any credential."""
    host = server(**TOKEN, auth=auth)
    assert host.credential == Credential("u", token=TokenSource(PATH))
    assert (host.port, host.security) == (587, "starttls")
    assert fetch(host.credential.token, 1) == "a-token"
    again = server(**TOKEN, auth=auth)
    assert (again, hash(again)) == (host, hash(host))
    assert PATH not in repr(host)


def test_external(tmp_path):
    """EXTERNAL needs a certificate, and may go by its name alone."""
    pem = tmp_path / "client.pem"
    pem.touch()
    files = {"ssl_certfile": pem, "auth": ["EXTERNAL", "PLAIN"]}
    assert server(**files).credential == Credential("")
    assert server(**files, username="u").credential == Credential("u")
    assert server(**files, **PASSWORD).credential == Credential("u", "p")
    assert server(ssl_certfile=pem).credential is None
    with pytest.raises(BadOption, match="'auth' is set, but 'security' is 'none'"):
        server(**files, security="none")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({**TOKEN, "password": "p"}, ["'oauth_token'", "'password'", "Remove one"]),
        ({"oauth_token": PATH}, ["'oauth_token'", "'username'"]),
        ({**TOKEN, "auth": "EXTERNAL"}, ["'oauth_token'", "'auth'", "OAUTHBEARER and XOAUTH2"]),
        ({**TOKEN, "auth": ["XOAUTH2", "PLAIN"]}, ["PLAIN", "'oauth_token'"]),
        ({**PASSWORD, "auth": ["PLAIN", "XOAUTH2"]}, ["XOAUTH2", "'oauth_token'"]),
        ({"auth": "SCRAM-SHA-256"}, ["SCRAM-SHA-256", "'username'", "'password'"]),
        ({**PASSWORD, "auth": "EXTERNAL"}, ["EXTERNAL", "'ssl_certfile'"]),
        ({**TOKEN, "security": "none"}, ["'username'", "never sent in clear"]),
        ({"transport": "mx", "host": None, "oauth_token": PATH}, ["'oauth_token'", "mx"]),
    ],
)
def test_contradictions(options, words):
    """What does not go together is told by name, with the mend."""
    with pytest.raises(BadOption) as caught:
        server(**options)
    assert [word for word in words if word not in str(caught.value)] == []


def test_a_name_that_is_set_to_nothing_is_no_contradiction():
    """A site whose environment has no credential yet is configured all the same."""
    assert server(username="", password="", auth=["SCRAM-SHA-256", "PLAIN"]).credential is None


def test_scramp_missing(monkeypatch):
    """A named SCRAM without scramp says what to install; "auto" does without."""
    monkeypatch.setitem(sys.modules, "scramp", None)
    with pytest.raises(BadOption, match=r"'auth'.*pip install 'django-smtpx\[scram\]'"):
        server(**PASSWORD, auth=["PLAIN", "SCRAM-SHA-256"])
    assert server(**PASSWORD).auth == ()


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("nowhere.at_all.token", "No module named"),
        ("tests.config.test_logins.nothing", "does not define"),
        ("tests.config.test_logins.token_class.not_callable", "oauth_token names"),
        ("sys.maxsize", "not callable"),
    ],
)
def test_a_path_that_leads_nowhere(path, words):
    """A path is followed when a token is first wanted; where it ends is told with the key."""
    source = server(**{**TOKEN, "oauth_token": path}).credential.token
    with pytest.raises(TokenError, match=words) as caught:
        fetch(source, 1)
    assert f"oauth_token names {path!r}" in str(caught.value)


def test_no_token_in_an_error():
    """Somebody who sets the token itself finds it in no message."""
    for given in ("ya29.a0AfH6-token", "eyJh.eyJz.c2ln=", "t0ken"):
        with pytest.raises(BadOption) as caught:
            server(username="u", oauth_token=given)
        assert given not in str(caught.value)


def test_half_credentials(configure):
    """A name without a password is no half where a token stands for it."""
    configure(half={"host": "h", "username": "u"}, whole={"host": "h", **TOKEN})
    assert {"half", "whole"} <= set(mailers())
    assert ["'half'" in warning.msg for warning in check_half_credentials()] == [True]
