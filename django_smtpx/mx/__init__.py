"""From a recipient's domain to the servers that take its mail, and the TLS that each must show.

Pure Python: no Django here, and nothing is kept but what a caller hands in.
"""

from __future__ import annotations
