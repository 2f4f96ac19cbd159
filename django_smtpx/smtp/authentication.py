"""The login within a dialogue: AUTH, its challenges, and what becomes of it (RFC 4954)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from django_smtpx.smtp import commands, sasl, verdict
from django_smtpx.smtp.dialogue import Dialogue
from django_smtpx.smtp.errors import AuthenticationError, SMTPError
from django_smtpx.smtp.events import Opened, TokenWanted
from django_smtpx.smtp.options import verifies
from django_smtpx.smtp.redaction import REDACTED
from django_smtpx.smtp.states import State
from django_smtpx.smtp.wording import Said, also, because, joined, said

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from django_smtpx.smtp.options import Credential, Options
    from django_smtpx.smtp.reply import Reply
    from django_smtpx.smtp.transaction import Transaction

_UNRECOGNIZED = 504
_PLAINTEXT = frozenset({"PLAIN", "LOGIN"})


class Authentication(Dialogue):
    """The steps from a server's offer of AUTH to a session that is logged in.

    ``channel_bindings`` is the caller's to set: it returns those of the TLS
    connection. ``mechanism_name`` is the mechanism used last. ``remedy`` says,
    after a refusal, what may be tried on a fresh connection.
    """

    def __init__(self, options: Options) -> None:
        super().__init__(options)
        self._mechanism: sasl.Mechanism | None = None
        self._withheld: bytes | None = None
        self._answered = False
        self._cancelled = False
        self._unrecognized: dict[str, AuthenticationError] = {}
        self._handlers["AUTH"] = self._on_auth
        self.channel_bindings: Callable[[], Mapping[str, bytes]] = dict
        self.mechanism_name = ""
        self.remedy: sasl.Remedy | None = None

    def use_token(self, token: str, *refused: str) -> None:
        """Go on with the bearer token that was wanted.

        ``refused`` are those before it, which nobody shall read in what this server says, either.
        """
        self._redactor.learn((token, *refused))
        self._begin(token)

    def refuse_token(self, message: str) -> None:
        """End the opening, because there is no token; ``message`` holds no secret."""
        self._refuse_session(
            AuthenticationError(message, phase="auth", command="AUTH", **verdict.AUTH_STUCK.fields)
        )

    def _start_auth(self) -> None:
        """Choose a mechanism, and say AUTH with it."""
        name = sasl.choose(
            self.capabilities.auth,
            self._options.auth,
            self._credential,
            bindings=self.channel_bindings,
            passed_over=self._unrecognized,
        )
        if name is None:
            # Refused for their names, or never offered.
            error = next(iter(self._unrecognized.values()), None)
            self._refuse_session(error or self._nothing_usable())
            return
        self.mechanism_name = name
        if name in sasl.BEARER:
            self._events.append(TokenWanted())
        else:
            self._begin()

    def _begin(self, token: str = "") -> None:
        name = self.mechanism_name
        try:
            mechanism = self._mechanism = sasl.start(name, self._setting(name, token))
            line = commands.auth(name, initial := mechanism.initial())
        except (sasl.Unusable, UnicodeEncodeError) as error:
            reason = said(
                "%(mechanism)s cannot carry this username and password: they are no Unicode text",
                mechanism=name,
            )
            self._refuse_auth(str(error) if isinstance(error, sasl.Unusable) else reason)
            return
        shown = f"AUTH {name}"
        if initial is not None and len(line) > commands.INITIAL_RESPONSE_LIMIT:
            line, self._withheld = commands.auth(name), initial
        elif initial is not None:
            shown += f" {REDACTED}"
        self._send("AUTH", line, shown=shown)

    def _setting(self, name: str, token: str) -> sasl.Setting:
        options = self._options
        plus = f"{name}{sasl.PLUS}"
        return sasl.Setting(
            credential=self._credential,
            host=options.host,
            port=options.port,
            token=token,
            bindings=self.channel_bindings() if name in sasl.SCRAM else {},
            downgrade_flag=(
                plus not in self.capabilities.auth
                and plus in sasl.usable(options.auth, self._credential)
            ),
        )

    # -- replies ---------------------------------------------------------------------------------

    def _on_auth(self, reply: Reply, _: Transaction | None) -> None:
        mechanism, heard = self._mechanism, self._heard
        assert mechanism is not None
        assert heard is not None
        if self._cancelled and reply.severity in (2, 3):
            self.fail(self._out_of_step("AUTH", reply, None))
        elif self.state is State.AUTH:
            self._answer(mechanism, heard.lines[0])
        elif reply.severity != 2:
            self._refused_by(mechanism, reply)
        elif mechanism.believes(heard.text):
            self.authenticated = True
            self._events.append(Opened())
        else:
            self._refuse_session(self._auth_error(mechanism, reply))

    def _answer(self, mechanism: sasl.Mechanism, challenge: str) -> None:
        self._answered = True
        if self._withheld is not None:
            response, self._withheld = self._withheld, None
        else:
            given = mechanism.respond(challenge)
            self._redactor.learn(mechanism.secrets)
            if given is None:
                self._cancelled = True
                self._send("AUTH", commands.CANCEL)
                return
            response = given
        self._send("AUTH", commands.auth_response(response), shown=REDACTED)

    def _refused_by(self, mechanism: sasl.Mechanism, reply: Reply) -> None:
        error = self._auth_error(mechanism, reply)
        remedy = mechanism.remedy(reply) if reply.severity == 5 else None
        if remedy is not None and self._may(remedy):
            self.remedy = remedy
        if reply.code == _UNRECOGNIZED and remedy is None and not self._answered:
            # It knows no such mechanism, whatever EHLO said: no credential was refused.
            self._unrecognized[mechanism.name] = error
            self._start_auth()
        else:
            # No walk through the other mechanisms: a refused credential is refused.
            self._refuse_session(error)

    def _may(self, remedy: sasl.Remedy) -> bool:
        """Whether another try may give up what the refused one had asked for."""
        if remedy is sasl.Remedy.FRESH_TOKEN:
            return True
        allowed = sasl.usable(self._options.auth, self._credential)
        unbound = self.mechanism_name.removesuffix(sasl.PLUS)
        # Where nothing else says who the server is, the binding is not given up; but whoever may
        # have the password itself gains nothing by it.
        safe = verifies(self._options) or not _PLAINTEXT.isdisjoint(allowed)
        return safe and unbound in allowed and unbound in self.capabilities.auth

    # -- errors ----------------------------------------------------------------------------------

    @property
    def _credential(self) -> Credential:
        credential = self._options.credential
        assert credential is not None
        return credential

    def _auth_error(self, mechanism: sasl.Mechanism, reply: Reply) -> AuthenticationError:
        """Return the error that ``reply`` is, with what the mechanism has to say of it."""
        error = self._refused("AUTH", reply)
        assert isinstance(error, AuthenticationError)
        if mechanism.problem:
            problem = self._redacted(mechanism.problem)
            error.message = joined("", (error.message, " (", problem, ")"))
        judged = None
        if mechanism.impostor:
            judged = verdict.UNUSABLE_AUTH
        elif self._cancelled or mechanism.remedy(reply) is sasl.Remedy.WITHOUT_BINDING:
            # The credential itself was not refused.
            judged = verdict.AUTH_STUCK
        if judged is not None:
            judged.put_on(error)
        return error

    def _redacted(self, problem: str) -> str:
        """Return what a mechanism says without the secrets in what a server gave it."""
        if not isinstance(problem, Said):
            return self._redactor.text(problem)
        hidden = {name: self._redactor.text(str(one)) for name, one in problem.values.items()}
        return Said(problem.template, hidden)

    def _nothing_usable(self) -> AuthenticationError:
        offered, allowed = self.capabilities.auth, self._options.auth
        here = sasl.usable(allowed, self._credential)
        usable = " ".join(here) or said("nothing")
        message = said(
            "Credentials are configured, and the server does not offer AUTH (usable here: "
            "%(usable)s)",
            usable=usable,
        )
        if offered:
            message = said(
                "Credentials are configured, and the server offers only %(offered)s (usable here: "
                "%(usable)s)",
                offered=" ".join(offered),
                usable=usable,
            )
        if not (self._credential.password or self._credential.token or here):
            message = because(message, said("there is no password"))
        if sasl.needs_scramp(offered, allowed, self._credential):
            message = also((message, said("for SCRAM: %(install)s", install=sasl.INSTALL)))
        return self._unusable_auth(message)

    def _unusable_auth(self, message: str) -> AuthenticationError:
        return AuthenticationError(
            message, phase="auth", command="AUTH", **verdict.UNUSABLE_AUTH.fields
        )

    def _refuse_auth(self, message: str) -> None:
        self._refuse_session(self._unusable_auth(message))

    def _refuse_session(self, error: SMTPError) -> None:
        """End the opening; the server is still in step and may be told QUIT."""
        state = self.state
        self.fail(error)
        self.state = state
