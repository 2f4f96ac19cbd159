"""The rows: fields, choices and indexes; ``ledger`` writes them, and ``pacing`` its own."""

from django_smtpx.models.choices import Action, Category, Phase
from django_smtpx.models.live import RateWindow, RefusedCredential, Route, Slot, Turn
from django_smtpx.models.mail import Attempt, Content, Delivery, Message
from django_smtpx.models.suppression import Suppression

__all__ = [
    "Action",
    "Attempt",
    "Category",
    "Content",
    "Delivery",
    "Message",
    "Phase",
    "RateWindow",
    "RefusedCredential",
    "Route",
    "Slot",
    "Suppression",
    "Turn",
]
