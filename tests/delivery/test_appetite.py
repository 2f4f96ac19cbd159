"""How much is claimed at once, and when another drain is called."""

from __future__ import annotations

import pytest

from django_smtpx.delivery.appetite import Appetite


@pytest.mark.parametrize(
    ("room", "most"), [(0, 100), (3, 100), (19, 100), (20, 20), (50, 50), (100, 100), (400, 100)]
)
def test_what_the_session_has_room_for_is_claimed(room, most):
    """Unless that is nothing, or hardly worth a claim of its own."""
    appetite = Appetite()
    appetite.digest(deliveries=7, jobs=7)
    assert appetite.most(100, room) == most


def test_messages_of_many_recipients_are_not_cut_to_fit():
    """Room is counted in messages; so a whole claim is made where these are not the same."""
    appetite = Appetite()
    assert appetite.most(100, 50) == 100
    appetite.digest(deliveries=100, jobs=1)
    assert appetite.most(100, 99) == 100


def test_help_is_called_for_each_hundred_without_an_end():
    """However small the claims are; one that comes back with less than it asked for is the end."""
    appetite = Appetite()
    calls = [appetite.calls_for_help(claimed, 50, 100) for claimed in (50, 50, 50, 50, 20, 50, 50)]
    assert calls == [False, True, False, True, False, False, True]
    assert not appetite.calls_for_help(1, 1, 100)
