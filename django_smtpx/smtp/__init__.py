"""An SMTP client on its own: no Django, no Celery.

The story of one delivery, with the sections of RFC 5321 unless another is named:

1. :class:`Client` (or :class:`.pool.Pool`, for many threads) opens a :class:`.session.Session` on
   a :class:`.connection.Connection`. The :mod:`.transport` resolves the host and connects to its
   first address that answers; :mod:`.patience` bounds the opening as a whole.
2. The server greets (3.1); with implicit TLS (RFC 8314) :mod:`.tls` shakes hands first. Where it
   says nothing, a :mod:`.probe` finds out whether it speaks the other :mod:`.mode` of TLS.
3. EHLO (3.2), whose answer becomes :mod:`.capabilities`. HELO is for servers that do not know
   EHLO, and only where neither TLS nor a login is needed.
4. STARTTLS, where it is wanted (RFC 3207): what was known before is forgotten, and EHLO said
   again. What stands behind the 220 in clear is an attack.
5. AUTH (RFC 4954), where there is a credential: the best mechanism of :mod:`.sasl` that both sides
   have, bound to the TLS connection where both can (:mod:`.bindings`), with a bearer token of
   :mod:`.tokens` where there is no password. A refused credential is refused; there is no walk
   through the others. Only a binding that was not understood, or a token that was too old, is
   worth a second try, on a fresh connection (:mod:`.login`).
6. An :class:`Envelope` is cut into transactions that the server's LIMITS (RFC 9422) allow
   (:mod:`.splitting`), and each is checked against what the server can do (SIZE, 8BITMIME,
   SMTPUTF8, REQUIRETLS). It becomes a :class:`.transaction.Transaction`, a group of
   :mod:`.commands`: MAIL, a RCPT for each recipient, both with what its :class:`DSN` asks for, and
   DATA. With PIPELINING (RFC 2920) they leave in one piece.
7. The :mod:`.pump` moves the bytes. :mod:`.parser` makes replies of them, and :mod:`.protocol`
   knows which command each answers (:mod:`.states` is its table). A 421 ends the session wherever
   it comes (3.8). Who answers out of step loses our :mod:`.trust`: neither PIPELINING nor CHUNKING
   from then on.
8. 354: the :mod:`.content` goes out, dot-stuffed (4.5.2), and right behind it the next message's
   group (RFC 2920 section 3.1); a large one goes block by block, and alone. Nobody accepted and 354
   all the same: a lone dot. With CHUNKING (RFC 3030) it goes by BDAT, without a go-ahead, and up
   to ``chunking_window`` contents are under way at once.
9. The reply to the content decides (4.2.5). Lost before its end, nothing was delivered; lost
   behind it, nobody knows (RFC 1047), and the outcome is ``unknown``.
10. :mod:`.verdict` judges each refusal by the first of the :mod:`.rules` that fits,
    :mod:`.failures` makes an :class:`SMTPError` of what went wrong, and each recipient gets a
    :class:`Result`. What the clean-up (RSET, QUIT, closing) does can change none of them.
11. QUIT (4.1.1.10), or the next message. No connection crosses a fork: the child drops its copy
    without a word.

On the way, :mod:`.redaction` takes the secrets out of all that is kept, and a :mod:`.watch` lets
the caller act in long waits and hold a content back at the last moment.
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
from django_smtpx.smtp.rules import Rule

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
    "Rule",
    "SMTPError",
    "SenderRefused",
    "ServerDisconnected",
    "ServerTimeout",
    "ServiceUnavailable",
    "TLSError",
    "TLSModeMismatch",
    "UnsupportedFeature",
]
