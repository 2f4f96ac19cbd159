"""The mechanisms that answer, and ask nothing back: PLAIN, LOGIN, CRAM-MD5, EXTERNAL."""

from __future__ import annotations

import hashlib
import hmac
from typing import TYPE_CHECKING

from django_smtpx.smtp.sasl.mechanism import Mechanism, decoded
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.sasl.mechanism import Setting


class Once(Mechanism):
    """One message, which goes with the command, and once more to a server that passed over it."""

    def __init__(self, message: bytes) -> None:
        super().__init__()
        self._message = message
        self._repeated = False

    def initial(self) -> bytes | None:
        """Return the whole message."""
        return self._message

    def respond(self, challenge: str) -> bytes | None:
        """Say it again, once."""
        if self._repeated:
            self.problem = said("The server asks for more than there is to say")
            return None
        self._repeated = True
        return self._message


class Plain(Once):
    """PLAIN (RFC 4616)."""

    name = "PLAIN"

    def __init__(self, setting: Setting) -> None:
        credential = setting.credential
        super().__init__(f"\0{credential.username}\0{credential.password}".encode())


class External(Once):
    """EXTERNAL (RFC 4422 appendix A): the client's certificate has said who it is.

    The message is the identity to act as; empty, the one that goes with the certificate.
    """

    name = "EXTERNAL"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting.credential.username.encode())


class Login(Mechanism):
    """LOGIN (draft-murchison-sasl-login): two prompts, for the name and for the password.

    The prompts are not interpreted: servers word them, and encode them, as they like.
    """

    name = "LOGIN"

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        credential = setting.credential
        self._answers = [credential.password.encode(), credential.username.encode()]

    def respond(self, challenge: str) -> bytes | None:
        """Return the user name, then the password."""
        if not self._answers:
            self.problem = said("The server asks for more than there is to say")
            return None
        return self._answers.pop()


class CramMD5(Mechanism):
    """CRAM-MD5 (RFC 2195): the digest of a challenge, keyed with the password."""

    name = "CRAM-MD5"

    def __init__(self, setting: Setting) -> None:
        super().__init__()
        self._username = setting.credential.username.encode()
        self._key: bytes | None = setting.credential.password.encode()

    def respond(self, challenge: str) -> bytes | None:
        """Return the user name and the digest of the one challenge there is."""
        asked, key = decoded(challenge), self._key
        self._key = None
        if key is None:
            self.problem = said("The server asks for more than there is to say")
        elif not asked:
            self.problem = said("The server's challenge is empty or not base64")
        else:
            digest = hmac.new(key, asked, _md5).hexdigest()
            self.secrets = (digest,)
            return b"%s %s" % (self._username, digest.encode("ascii"))
        return None


def _md5(data: bytes = b"") -> hashlib._Hash:
    return hashlib.md5(data, usedforsecurity=False)
