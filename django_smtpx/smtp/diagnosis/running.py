"""One host, from its addresses to the recipient, over one connection and without any content."""

from __future__ import annotations

import math
import threading
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from django_smtpx.smtp import verdict
from django_smtpx.smtp.connection import Connection
from django_smtpx.smtp.diagnosis import siblings
from django_smtpx.smtp.diagnosis.bounds import Bounded
from django_smtpx.smtp.diagnosis.causes import Case, explain
from django_smtpx.smtp.diagnosis.heard import Heard, read
from django_smtpx.smtp.diagnosis.meanings import GREYLISTED
from django_smtpx.smtp.diagnosis.values import STEPS, Step
from django_smtpx.smtp.errors import ResolveError, SMTPError
from django_smtpx.smtp.options import Security, verifies
from django_smtpx.smtp.rehearsal import rehearse
from django_smtpx.smtp.session import Session
from django_smtpx.smtp.transcript import render
from django_smtpx.smtp.transport import addresses_of
from django_smtpx.smtp.wording import because, said

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.smtp.diagnosis.siblings import Sibling
    from django_smtpx.smtp.envelope import Envelope
    from django_smtpx.smtp.options import Credential, Options
    from django_smtpx.smtp.reply import Reply

DNS_TIMEOUT = 3.0
"""Seconds that the system's resolver may take."""
LIMIT = 6.0
"""Seconds for the connection, from its beginning to the answer about the recipient."""


@dataclass(frozen=True, slots=True)
class Trial:
    """What is asked of a host: ``sender`` and ``recipient`` are rehearsed where there is one;
    ``envelope``, if any, is sent. ``asks_others`` lets other ports of a host be looked at.
    """

    sender: str = ""
    recipient: str = ""
    envelope: Envelope | None = None
    asks_others: bool = True


def configuration(options: Options) -> Step:
    """Return the first step: how the host will be spoken to."""
    login = options.credential
    evidence = {
        "security": str(options.security),
        "login": _login(login),
        "verify": verifies(options),
    }
    return Step("configuration", True, evidence)


def _login(credential: Credential | None) -> str:
    if credential is None:
        return said("none")
    return said("token") if credential.token is not None else said("password")


def try_host(options: Options, trial: Trial) -> tuple[Step, ...]:
    """Return the steps of one host, all but that of its configuration; it raises no SMTPError.

    It takes less than 15 seconds, and longer only for what is sent.
    """
    options = replace(options, transcript="always", timeout=min(options.timeout, LIMIT))
    run = _Run(options, trial)
    try:
        run.resolve()
        run.open()
    except SMTPError as error:
        run.failed(error)
    return run.steps()


