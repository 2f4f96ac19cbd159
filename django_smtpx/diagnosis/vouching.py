"""Whether the sending domain vouches for this machine: SPF, DKIM, DMARC and reverse DNS."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django_smtpx.compose import dkim as signing
from django_smtpx.mx.sending import dkim, dmarc, reverse, spf
from django_smtpx.smtp.diagnosis import Step
from django_smtpx.smtp.errors import ResolveError
from django_smtpx.smtp.wording import Said, because, said, stopped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django_smtpx.diagnosis.world import World
    from django_smtpx.mailer import DKIMKey
    from django_smtpx.mx.sending.spf import Judged

_NOBODY = "0.0.0.0"  # noqa: S104 (an address that no record names)
UNKNOWN = said(
    "It is not known by which address others see this machine: the one it has is private, and is "
    "translated on the way (NAT)."
)
SAY = said("Say which it is: smtpx_check --address IP.")
_NAME_SERVERS = said("See to the domain's name servers.")
_RSA_LEAST = 1024
_RSA_GOOD = 2048


# -- SPF -------------------------------------------------------------------------------------------


def spf_step(world: World) -> Step:
    """Return what SPF says of mail from here, by the reverse path and by the name in EHLO."""
    if not world.addresses:
        return _spf_of_nobody(world)
    judged = {address: _judged(world, address) for address in world.addresses}
    by_helo = [_judged(world, address, sender="").result for address in world.addresses]
    evidence: dict[str, Any] = {
        "domain": world.domain,
        "record": next(iter(judged.values())).record or said("none"),
        "result": [
            said("%(result)s for %(whom)s: %(why)s", result=one.result, whom=address, why=one.why)
            for address, one in judged.items()
        ],
        "helo": said(
            "%(result)s for %(whom)s", result=", ".join(dict.fromkeys(by_helo)), whom=world.helo
        ),
    }
    for address, one in judged.items():
        if one.result != "pass":
            return Step("spf", False, evidence, *_spf_told(world, address, one))
    note = ""
    if {"fail", "permerror"} & set(by_helo):
        note = said(
            "The record of %(name)s, the name said in EHLO, does not allow this machine.",
            name=world.helo,
        )
    return Step("spf", True, evidence, note)


def _spf_of_nobody(world: World) -> Step:
    """Return what can be said of the record alone."""
    one = _judged(world, _NOBODY)
    evidence = {
        "domain": world.domain,
        "record": one.record or said("none"),
        "address": said("not known"),
    }
    if one.result in ("none", "permerror", "temperror"):
        return Step("spf", False, evidence, *_spf_told(world, "", one))
    return Step("spf", None, evidence, UNKNOWN, SAY)


def _judged(world: World, address: str, sender: str | None = None) -> Judged:
    sender = world.sender if sender is None else sender
    client = spf.Client(address=address, sender=sender, helo=world.helo)
    return spf.check_host(world.resolver, client, world.domain if sender else world.helo)


def _spf_told(world: World, address: str, one: Judged) -> tuple[str, str]:
    domain, term = world.domain, _term(address)
    if "." not in domain:
        mend = said("Set DEFAULT_FROM_EMAIL to an address of a domain of yours.")
        return stopped(one.why), mend
    if one.result == "none":
        cause = said(
            "%(why)s: no receiver can see that this machine may send its mail.", why=one.why
        )
        return cause, _publish(domain, f"v=spf1 {term} -all")
    if one.result == "temperror":
        mend = said("See to the domain's name servers, and to the resolver.")
        return said("Nobody could say: %(why)s", why=one.why), mend
    if one.result == "permerror":
        mend = said(
            "Correct the SPF record of %(domain)s: receivers take no heed of it.", domain=domain
        )
        return stopped(one.why), mend
    cause = said(
        "SPF says %(result)s for mail of %(domain)s from %(address)s: %(why)s.",
        result=one.result,
        domain=domain,
        address=address,
        why=one.why,
    )
    mend = said(
        "Add %(term)s to the SPF record of %(domain)s, in front of its last term.",
        term=term,
        domain=domain,
    )
    return cause, mend


def _publish(name: str, record: str) -> Said:
    return said('Publish a TXT record at %(name)s, such as "%(record)s".', name=name, record=record)


def _term(address: str) -> str:
    if not address:
        return "ip4:ADDRESS"
    return f"ip6:{address}" if ":" in address else f"ip4:{address}"


# -- DKIM ------------------------------------------------------------------------------------------


def dkim_step(world: World, keys: Sequence[DKIMKey]) -> Step:
    """Return whether the public halves of the mailer's keys are where receivers look for them."""
    if not keys:
        told = said("This mailer does not sign (option dkim), and large providers want signatures.")
        return Step("dkim", None, {"keys": said("none")}, told)
    evidence: dict[str, Any] = {"keys": []}
    note: str = ""
    mend: str = ""
    for key in keys:
        try:
            found, warning = _published(world, key)
        except (dkim.BadKey, ResolveError) as error:
            evidence["keys"].append(because(key.name, said("not usable")))
            mend = said("Publish the key's public half as a TXT record at %(name)s.", name=key.name)
            return Step("dkim", False, evidence, stopped(error), mend)
        evidence["keys"].append(because(key.name, found))
        note, mend = warning or (note, mend)
    return Step("dkim", True, evidence, note, mend)


