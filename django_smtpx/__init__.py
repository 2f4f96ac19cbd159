"""A Django email backend that queues in the site's own database.

It never loses a mail, never doubles one silently, and never says what it does not know.
"""

__version__ = "0.1.0"