class _Run:
    """What is known so far."""

    def __init__(self, options: Options, trial: Trial) -> None:
        self._options = options
        self._trial = trial
        self._heard = Heard()
        self._certificate = ""
        self._found: dict[str, Step] = {}

    # -- doing -----------------------------------------------------------------------------------

    def resolve(self) -> None:
        """Find the addresses, and stay with them."""
        if not self._options.addresses:
            self._options = replace(self._options, addresses=_addresses(self._options))

    def open(self) -> None:
        """Connect, and go on to the recipient."""
        watch = Bounded(LIMIT)
        connection = Connection.open(self._options, watch)
        try:
            self._heard = read(render(connection.opened_at, connection.opening))
            self._certificate = connection.transport.certificate
            self._rehearse(connection, watch)
            self._send(connection)
        finally:
            if connection.closed:
                connection.abort()
            else:
                connection.quit()

    def _rehearse(self, connection: Connection, watch: Bounded) -> None:
        trial = self._trial
        if not trial.recipient:
            return
        people = (("sender", trial.sender), ("recipient", trial.recipient))
        if not connection.protocol.capabilities.smtputf8:
            beyond = [(name, address) for name, address in people if not address.isascii()]
            self._found |= {name: _not_ascii(name, address) for name, address in beyond}
            if beyond:
                return
        left = max(1.0, watch.deadline.left)
        answers = rehearse(connection, trial.sender, trial.recipient, left)
        for (name, address), answer in zip(people, answers, strict=False):
            self._found[name] = self._judged(name, address, answer)

    def _judged(self, name: str, address: str, answer: Reply | SMTPError) -> Step:
        evidence = {"address": address, "reply": str(answer)}
        if not isinstance(answer, SMTPError):
            return Step(name, True, evidence)
        if answer.code is not None:
            parts = (answer.code, answer.enhanced_code, answer.reply)
            evidence["reply"] = " ".join(str(part) for part in parts if part)
        if answer.category == "greylisted":
            return Step(
                name,
                True,
                evidence,
                because(GREYLISTED, answer),
            )
        return Step(name, False, evidence, *explain(Case(answer, self._options, self._heard)))

    def _send(self, connection: Connection) -> None:
        envelope = self._trial.envelope
        if envelope is None:
            return
        if any(step.ok is False for step in self._found.values()) or connection.closed:
            return
        session = Session(connection, self._options)
        for outcome in session.transact([envelope]):
            result, *_ = outcome.results
            reply = [result.code, result.enhanced_code, result.reply]
            evidence = {"reply": " ".join(str(part) for part in reply if part)}
            if result.error is None:
                self._found["message"] = Step("message", True, evidence)
            elif result.category == "greylisted":
                note = said(
                    "%(greylists)s, but not by this command: %(error)s",
                    greylists=GREYLISTED,
                    error=result.error,
                )
                self._found["message"] = Step("message", True, evidence, note)
            else:
                told = explain(Case(result.error, self._options, self._heard))
                self._found["message"] = Step("message", False, evidence, *told)

    def failed(self, error: SMTPError) -> None:
        """Note the error that ended the opening."""
        self._heard = read(error.transcript)
        case = Case(error, self._options, self._heard)
        if case.asks_others and self._trial.asks_others:
            found: Sequence[Sibling] = siblings.look(self._options)
            case = replace(case, siblings=found)
        evidence = self._evidence(case.step)
        if error.code is not None:
            evidence["reply"] = " ".join(
                str(part) for part in (error.code, error.enhanced_code, error.reply) if part
            )
        if case.siblings:
            evidence["other_ports"] = [str(sibling) for sibling in case.siblings]
        self._found[case.step] = Step(case.step, False, evidence, *explain(case))

    # -- telling ---------------------------------------------------------------------------------

    def steps(self) -> tuple[Step, ...]:
        """Return all steps behind the configuration, in their order."""
        return tuple(self._found.get(name) or self._passed(name) for name in STEPS[1:])

    def _passed(self, name: str) -> Step:
        """Return a step that did not fail: done, or not reached."""
        heard, options = self._heard, self._options
        failing = [STEPS.index(step.name) for step in self._found.values() if step.ok is False]
        before = STEPS.index(name) < min(failing, default=math.inf)
        done = {
            "dns": bool(options.addresses),
            "tcp": bool(heard.ip),
            "tls": bool(heard.tls) or (before and bool(heard.ehlo)) or "certificate" in self._found,
            "certificate": bool(heard.tls),
            "ehlo": bool(heard.in_clear or heard.in_tls),
            "auth": before and bool(heard.mechanism),
        }.get(name, False)
        if not done:
            return Step(name, None)
        return Step(name, True, self._evidence(name), self._skipped() if name == "tcp" else "")

    def _skipped(self) -> str:
        """Return which addresses did not answer before one did, as a note."""
        addresses, ip = self._options.addresses, self._heard.ip
        before = addresses[: addresses.index(ip)] if ip in addresses else ()
        if not before:
            return ""
        listed = ", ".join(before)
        if any(":" in one for one in before):
            return said(
                "No connection to %(addresses)s, which is tried first each time (there may be no "
                "IPv6 here).",
                addresses=listed,
            )
        return said(
            "No connection to %(addresses)s, which is tried first each time.", addresses=listed
        )

    def _evidence(self, name: str) -> dict[str, Any]:
        heard, options = self._heard, self._options
        evidence: dict[str, dict[str, Any]] = {
            "dns": {"host": options.host, "addresses": list(options.addresses)},
            "tcp": {"address": heard.ip or said("none"), "port": options.port},
            "tls": {"security": str(options.security), "tls": heard.tls or said("none")},
            "certificate": self._shown(),
            "ehlo": self._said(),
            "auth": {"offered": list(heard.able.auth), "mechanism": heard.mechanism},
        }
        return evidence.get(name, {})

    def _shown(self) -> dict[str, Any]:
        if not self._heard.tls:
            return {}
        shown = {"shown": self._certificate} if self._certificate else {}
        return {"verified_by": self._heard.verified_by or said("nothing"), **shown}

    def _said(self) -> dict[str, Any]:
        heard = self._heard
        said: dict[str, Any] = {"banner": heard.banner}
        if heard.in_tls and self._options.security is not Security.IMPLICIT:
            said["before_tls"] = list(heard.in_clear)
        if heard.ehlo:
            said["answer"] = list(heard.ehlo)
            said["size"] = heard.able.size_limit
            said["round_trip"] = heard.round_trip
        return said


def _not_ascii(name: str, address: str) -> Step:
    """Return the step of an address that the server has no commands for."""
    return Step(
        name,
        False,
        {"address": address},
        said(
            "%(address)s is not ASCII, and the server does not offer SMTPUTF8 (RFC 6531).",
            address=address,
        ),
        said("Use an address in ASCII, or a server that offers SMTPUTF8."),
    )


def _addresses(options: Options) -> tuple[str, ...]:
    """Return the addresses of the host, as the client finds them; raises :class:`ResolveError`.

    The system's resolver cannot be interrupted: one that takes too long is left to itself.
    """
    found: list[tuple[str, ...] | ResolveError] = []

    def ask() -> None:
        try:
            found.append(addresses_of(options))
        except ResolveError as error:
            found.append(error)

    thread = threading.Thread(target=ask, name="smtpx-check-dns", daemon=True)
    thread.start()
    thread.join(DNS_TIMEOUT)
    if not found:
        raise ResolveError(
            said(
                "The resolver did not answer for %(host)s in %(seconds)s s",
                host=options.host,
                seconds=f"{DNS_TIMEOUT:g}",
            ),
            phase="resolve",
            **verdict.DNS_ERROR.fields,
        )
    if isinstance(found[0], ResolveError):
        raise found[0]
    return found[0]
