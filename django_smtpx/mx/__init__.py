"""From a recipient's domain to the servers that take its mail, and the TLS that each must show.

What the DNS says of mail that a domain sends, in turn, is in :mod:`.sending`. Pure Python: no
Django here, and nothing is kept but what a caller hands in.
"""

from __future__ import annotations
