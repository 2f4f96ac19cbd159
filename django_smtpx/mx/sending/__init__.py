"""What the DNS says of mail that a domain sends: who may send it, by which keys it is known.

It is read as receivers read it, so that one who sends can see what they will find: SPF (RFC 7208,
:mod:`.spf`), the keys of DKIM (RFC 6376, :mod:`.dkim`), DMARC (RFC 9989, :mod:`.dmarc`), and the
names of addresses (:mod:`.reverse`). Each asks a resolver that is handed in, and keeps nothing.
"""

from __future__ import annotations
