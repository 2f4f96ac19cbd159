"""From a dictionary of options to a mailer."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from django_smtpx.config.options import KNOWN_KEYS, Redacted, parse
from django_smtpx.config.unknown import BadOption
from django_smtpx.mailer import STANDARD_RETRY, RetryPolicy
from django_smtpx.smtp.options import Security
from tests.i18n.saying import assert_said

HOUR = 3600


def mailer(**options):
    """Return the mailer of some options."""
    return parse("m", {"host": "smtp.example.com", **options})


def server(**options):
    """Return the one server of some options."""
    return mailer(**options).hosts[0]


def test_defaults():
    """With a host alone everything is as it is documented."""
    one = parse("m", {"host": "smtp.example.com"})
    assert (one.name, one.mode, one.fail_silently, one.on_unknown) == ("m", "queue", False, "retry")
    assert (one.redirect_to, one.transcript) == ((), "failures")
    assert (one.max_connections, one.messages_per_connection) == (4, 100)
    assert (one.connection_max_age, one.idle_timeout) == (300, 10)
    (host,) = one.hosts
    assert (host.host, host.port, host.security) == ("smtp.example.com", 25, "opportunistic")
    assert (host.verify, host.timeout, host.eod_timeout, host.pipelining) == (True, 60, 600, True)
    assert (host.chunking, host.chunking_window) == (True, 1)
    assert (host.credential, host.auth, host.allow_plaintext_auth) == (None, (), False)
    assert (host.helo, host.source_address, host.ca_file, host.transcript) == (
        "", None, None, "failures",
    )  # fmt: skip


def test_none_means_not_given():
    """Every option may be None, which is its default."""
    assert parse("m", {**dict.fromkeys(KNOWN_KEYS), "host": "smtp.example.com"}) == mailer()


def test_standard_retry():
    """The standard schedule is the documented one."""
    assert mailer(retry="standard").retry == STANDARD_RETRY
    minutes = [step / 60 for step in STANDARD_RETRY.schedule]
    assert minutes == [1, 2, 5, 10, 20, 40, 60, 120, 240, 240, 360]
    assert STANDARD_RETRY.max_age == 48 * HOUR


def test_all_supported_options(tmp_path):
    """Each supported option arrives where it belongs."""
    pem = tmp_path / "some.pem"
    pem.touch()
    one = mailer(
        host=["mx1.example.com", "mx2.exämple.com", "192.0.2.7", "2001:db8::7"],
        port=2525,
        username="u",
        password="p",
        timeout=5,
        eod_timeout=7.5,
        ssl_keyfile=pem,
        ssl_certfile=str(pem),
        ca_file=pem,
        fail_silently=True,
        mode="now",
        transport="smtp",
        security="starttls",
        verify=False,
        auth=["login", "PLAIN"],
        allow_plaintext_auth=True,
        helo="out.example.com",
        source_address="192.0.2.1",
        pipelining=False,
        chunking=False,
        chunking_window=16,
        dsn=True,
        max_connections=1,
        messages_per_connection=2,
        connection_max_age=3,
        idle_timeout=0,
        retry={"schedule": [1, 2.5], "max_age": 100},
        on_unknown="hold",
        redirect_to="Dev <dev@exämple.com>",
        transcript="never",
    )
    assert [host.host for host in one.hosts] == [
        "mx1.example.com", "mx2.xn--exmple-cua.com", "192.0.2.7", "2001:db8::7",
    ]  # fmt: skip
    host = one.hosts[1]
    assert (host.port, host.security, host.verify) == (2525, "starttls", False)
    assert (host.credential.username, host.credential.password) == ("u", "p")
    assert (host.timeout, host.eod_timeout) == (5, 7.5)
    assert {host.ssl_keyfile, host.ssl_certfile, host.ca_file} == {str(pem)}
    assert (host.auth, host.allow_plaintext_auth) == (("LOGIN", "PLAIN"), True)
    assert (host.helo, host.source_address) == ("out.example.com", "192.0.2.1")
    assert (host.pipelining, host.transcript) == (False, "never")
    assert (host.chunking, host.chunking_window) == (False, 16)
    assert (one.mode, one.fail_silently, one.on_unknown) == ("now", True, "hold")
    assert (one.max_connections, one.messages_per_connection) == (1, 2)
    assert (one.connection_max_age, one.idle_timeout) == (3, 0)
    assert one.retry == RetryPolicy((1.0, 2.5), 100.0)
    assert one.redirect_to == ("dev@xn--exmple-cua.com",)
    assert hash(one) == hash(one)


@pytest.mark.parametrize(
    ("options", "security", "port"),
    [
        ({}, "opportunistic", 25),
        ({"port": 465}, "implicit", 465),
        ({"port": 587}, "starttls", 587),
        ({"port": 2525}, "opportunistic", 2525),
        ({"username": "u", "password": "p"}, "starttls", 587),
        ({"username": "u", "password": "p", "port": 2525}, "starttls", 2525),
        ({"username": "u", "password": "p", "allow_plaintext_auth": True}, "opportunistic", 25),
        ({"use_tls": True}, "starttls", 587),
        ({"use_ssl": True}, "implicit", 465),
        ({"use_ssl": True, "use_tls": False}, "implicit", 465),
        ({"use_tls": True, "security": "starttls"}, "starttls", 587),
        ({"use_ssl": True, "security": "auto", "port": 2525}, "implicit", 2525),
        ({"use_tls": True, "port": 25}, "starttls", 25),
        ({"security": "implicit"}, "implicit", 465),
        ({"security": "starttls"}, "starttls", 587),
        ({"security": "starttls", "use_tls": False}, "starttls", 587),
        ({"security": "opportunistic"}, "opportunistic", 25),
        ({"security": "none"}, "none", 25),
        ({"security": "none", "port": 465}, "none", 465),
    ],
)
def test_security_and_port(options, security, port):
    """The port follows from the security, and what "auto" means from the port and the credential."""
    host = server(**options)
    assert (host.security, host.port) == (Security(security), port)


@pytest.mark.parametrize(
    "half", [{"username": "u"}, {"password": "p"}, {"username": "u", "password": ""}]
)
def test_half_a_credential_logs_in_nowhere(half):
    """As with Django, there is a login with a name and a password alone."""
    assert server(**half).credential is None


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"use_tls": True, "use_ssl": True}, ["'use_tls'", "'use_ssl'", "both"]),
        ({"use_tls": True, "security": "none"}, ["'use_tls'", "'security'", "'none'"]),
        ({"use_ssl": True, "security": "starttls"}, ["'use_ssl'", "'starttls'"]),
        ({"port": 465, "security": "starttls"}, ["'port'", "465", "implicit"]),
        ({"port": 465, "security": "opportunistic"}, ["'port'", "465"]),
        ({"port": 465, "use_tls": True}, ["465", "'use_tls'", "use_ssl"]),
        ({"ssl_keyfile": __file__}, ["'ssl_keyfile'", "'ssl_certfile'"]),
        ({"transport": "mx"}, ["'host'", "mx"]),
        ({"transport": "mx", "host": None, "username": "u"}, ["'username'", "mx"]),
        ({"transport": "mx", "host": None, "auth": ["PLAIN"]}, ["'auth'", "mx"]),
        ({"transport": "mx", "host": None, "allow_plaintext_auth": True}, ["'allow_plain", "mx"]),
        ({"transport": "mx", "host": None, "use_tls": True}, ["'use_tls'", "mx"]),
        ({"transport": "mx", "host": None, "security": "implicit"}, ["'security'", "'starttls'"]),
        ({"transport": "mx", "host": None, "security": "none"}, ["'security'", "mta_sts=False"]),
        (
            {"transport": "mx", "host": None, "security": "none", "mta_sts": False},
            ["'security'", "dane=False"],
        ),
        ({"transport": "mx", "host": None, "mx_port": 0}, ["'mx_port'", "65535"]),
        ({"transport": "mx", "host": None, "resolver": "127.0.0.1"}, ["'resolver'", "trust_ad"]),
        (
            {"transport": "mx", "host": None, "resolver": {"nameserver": []}},
            ["'nameserver'", "'resolver'", "'nameservers'"],
        ),
        (
            {"transport": "mx", "host": None, "resolver": {"nameservers": ["ns.example"]}},
            ["'resolver'['nameservers']", "IP addresses", "'ns.example'"],
        ),
        (
            {"transport": "mx", "host": None, "resolver": {"nameservers": []}},
            ["'resolver'['nameservers']", "system"],
        ),
        (
            {"transport": "mx", "host": None, "resolver": {"trust_ad": "yes"}},
            ["'resolver'['trust_ad']", "True or False"],
        ),
        (
            {"transport": "mx", "host": None, "resolver": {"port": "53"}},
            ["'resolver'['port']", "whole number"],
        ),
        (
            {"transport": "mx", "host": None, "resolver": {"timeout": 0}},
            ["'resolver'['timeout']", "above 0"],
        ),
        ({"mx_port": 25}, ["'mx_port'", "transport='mx'"]),
        ({"resolver": {}}, ["'resolver'", "transport='mx'"]),
        ({"mta_sts": True}, ["'mta_sts'", "transport='mx'"]),
        ({"dane": False}, ["'dane'", "transport='mx'"]),
        (
            {"username": "u", "password": "p", "security": "none"},
            ["'username'", "never sent in clear"],
        ),
        (
            {"username": "u", "password": "p", "security": "opportunistic"},
            ["'username'", "verified"],
        ),
    ],
)
def test_contradictions(options, words):
    """Two options that contradict each other are told by name."""
    with pytest.raises(BadOption) as caught:
        mailer(**options)
    assert [word for word in words if word not in str(caught.value)] == []
    assert_said(str(caught.value))


@pytest.mark.parametrize(
    "options",
    [
        {"security": "opportunistic", "verify": False},
        {"security": "none", "allow_plaintext_auth": True},
        {"security": "opportunistic", "allow_plaintext_auth": True},
    ],
)
def test_credentials_that_may_go_there(options):
    """A credential is taken where the site has said that it may be sent so."""
    assert server(username="u", password="p", **options).credential is not None


@pytest.mark.parametrize(
    ("text", "count", "seconds"),
    [("14/s", 14, 1), ("500/m", 500, 60), ("100/h", 100, 3600), ("10000/d", 10000, 86400)],
)
def test_rate(text, count, seconds):
    """A rate is so many contents in any window of that length."""
    found = mailer(rate=text).rate
    assert (found.count, found.seconds) == (count, seconds)


def test_off_is_supported():
    """An option whose machinery is missing may be set to the value that means off."""
    off = {"dsn": False, "suppression": False, "dkim": []}
    assert mailer(transport="smtp", auth="auto", **off) == mailer()


@pytest.mark.parametrize(
    ("key", "bad"),
    [
        *[("host", bad) for bad in ("", [], (), 7, [""], [None], "a b", "a\n", "smtp:25", ["a", "a"], "ä..b", {"a"})],
        *[("port", bad) for bad in (0, -1, 65536, "587", 25.0, True)],
        *[("username", bad) for bad in (1, b"u", "u\0")],
        *[("password", bad) for bad in (1, b"p", "p\0")],
        *[("timeout", bad) for bad in (0, -1, "5", float("nan"), float("inf"), True, 1e12)],
        *[("eod_timeout", bad) for bad in (0, -1, "5")],
        *[("use_tls", bad) for bad in (1, "True", "yes")],
        *[("use_ssl", bad) for bad in (0, "")],
        *[("ssl_keyfile", bad) for bad in ("/nowhere.pem", 1, "", "a\0b")],
        *[("ssl_certfile", bad) for bad in ("/nowhere.pem", "/")],
        *[("ca_file", bad) for bad in ("/nowhere.pem", [])],
        *[("fail_silently", bad) for bad in (1, "no")],
        *[("mode", bad) for bad in ("later", "Queue", 1, ["queue"])],
        *[("transport", bad) for bad in ("lmtp", 1)],
        *[("security", bad) for bad in ("tls", "ssl", True, 465)],
        *[("verify", bad) for bad in (0, "False")],
        *[("auth", bad) for bad in ("", [], "NTLM", ["PLAIN", 5], 5, {"PLAIN"})],
        *[("oauth_token", bad) for bad in (len, "", "token", "a..b", "a.b()", "a.b c", "ya29." + "x" * 100)],
        *[("allow_plaintext_auth", bad) for bad in (1,)],
        *[("helo", bad) for bad in ("", "a b", 1, "a\n", "x" * 256, "ä..b")],
        *[("source_address", bad) for bad in ("localhost", "", 1, ("192.0.2.1", 0))],
        *[("pipelining", bad) for bad in (1,)],
        *[("chunking", bad) for bad in (1,)],
        *[("chunking_window", bad) for bad in (0, -1, "1", True)],
        *[("resolver", bad) for bad in ("192.0.2.1",)],
        *[("mx_port", bad) for bad in (0, "25")],
        *[("mta_sts", bad) for bad in ("yes",)],
        *[("dane", bad) for bad in ("yes",)],
        *[("suppression", bad) for bad in (1,)],
        *[("max_connections", bad) for bad in (0, -1, True, "4", 2.0)],
        *[("messages_per_connection", bad) for bad in (0, "100")],
        *[("connection_max_age", bad) for bad in (0, -5, "300")],
        *[("idle_timeout", bad) for bad in (-1, "10", True)],
        *[("rate", bad) for bad in ("0/s", "-1/s", "14", "14/w", "/s", "1.5/s", 14, "14 /s", "007/s")],
        *[("retry", bad) for bad in ("fast", [60], {"schedule": []}, {"schedule": [0]}, {"schedule": [60, -1]})],
        *[("retry", bad) for bad in ({"schedule": 60}, {"max_age": 0}, {"steps": [1]}, {"schedule": ["60"]})],
        *[("on_unknown", bad) for bad in ("drop", True)],
        *[("dkim", bad) for bad in ({}, ["d"], [{"domian": "d"}])],
        *[("dsn", bad) for bad in ("FAILURE",)],
        *[("redirect_to", bad) for bad in ("", [], "nobody@", ["a@b.c", "x y@z"], 1, [1], {"a@b.c"})],
        *[("transcript", bad) for bad in (True, "sometimes")],
    ],
)  # fmt: skip
def test_bad_values(key, bad):
    """A value of the wrong type or out of range is refused, and the key is named."""
    with pytest.raises(BadOption, match=key) as caught:
        mailer(**{key: bad})
    assert_said(str(caught.value))


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("usernam", "username"),
        ("redirectto", "redirect_to"),
        ("HOST", "host"),
        ("ssl_cafile", "ca_file"),
    ],
)
def test_unknown_key(key, meant):
    """An unknown key is refused with the nearest known one."""
    with pytest.raises(BadOption, match=rf"Unknown option '{key}'.*\bDid you mean"):
        mailer(**{key: "x"})
    if key != "ssl_cafile":
        with pytest.raises(BadOption, match=f"Did you mean '{meant}'"):
            mailer(**{key: "x"})


def test_unknown_key_without_a_near_one():
    """Where nothing is near, the known keys are listed all the same."""
    with pytest.raises(BadOption, match=r"Unknown option 'zzzz'\. Known: allow_plaintext_auth, "):
        mailer(zzzz=1)


def test_missing_host():
    """A mailer without a host is told so."""
    with pytest.raises(BadOption, match="'host' must be given"):
        parse("m", {})


def test_labels_are_how_the_user_calls_a_key():
    """An option that comes from another setting is named by that."""
    with pytest.raises(BadOption, match="EMAIL_PORT must be a whole number"):
        parse("m", {"host": "h", "port": "25"}, {"port": "EMAIL_PORT"})


def test_no_secret_is_told():
    """Neither reprs nor errors show a user's secrets."""
    secret = "s3cr3t"
    one = mailer(username="u-" + secret, password=secret)
    assert secret not in repr(one)
    assert secret not in repr(Redacted(password=secret))
    for options in (
        {"password": [secret]},
        {"password": secret + "\0"},
        {"oauth_token": secret},
        {"dkim": [{"private_key": secret}]},
        {"dkim": secret},
        {"dkim": [secret]},
        {"passwrd": secret},
        {"password": secret, "username": "u", "security": "none"},
    ):
        with pytest.raises(BadOption) as caught:
            mailer(**options)
        assert secret not in str(caught.value), options


JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.binary(max_size=4),
    st.lists(st.one_of(st.text(max_size=5), st.integers()), max_size=3),
    st.dictionaries(st.text(max_size=8), st.integers(), max_size=2),
)  # fmt: skip


@settings(deadline=None, max_examples=300)
@given(st.dictionaries(st.sampled_from(KNOWN_KEYS), JUNK, max_size=4))
def test_nothing_but_badoption_comes_out(options):
    """Whatever is configured, it is a mailer or a BadOption."""
    with contextlib.suppress(BadOption):
        assert mailer(**options).hosts
