"""A Django email backend that queues in the site's own database and never loses, doubles or misreports a mail."""

__version__ = "0.1.0"
