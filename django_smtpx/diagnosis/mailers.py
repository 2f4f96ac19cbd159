"""A mailer's diagnoses: its configuration, and then host by host."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from django.core.exceptions import ImproperlyConfigured
from django.core.mail import EmailMessage
from django.utils import timezone

from django_smtpx.addresses import addr_spec
from django_smtpx.compose import compose
from django_smtpx.config import get_mailer, named
from django_smtpx.delivery.routing import route_of
from django_smtpx.diagnosis.domain import domain_steps
from django_smtpx.mailer import Way
from django_smtpx.smtp import Envelope, SMTPError
from django_smtpx.smtp.diagnosis import STEPS, Diagnosis, Step, Trial, configuration, try_host
from django_smtpx.smtp.diagnosis.causes import Case, explain
from django_smtpx.smtp.diagnosis.heard import Heard
from django_smtpx.smtp.options import verifies
from django_smtpx.smtp.wording import because, joined, said

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


def diagnose(
    name: str, to: str = "", *, send: bool = False, address: str = ""
) -> Iterator[Diagnosis]:
    """Give the diagnosis of each host of the mailer ``name``.

    With ``to``, MAIL and RCPT are said as for a mail from DEFAULT_FROM_EMAIL to there; with
    ``send`` a small one goes to it, by the first host that passes. Where mail goes straight to
    domains the sending domain is looked at, too, as for mail that others see come from the IP
    address ``address`` (where that is not told, this machine's own), and without ``to`` nothing but
    that and the configuration. Raises ``ImproperlyConfigured`` for a name that is not known, and
    ``ValueError`` where ``to``, the sender or ``address`` is no address.
    """
    if address:
        address = str(ip_address(address))
    try:
        mailer = get_mailer(name)
    except ImproperlyConfigured as error:
        if name not in named.mailer_errors():
            raise
        told = said("Correct it in the settings; manage.py check says the same.")
        yield _ended(name, Step("configuration", False, {}, str(error), told))
        return
    mail = _mail(mailer, to) if to else None
    if mailer.transport == "mx":
        with ThreadPoolExecutor(1) as pool:
            # Both wait for others, and not for each other.
            of_domain = pool.submit(domain_steps, mailer, sender=_sender(), address=address)
            found = _straight(mailer, mail, send=send)
            yield replace(found, steps=found.steps + of_domain.result())
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
    evidence: dict[str, Any] = {
        "transport": mailer.transport,
        "mode": mailer.mode,
        **configuration(options).evidence,
    }
    if mailer.redirect_to:
        evidence["redirect_to"] = list(mailer.redirect_to)
    if route is not None:
        evidence |= _route(route)
    note = ""
    for has, lacks in named.half_credentials(mailer.name):
        note = said("There is %(has)s and no %(lacks)s: nobody logs in.", has=has, lacks=lacks)
    return Step("configuration", True, evidence, note)


# -- straight to domains -------------------------------------------------------------------------


def _straight(mailer: Mailer, mail: Composed | None, *, send: bool) -> Diagnosis:
    mx = mailer.mx
    assert mx is not None
    if mail is None:
        note = said("Mail goes straight to the recipients' servers: with --to, they are looked at.")
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


def _sender() -> str:
    """Return the address of DEFAULT_FROM_EMAIL, as Django puts it into mail without another."""
    return addr_spec(EmailMessage().from_email)


def _route(route: Route) -> dict[str, Any]:
    """Return the servers of a domain, and the TLS that each must show."""
    found: dict[str, Any] = {
        "domain": route.domain,
        "servers": [_server(options) for options in route.hosts],
    }
    if route.failures:
        found["left_out"] = [because(error.host, error) for error in route.failures]
    policy = route.found.policy if route.found is not None else None
    if policy is not None:
        found["mta_sts"] = policy.mode
    return found


def _server(options: Options) -> str:
    checked = said("any certificate")
    if options.tlsa:
        checked = said("a certificate that fits its TLSA records")
    elif verifies(options):
        checked = said("a certificate that holds")
    wanted = joined("", (f"{options.host}: TLS {options.security}, ", checked))
    if not options.tls_reason:
        return wanted
    return said("%(wanted)s, asked for by %(policy)s", wanted=wanted, policy=options.tls_reason)


def _ended(name: str, *done: Step) -> Diagnosis:
    """Return what did not come to a host: the other steps were not reached."""
    known = {step.name: step for step in done}
    return Diagnosis(name, "", 0, tuple(known.get(one) or Step(one, None) for one in STEPS))
