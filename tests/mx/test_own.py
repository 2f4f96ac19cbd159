"""Addresses of this machine."""

from __future__ import annotations

import socket

import pytest

from django_smtpx.mx import own
from django_smtpx.mx.own import is_own_address, public_address_towards


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1", "::ffff:127.0.0.1"])
def test_a_loopback_address_is_ours_where_mail_is_expected(address):
    """On port 25 it can only be a mistake or a trick; on another one it was chosen."""
    assert is_own_address(address, 25)
    assert not is_own_address(address, 2525)


@pytest.mark.parametrize("address", ["0.0.0.0", "::"])
def test_the_unspecified_address_is_this_machine(address):
    """A connection to it ends here, whatever the port."""
    assert is_own_address(address, 25)
    assert is_own_address(address, 2525)


@pytest.mark.parametrize("address", ["192.0.2.1", "2001:db8::1", "224.0.0.1"])
def test_addresses_of_others(address):
    """What no interface has is somebody else's."""
    assert not is_own_address(address, 25)


def test_an_address_of_an_interface(monkeypatch):
    """What can be bound is ours, unless the system lets anybody bind everything."""
    known = {"203.0.113.7"}

    class Socket:
        def __init__(self, family, kind):
            assert (family, kind) == (socket.AF_INET, socket.SOCK_DGRAM)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def bind(self, address):
            if address[0] not in known:
                raise OSError("Cannot assign requested address")

    monkeypatch.setattr(own.socket, "socket", Socket)
    assert is_own_address("203.0.113.7", 25)
    assert not is_own_address("203.0.113.8", 25)
    known.add("192.0.2.1")
    assert not is_own_address("203.0.113.7", 25)


def test_the_address_that_others_see(monkeypatch):
    """It is the one that the system would connect from, if it means something elsewhere."""
    assert public_address_towards("127.0.0.1") == ""
    routes = {"192.0.2.9": "8.8.4.4", "2001:db8::9": "2606:4700::1", "192.0.2.10": "10.0.0.7"}

    class Socket:
        def __init__(self, family, kind):
            self.family = family

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def connect(self, address):
            assert (":" in address[0]) is (self.family == socket.AF_INET6)
            if address[0] not in routes:
                raise OSError("Network is unreachable")
            self.own = routes[address[0]]

        def getsockname(self):
            return (self.own, 40_000)

    monkeypatch.setattr(own.socket, "socket", Socket)
    assert public_address_towards("192.0.2.9") == "8.8.4.4"
    assert public_address_towards("2001:db8::9") == "2606:4700::1"
    assert public_address_towards("192.0.2.10") == ""
    assert public_address_towards("192.0.2.11") == ""
