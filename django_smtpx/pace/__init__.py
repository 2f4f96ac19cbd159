"""The arithmetic of the pace of sending: no clock, no row, no setting.

A :class:`Window` says how many contents a :class:`Rate` lets go now.
"""

from django_smtpx.pace.window import Grant, Rate, Window

__all__ = ["Grant", "Rate", "Window"]
