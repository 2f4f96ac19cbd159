"""A mailer's diagnoses: its configuration, and then host by host."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.utils import timezone

from django_smtpx.compose import compose
from django_smtpx.config import get_mailer, named
from django_smtpx.delivery.routing import route_of
from django_smtpx.diagnosis.causes import Case, explain
from django_smtpx.diagnosis.heard import Heard
from django_smtpx.diagnosis.running import Trial, try_host
from django_smtpx.diagnosis.values import STEPS, Diagnosis, Step
from django_smtpx.mailer import Way
from django_smtpx.smtp import Envelope, SMTPError
from django_smtpx.smtp.options import verifies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from django_smtpx.compose import Composed
    from django_smtpx.mailer import Mailer
    from django_smtpx.mx.route import Route
    from django_smtpx.smtp.options import Options

_SUBJECT = "A test of {name!r} by smtpx_check"
_BODY = (
    "This mail was sent by smtpx_check, to find out whether the mailer {name!r} works. It does.\n"
)


def diagnose(name: str, to: str = "", *, send: bool = False) -> Iterator[Diagnosis]:
    """Give the diagnosis of each host of the mailer ``name``.

    With ``to``, MAIL and RCPT are said as for a mail from DEFAULT_FROM_EMAIL to there; with
    ``send`` a small one goes to it, by the first host that passes. Where mail goes straight to
    domains there is nothing but the configuration to look at without ``to``. Raises
    ``ImproperlyConfigured`` for a name that is not known, and ``ValueError`` where ``to``, or the
    sender, is no address.
    """
    try:
        mailer = get_mailer(name)
    except ImproperlyConfigured as error:
        if name not in named.mailer_errors():
            raise
        told = "Correct it in the settings; manage.py check says the same."
        yield _ended(name, Step("configuration", False, {}, str(error), told))
        return
    mail = _mail(mailer, to) if to else None
    if mailer.transport == "mx":
        yield _straight(mailer, mail, send=send)
        return
    sent = False
    for options in mailer.hosts:
        found = _diagnosis(mailer, options, mail, send=send and not sent)
        sent = sent or any(step.name == "message" and step.ok for step in found.steps)
        yield found


def _mail(mailer: Mailer, to: str) -> Composed:
    """Return the mail that would go to ``to``: by ``redirect_to`` it may be for somebody else."""
    subject, body = _SUBJECT.format(name=mailer.name), _BODY.format(name=mailer.name)
    composed = compose(EmailMessage(subject, body, to=[to]), mailer, timezone.now())
    assert composed is not None
    return composed


def _diagnosis(
    mailer: Mailer,
    options: Options,
    mail: Composed | None,
    *,
    send: bool,
    route: Route | None = None,
) -> Diagnosis:
    trial = Trial(asks_others=route is None)
    if mail is not None:
        envelope = Envelope(mail.sender, mail.recipients[:1], mail.content) if send else None
        trial = replace(trial, sender=mail.sender, recipient=mail.recipients[0], envelope=envelope)
    steps = (_configuration(mailer, options, route), *try_host(options, trial))
    return Diagnosis(mailer.name, options.host, options.port, steps)


def _configuration(mailer: Mailer, options: Options, route: Route | None = None) -> Step:
    login = options.credential
    evidence: dict[str, Any] = {
        "transport": mailer.transport,
        "mode": mailer.mode,
        "security": str(options.security),
        "login": "none" if login is None else "token" if login.token is not None else "password",
        "verify": verifies(options),
    }
    if mailer.redirect_to:
        evidence["redirect_to"] = list(mailer.redirect_to)
    if route is not None:
        evidence |= _route(route)
    note = ""
    for has, lacks in named.half_credentials(mailer.name):
        note = f"There is {has} and no {lacks}: nobody logs in."
    return Step("configuration", True, evidence, note)


# -- straight to domains -------------------------------------------------------------------------


def _straight(mailer: Mailer, mail: Composed | None, *, send: bool) -> Diagnosis:
    mx = mailer.mx
    assert mx is not None
    if mail is None:
        note = "Mail goes straight to the recipients' servers: with --to, they are looked at."
        return _ended(mailer.name, replace(_configuration(mailer, mx.template), cause=note))
    domain = mail.recipients[0].rpartition("@")[2].lower()
    try:
        route = route_of(Way(mailer, domain))
    except SMTPError as error:
        configuration = _configuration(mailer, mx.template)
        case = Case(error, replace(mx.template, host=domain), Heard())
        failed = Step(case.step, False, {"domain": domain}, *explain(case))
        return _ended(mailer.name, configuration, failed)
    # Nobody speaks first to a server that is not the mailer's own.
    first = replace(route.hosts[0], probe=False)
    return _diagnosis(mailer, first, mail, send=send, route=route)


def _route(route: Route) -> dict[str, Any]:
    """Return the servers of a domain, and the TLS that each must show."""
    found: dict[str, Any] = {
        "domain": route.domain,
        "servers": [_server(options) for options in route.hosts],
    }
    if route.failures:
        found["left_out"] = [f"{error.host}: {error}" for error in route.failures]
    policy = route.found.policy if route.found is not None else None
    if policy is not None:
        found["mta_sts"] = policy.mode
    return found


def _server(options: Options) -> str:
    asked = f", asked for by {options.tls_reason}" if options.tls_reason else ""
    checked = "a certificate that holds" if verifies(options) else "any certificate"
    if options.tlsa:
        checked = "a certificate that fits its TLSA records"
    return f"{options.host}: TLS {options.security}, {checked}{asked}"


def _ended(name: str, *done: Step) -> Diagnosis:
    """Return what did not come to a host: the other steps were not reached."""
    known = {step.name: step for step in done}
    return Diagnosis(name, "", 0, tuple(known.get(one) or Step(one, None) for one in STEPS))
