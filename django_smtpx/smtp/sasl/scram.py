"""SCRAM (RFC 5802, RFC 7677), with and without channel binding; scramp does the sums.

Neither side shows the password, and the server has to show that it knows it, too: until then
nothing that it says is taken for a login.
"""

from __future__ import annotations

import base64
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp.sasl.mechanism import Mechanism, Remedy, Unusable, decoded, printable
from django_smtpx.smtp.wording import said

if TYPE_CHECKING:
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.sasl.mechanism import Setting

MIN_ITERATIONS = 4_096
"""Fewer make it too cheap to guess the password (RFC 7677 section 4)."""
MAX_ITERATIONS = 1_000_000
"""More would let a server keep us busy for as long as it likes (RFC 5802 section 9)."""
INSTALL = "pip install 'django-smtpx[scram]'"
PLUS = "-PLUS"

_BINDING_ERRORS = frozenset(
    {
        "channel-bindings-dont-match",
        "channel-binding-not-supported",
        "unsupported-channel-binding-type",
    }
)
_ABOUT_BINDING = re.compile(r"channel[- ]?binding", re.IGNORECASE)
_PROBLEMS = (ArithmeticError, AssertionError, LookupError, TypeError, ValueError)


def scram_installed() -> bool:
    """Whether scramp is there; it is imported when a login first needs it."""
    return find_spec("scramp") is not None


class Scram(Mechanism):
    """One exchange; ``name`` chooses the hash and whether the channel is bound."""

    def __init__(self, name: str, setting: Setting) -> None:
        from scramp import ScramClient, ScramException

        super().__init__()
        self.name = name
        self._errors = (ScramException, *_PROBLEMS)
        self._client: Any = None
        try:
            self._client = ScramClient(
                [name],
                setting.credential.username,
                setting.credential.password,
                channel_binding=_binding(name, setting),
            )
            self._first = str(self._client.get_client_first())
        except self._errors:
            # Out of the block below, so that what scramp was given is not dragged along.
            self._first = ""
        if not self._first:
            raise Unusable(
                said(
                    "%(name)s cannot carry this username and password (they are not what "
                    "SASLprep, RFC 4013, allows): name PLAIN or LOGIN in auth",
                    name=name,
                )
            )
        self._repeated = False
        self._proved = False
        self._verified = False
        self._error = ""

    def initial(self) -> bytes | None:
        """Return the name and our nonce."""
        return self._first.encode()

    def respond(self, challenge: str) -> bytes | None:
        """Return the proof; then, to the server's own, nothing more."""
        if not (challenge.strip() or self._repeated or self._proved):
            self._repeated = True
            return self.initial()
        given = decoded(challenge)
        text = None if given is None else _utf8(given)
        if self._verified or self._error or self.problem:
            self.problem = self.problem or said("The server asks for more than there is to say")
        elif not text:
            self.problem = said("The server's challenge is empty or not base64")
        elif text.startswith("e="):
            # A server may send its reason so; the reply behind it has the code.
            self._error = text[2:]
            self.problem = said("The server ended SCRAM: %(error)s", error=printable(self._error))
            return b""
        elif not self._proved:
            return self._prove(text)
        elif self._verify(text):
            return b""
        return None

    def believes(self, text: str) -> bool:
        """Whether the server has proved itself; it may have put its proof behind the code."""
        for word in () if self._verified or not self._proved else text.split():
            given = decoded(word)
            if given is not None and given.startswith(b"v=") and self._verify(_utf8(given) or ""):
                break
        if not self._verified:
            self.impostor = True
            self.problem = said(
                "The server has not shown that it knows the password (no valid SCRAM signature), "
                "so it is not believed: somebody may be in between"
            )
        return self._verified

    def remedy(self, reply: Reply) -> Remedy | None:
        """Return that the credential itself has not been refused, where that is so."""
        if not self.name.endswith(PLUS):
            return None
        about_binding = self._error in _BINDING_ERRORS or bool(_ABOUT_BINDING.search(reply.text))
        gave_up = bool(self.problem) and not self._error
        if about_binding or not (self._proved or gave_up):
            return Remedy.WITHOUT_BINDING
        return None

    def _prove(self, text: str) -> bytes | None:
        self.problem = _objection(text, str(self._client.c_nonce))
        if self.problem:
            return None
        try:
            self._client.set_server_first(text)
            final = str(self._client.get_client_final())
        except self._errors:
            self.problem = said("The server's first SCRAM message cannot be worked with")
            return None
        signature = self._client.server_signature
        if isinstance(signature, bytes):
            signature = base64.b64encode(signature).decode("ascii")
        # Together with the challenge each of them lets one try passwords at leisure.
        self.secrets = (final.rpartition("p=")[2], signature)
        self._proved = True
        return final.encode()

    def _verify(self, text: str) -> bool:
        try:
            self._client.set_server_final(text)
        except self._errors:
            self.impostor = True
            self.problem = said(
                "The server's SCRAM signature is wrong: it does not know the password, and "
                "somebody may be in between"
            )
            return False
        self._verified = True
        return True


def _binding(name: str, setting: Setting) -> tuple[str, bytes] | None:
    """Return what scramp makes the gs2 flag of: "p" with -PLUS, "y" without, "n" for None."""
    if not (name.endswith(PLUS) or setting.downgrade_flag):
        return None
    return next(iter(setting.bindings.items()), None)


def _objection(text: str, nonce: str) -> str:
    """Return what is wrong with the server's first message, or "" (RFC 5802 section 7)."""
    fields = [part.partition("=") for part in text.split(",")]
    keys = [key for key, _, _ in fields]
    if keys[:3] != ["r", "s", "i"] or len(set(keys)) != len(keys):
        return said("The server's first SCRAM message is malformed")
    values = {key: value for key, _, value in fields}
    if not values["r"].startswith(nonce) or len(values["r"]) == len(nonce):
        return said("The server's SCRAM nonce is not an answer to ours: somebody may be in between")
    if re.fullmatch(r"[1-9][0-9]{0,11}", values["i"]) is None:
        return said("The server's SCRAM iteration count is no number")
    if not MIN_ITERATIONS <= int(values["i"]) <= MAX_ITERATIONS:
        return said(
            "The server asks for %(count)s SCRAM iterations, and %(least)s to %(most)s are allowed",
            count=values["i"],
            least=MIN_ITERATIONS,
            most=MAX_ITERATIONS,
        )
    return ""


def _utf8(given: bytes) -> str | None:
    try:
        return given.decode()
    except UnicodeDecodeError:
        return None
