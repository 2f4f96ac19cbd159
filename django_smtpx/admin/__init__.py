"""The log in Django's admin: messages, their deliveries with every attempt, and what rests.

What happened cannot be added, changed or deleted here; who is on the suppression
list is people's to say, and so is what is sent again or resumed. The first page
says whether mail is flowing, and while a mailer is held every page says so. No GET
writes. Who may see messages but not deliveries sees how many there are and where
they stand, but neither recipients nor attempts. A mail's content is for those
alone who have the permission to read it, and each look at it is on record.
"""

from django_smtpx.admin.deliveries import DeliveryAdmin
from django_smtpx.admin.messages import MessageAdmin
from django_smtpx.admin.policies import StoredPolicyAdmin
from django_smtpx.admin.routes import RefusedCredentialAdmin, RouteAdmin
from django_smtpx.admin.suppressions import SuppressionAdmin
from django_smtpx.admin.webhooks import WebhookEndpointAdmin, WebhookEventAdmin

__all__ = [
    "DeliveryAdmin",
    "MessageAdmin",
    "RefusedCredentialAdmin",
    "RouteAdmin",
    "StoredPolicyAdmin",
    "SuppressionAdmin",
    "WebhookEndpointAdmin",
    "WebhookEventAdmin",
]