def _published(world: World, key: DKIMKey) -> tuple[str, tuple[str, str] | None]:
    """Return a published key in words, and what could be better. Raises :class:`.dkim.BadKey`."""
    public = dkim.find(world.resolver, key.name)
    if public.kind != key.algorithm.partition("-")[0]:
        raise dkim.BadKey(
            said(
                "The key at %(name)s is of another kind (%(kind)s) than what signs mail here",
                name=key.name,
                kind=public.kind,
            )
        )
    try:
        bits = signing.rsa_bits(public.data) if public.kind == "rsa" else 256
        fits = signing.is_half_of(key, public.data)
    except ValueError as error:
        raise dkim.BadKey(
            said("The key at %(name)s cannot be read: %(error)s", name=key.name, error=error)
        ) from error
    if not fits:
        raise dkim.BadKey(
            said(
                "The key at %(name)s is not the other half of the one that signs mail here",
                name=key.name,
            )
        )
    if public.testing:
        note = said(
            "The record at %(name)s says t=y: receivers treat mail as if it were not signed.",
            name=key.name,
        )
        found = said("%(kind)s, %(bits)s bits, testing", kind=public.kind, bits=bits)
        return found, (note, said("Take t=y out when signatures verify."))
    found = said("%(kind)s, %(bits)s bits", kind=public.kind, bits=bits)
    if public.kind == "rsa" and bits < _RSA_GOOD:
        note = said("The key at %(name)s has %(bits)s bits.", name=key.name, bits=bits)
        mend = said("Use a new one of %(bits)s (RFC 8301), under a new selector.", bits=_RSA_GOOD)
        return found, (note, mend)
    return found, None


# -- DMARC -----------------------------------------------------------------------------------------


