from __future__ import annotations

from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from django_smtpx.smtp.splitting import RECIPIENTS_MAX, split

TO = ["1@a", "2@b", "3@A", "4@c", "5@c", "6@a"]


@pytest.mark.parametrize(
    ("limits", "groups"),
    [
        ((6, None), [[0, 1, 2, 3, 4, 5]]),
        ((4, None), [[0, 1, 2, 3], [4, 5]]),
        ((1, None), [[0], [1], [2], [3], [4], [5]]),
        ((6, 2), [[0, 1, 2], [3, 4, 5]]),
        ((2, 2), [[0, 1], [2, 3], [4, 5]]),
        ((6, 1), [[0], [1], [2], [3, 4], [5]]),
    ],
)
def test_groups(limits, groups):
    """So many recipients, of so many domains, go in one transaction; domains are case-blind."""
    assert split(TO, *limits) == groups


def test_default():
    """Without a limit a transaction has a thousand recipients at most."""
    groups = split(["a@b"] * (RECIPIENTS_MAX + 1))
    assert [len(group) for group in groups] == [RECIPIENTS_MAX, 1]


@given(
    st.lists(st.sampled_from(TO), min_size=1, max_size=40),
    st.integers(1, 10),
    st.none() | st.integers(1, 4),
)
def test_everybody_once(recipients, most, domains):
    """Nobody is left out, doubled or moved, and no group is larger than allowed."""
    groups = split(recipients, most, domains)
    assert list(chain.from_iterable(groups)) == list(range(len(recipients)))
    for group in groups:
        assert 1 <= len(group) <= most
        names = {recipients[place].rpartition("@")[2].lower() for place in group}
        assert domains is None or len(names) <= domains
