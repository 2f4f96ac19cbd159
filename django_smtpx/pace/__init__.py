"""The arithmetic of the pace of sending: no clock, no row, no setting.

Four things hold mail back, and each is a frozen value that a row keeps. A
:class:`Window` says how many contents a :class:`Rate` lets go now. A
:class:`Slowdown` is the rate of a destination that asked for less, and how it
comes back. A :class:`Concurrency` is how many connections a destination has
shown that it bears, and :func:`caps_for` how many its provider says it does.
"""

from django_smtpx.pace.caps import Caps, caps_for
from django_smtpx.pace.concurrency import Concurrency
from django_smtpx.pace.slowdown import Slowdown
from django_smtpx.pace.window import Grant, Rate, Window

__all__ = ["Caps", "Concurrency", "Grant", "Rate", "Slowdown", "Window", "caps_for"]