def dmarc_step(world: World, spf_found: Step, dkim_found: Step, keys: Sequence[DKIMKey]) -> Step:
    """Return what the domain of From asks of receivers, and whether mail from here meets it."""
    evidence: dict[str, Any] = {"domain": world.from_domain}
    try:
        found = dmarc.discover(world.resolver, world.from_domain)
        if found is None:
            evidence["record"] = said("none")
            note = said(
                "%(domain)s has no DMARC record, and large providers want one.",
                domain=world.from_domain,
            )
            mend = _publish(f"_dmarc.{world.from_domain}", "v=DMARC1; p=none")
            return Step("dmarc", None, evidence, note, mend)
        record, policy = found
        where = said("%(record)s (at %(name)s)", record=record.text, name=f"_dmarc.{record.domain}")
        evidence |= {"record": where, "policy": policy}
        aligned = _aligned(world, record, keys)
        evidence["aligned"] = [
            said("%(kind)s of %(name)s", kind=name, name=domain) for name, domain in aligned
        ]
    except dmarc.BadRecord as error:
        mend = said(
            "Correct the record at %(name)s: receivers take no heed of it.",
            name=f"_dmarc.{world.from_domain}",
        )
        return Step("dmarc", False, evidence, stopped(error), mend)
    except ResolveError as error:
        return Step("dmarc", False, evidence, str(error), _NAME_SERVERS)
    passing = {"SPF": spf_found.ok, "DKIM": dkim_found.ok}
    counts = [passing[name] for name, _ in aligned]
    if True in counts:
        return Step("dmarc", True, evidence)
    if "SPF" in dict(aligned) and spf_found.ok is None:
        note = said("Whether SPF passes is not known. %(reason)s", reason=UNKNOWN)
        return Step("dmarc", None, evidence, note, SAY)
    return Step("dmarc", policy == "none", evidence, *_unmet(world, policy))


def _aligned(world: World, record: dmarc.Record, keys: Sequence[DKIMKey]) -> list[tuple[str, str]]:
    """Return which checks count for the domain of From, each with its own domain."""
    domains = [("SPF", world.domain, record.strict_spf)]
    domains += [("DKIM", key.domain, record.strict_dkim) for key in keys]
    return [
        (name, domain)
        for name, domain, strict in domains
        if dmarc.aligned(world.resolver, world.from_domain, domain, strict=strict)
    ]


def _unmet(world: World, policy: str) -> tuple[str, str]:
    domain = world.from_domain
    cause = said(
        "Neither SPF nor DKIM passes for %(domain)s, the domain of From, and its DMARC policy "
        "(%(policy)s) is for such mail.",
        domain=domain,
        policy=policy,
    )
    mend = said(
        "Sign with a key of %(domain)s (option dkim), or send from an address that SPF passes for.",
        domain=domain,
    )
    return cause, mend


# -- reverse DNS -----------------------------------------------------------------------------------


def reverse_step(world: World) -> Step:
    """Return whether the address has a name, that name the address, and EHLO's name any."""
    evidence: dict[str, Any] = {"helo": world.helo, "addresses": list(world.addresses)}
    try:
        own = () if world.helo.startswith("[") else world.resolver.addresses(world.helo).records
        evidence["helo_addresses"] = list(own)
        names = {one: reverse.names_of(world.resolver, one) for one in world.addresses}
    except ResolveError as error:
        return Step("reverse_dns", False, evidence, str(error), _NAME_SERVERS)
    evidence["names"] = [
        because(address, ", ".join(one.named) or said("none")) for address, one in names.items()
    ]
    for address, one in names.items():
        if not one.confirmed:
            return Step("reverse_dns", False, evidence, *_unnamed(address, one.named))
    if not own:
        cause = said("The name said in EHLO, %(name)s, has no address in the DNS.", name=world.helo)
        mend = said("Set helo to this machine's full name.")
        return Step("reverse_dns", False, evidence, cause, mend)
    if not names:
        return Step("reverse_dns", None, evidence, UNKNOWN, SAY)
    if not any(world.helo in one.confirmed for one in names.values()):
        note = said("The name said in EHLO, %(name)s, is not that of the address.", name=world.helo)
        mend = said("Set helo to the name of the address.")
        return Step("reverse_dns", True, evidence, note, mend)
    return Step("reverse_dns", True, evidence)


def _unnamed(address: str, named: Sequence[str]) -> tuple[str, str]:
    if not named:
        cause = said(
            "%(address)s has no name in the DNS (PTR), and many receivers take no mail from such.",
            address=address,
        )
        mend = said("Have whoever gave out the address set the name of this machine for it.")
        return cause, mend
    cause = said(
        "The name of %(address)s, %(name)s, does not have that address.",
        address=address,
        name=named[0],
    )
    mend = said(
        "Have whoever gave out the address correct its name, or add the address to that name."
    )
    return cause, mend
