"""An SMTP client on its own: no Django, no Celery.

The story of one delivery, with the sections of RFC 5321 unless another is named:

1. :class:`Client` (or :class:`.pool.Pool`) opens a :class:`.session.Session`: the
   :mod:`.transport` resolves the host and connects to its first address that answers.
2. The server greets (3.1), and the client says EHLO (3.2). HELO is for servers that do not know
   EHLO, and only where neither TLS nor a login is needed.
3. STARTTLS, where it is wanted (RFC 3207): what was known before is forgotten, and EHLO said
   again. What stands behind the 220 in clear is an attack.
4. AUTH (RFC 4954), where there is a credential: the best mechanism that both sides have. A
   refused credential is refused; there is no walk through the others.
5. An :class:`Envelope` is checked against what the server can do (SIZE, RFC 1870; 8BITMIME, RFC
   6152; SMTPUTF8, RFC 6531), and becomes a group of commands (:mod:`.commands`): MAIL, a RCPT for
   each recipient, DATA. With PIPELINING (RFC 2920) they leave in one piece.
6. :mod:`.parser` makes replies of bytes, and :mod:`.protocol` knows which command each of them
   answers (:mod:`.states` is its table). A 421 ends the session wherever it comes (3.8).
7. 354: the content goes out, dot-stuffed (4.5.2, :mod:`.content`), and right behind it the next
   message's group (RFC 2920 section 3.1). Nobody accepted and 354 all the same: a lone dot.
8. The reply to the final dot decides (4.2.5). Lost before the dot, nothing was delivered; lost
   behind it, nobody knows (RFC 1047), and the outcome is ``unknown``.
9. :mod:`.verdict` judges each reply, and each recipient gets a :class:`Result`. What the clean-up
   (RSET, QUIT, closing) does can change none of them.
10. QUIT (4.1.1.10), or the next message.
"""

from __future__ import annotations

from django_smtpx.smtp.client import Client
from django_smtpx.smtp.envelope import DSN, Envelope, Outcome, Result
from django_smtpx.smtp.errors import (
    AuthenticationError,
    ConnectError,
    DataRefused,
    ProtocolError,
    RecipientsRefused,
    ReplyError,
    ResolveError,
    SenderRefused,
    ServerDisconnected,
    ServerTimeout,
    ServiceUnavailable,
    SMTPError,
    TLSError,
    TLSModeMismatch,
    UnsupportedFeature,
)
from django_smtpx.smtp.reply import Reply

__all__ = [
    "DSN",
    "AuthenticationError",
    "Client",
    "ConnectError",
    "DataRefused",
    "Envelope",
    "Outcome",
    "ProtocolError",
    "RecipientsRefused",
    "Reply",
    "ReplyError",
    "ResolveError",
    "Result",
    "SMTPError",
    "SenderRefused",
    "ServerDisconnected",
    "ServerTimeout",
    "ServiceUnavailable",
    "TLSError",
    "TLSModeMismatch",
    "UnsupportedFeature",
]
