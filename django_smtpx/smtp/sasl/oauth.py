"""Bearer tokens: OAUTHBEARER (RFC 7628) and XOAUTH2, its forerunner."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from django_smtpx.smtp.sasl.mechanism import Mechanism, Remedy, Unusable, decoded, printable
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.sasl.mechanism import Setting

AUTHENTICATION_FAILED = 535
_SAID_LIMIT = 200


class _Bearer(Mechanism):
    """One message; a refusal comes as a challenge, to be acknowledged, before the reply."""

    acknowledgement = b""

    def __init__(self, message: str, token: str) -> None:
        super().__init__()
        self.secrets = (token,)
        self._message = message.encode()
        self._repeated = False
        self._refused = False

    def initial(self) -> bytes | None:
        """Return the whole message."""
        return self._message

    def respond(self, challenge: str) -> bytes | None:
        """Acknowledge the server's error; say the message again to a server that passed over it."""
        if not (challenge.strip() or self._repeated or self._refused):
            self._repeated = True
            return self._message
        given = decoded(challenge)
        if given is None or self._refused:
            self.problem = self.problem or said("The server's challenge is not base64")
            return None
        self._refused = True
        self.problem = said(
            "The server refused the bearer token: %(status)s", status=_status(given)
        )
        return self.acknowledgement

    def remedy(self, reply: Reply) -> Remedy | None:
        """Return that another token may do."""
        if self._refused or reply.code == AUTHENTICATION_FAILED:
            return Remedy.FRESH_TOKEN
        return None


class OAuthBearer(_Bearer):
    """OAUTHBEARER (RFC 7628): the error is acknowledged by one %x01 (section 3.2.3)."""

    name = "OAUTHBEARER"
    acknowledgement = b"\x01"

    def __init__(self, setting: Setting) -> None:
        user = _name(setting).replace("=", "=3D").replace(",", "=2C")
        super().__init__(
            f"n,a={user},\x01host={setting.host}\x01port={setting.port}"
            f"\x01auth=Bearer {setting.token}\x01\x01",
            setting.token,
        )


class XOAuth2(_Bearer):
    """XOAUTH2, as Google and Microsoft document it: the error is acknowledged by an empty line."""

    name = "XOAUTH2"

    def __init__(self, setting: Setting) -> None:
        super().__init__(
            f"user={_name(setting)}\x01auth=Bearer {setting.token}\x01\x01", setting.token
        )


def _name(setting: Setting) -> str:
    name = setting.credential.username
    if "\x01" in name or "\0" in name:
        raise Unusable(said("The username holds a control character, which no token goes with"))
    return name


def _status(given: bytes) -> str:
    """Return what the server's error says (RFC 7628 section 3.2.2), as far as it can be read."""
    try:
        error = json.loads(given)
    except (ValueError, RecursionError):
        error = None
    status = error.get("status") if isinstance(error, dict) else None
    text = str(status) if status else given.decode("utf-8", "backslashreplace")
    return printable(text, _SAID_LIMIT)
