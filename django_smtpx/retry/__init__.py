"""When, if ever, to try again, and why then: pure calls that return a value.

Nothing here reads a clock, a setting or a row; ``now`` and ``rand`` are arguments.
``deciding`` says when, ``hints`` reads what servers ask for, and ``explaining``
says afterwards why.
"""

from django_smtpx.retry.deciding import (
    GREYLIST_STEPS,
    MAX_UNKNOWNS,
    Cause,
    Decision,
    History,
    Wait,
    carried_out,
    decide,
    decide_now,
    is_over,
    parked,
    wait_for,
)
from django_smtpx.retry.explaining import Asked, Explanation, Why, explain
from django_smtpx.retry.hints import greylisting_hint

__all__ = [
    "GREYLIST_STEPS",
    "MAX_UNKNOWNS",
    "Asked",
    "Cause",
    "Decision",
    "Explanation",
    "History",
    "Wait",
    "Why",
    "carried_out",
    "decide",
    "decide_now",
    "explain",
    "greylisting_hint",
    "is_over",
    "parked",
    "wait_for",
]
