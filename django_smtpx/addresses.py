"""One email address as an envelope carries it: pure, and strict about what could break out."""

from __future__ import annotations

import re
from email.headerregistry import Address, AddressHeader

from django_smtpx.smtp.wording import also, said

MAX_LENGTH = 320
"""Characters of an address: 64 of the local part, "@" and 255 of the domain (RFC 5321 4.5.3.1)."""

_ATEXT = r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LABEL = r"[A-Za-z0-9](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9])?"
_PLAIN = re.compile(rf"{_ATEXT}(?:\.{_ATEXT})*@{_LABEL}(?:\.{_LABEL})*")
# A display name of words, which need no quotes, or of words within them: no parser is in two minds
# about it. "=?" may begin an encoded word, and is looked for apart.
_INVISIBLE = r"\s\x00-\x20\x7f-\x9f\ud800-\udfff"
_WORD = rf'[^{_INVISIBLE}()<>\[\]:;@\\,."]+'
_QUOTED_WORD = rf'[^{_INVISIBLE}\\"]+'
_MAILBOX = re.compile(
    rf'(?:({_WORD}(?: {_WORD})*)|"({_QUOTED_WORD}(?: {_QUOTED_WORD})*)") <({_PLAIN.pattern})>'
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")

# Django takes local mailboxes such as "webmaster"; the parser minds the missing domain. And it
# minds every non-ASCII local part (cpython issue 81074), which RFC 6531 has made valid.
# What else it minds, in its own words; "%" is in none of them.
_DEFECTS = {
    str(defect): defect
    for defect in (
        said("'\\' character outside of quoted-string/ccontent"),
        said("Invalid leading '.' in local part"),
        said("Invalid trailing '.' in local part"),
        said("address-list entry with no content"),
        said("comment found without atom"),
        said("domain is not a dot-atom (contains CFWS)"),
        said("empty element in address-list"),
        said("empty element in mailbox-list"),
        said("end of header before group-list"),
        said("end of header in group"),
        said("end of header in group-list"),
        said("end of header inside comment"),
        said("end of header inside quoted string"),
        said("group-list with empty entries"),
        said("invalid address in address-list"),
        said("invalid mailbox in mailbox-list"),
        said("invalid repeated '.'"),
        said("local-part is not a dot-atom (contains CFWS)"),
        said("local-part is not dot-atom, quoted-string, or obs-local-part"),
        said("missing '.' between words"),
        said("missing trailing '>' on angle-addr"),
        said("missing trailing whitespace after encoded-word"),
        said("null addr-spec in angle-addr"),
        said("obsolete route specification in angle-addr"),
        said("period in 'phrase'"),
        said("phrase does not start with word"),
    )
}
_BEARABLE_DEFECTS = frozenset(
    {"addr-spec local part with no domain", "local-part contains non-ASCII characters)"}
)


def addr_spec(address: object) -> str:
    """Return the bare address in ``address``: no display name, no comment, the domain in A-labels.

    A non-ASCII local part stays as it is and needs SMTPUTF8. Raises
    ``ValueError`` for anything but one valid address.
    """
    text = str(address)
    if is_plain(text):
        return _short(text, text)
    named = simple_mailbox(text)
    if named is not None:
        return named[1]
    refuse_controls(text)
    try:
        parsed = AddressHeader.value_parser(text)
        mailboxes = parsed.all_mailboxes
        defects = {str(defect) for defect in parsed.all_defects} - _BEARABLE_DEFECTS
    except Exception as error:
        # The parser of the standard library raises IndexError and others on odd input.
        raise ValueError(said("Invalid address %(text)s.", text=repr(text))) from error
    if defects:
        raise ValueError(
            said(
                "Invalid address %(text)s: %(defects)s.",
                text=repr(text),
                defects=also(_DEFECTS.get(one, one) for one in sorted(defects)),
            )
        )
    if len(mailboxes) != 1:
        raise ValueError(
            said("Invalid address %(text)s: it must be a single address.", text=repr(text))
        )
    mailbox = mailboxes[0]
    if not mailbox.local_part:
        raise ValueError(
            said("Invalid address %(text)s: there is nothing before the @.", text=repr(text))
        )
    if not mailbox.domain:
        return _short(mailbox.addr_spec, text)
    domain = a_labels(mailbox.domain)
    return _short(Address(username=mailbox.local_part, domain=domain).addr_spec, text)


def is_plain(text: str) -> bool:
    """Return whether ``text`` is an address at first sight, without a name or a quote."""
    return _PLAIN.fullmatch(text) is not None


def simple_mailbox(text: str) -> tuple[str, str] | None:
    """Return the display name ("" for none) and the address of what is one at first sight.

    The domain is in ASCII, and the name without its quotes. None means that
    :func:`addr_spec` has to look closer.
    """
    if _PLAIN.fullmatch(text):
        return ("", text) if len(text) <= MAX_LENGTH else None
    found = _MAILBOX.fullmatch(text)
    if found is None or "=?" in text or len(found[3]) > MAX_LENGTH:
        return None
    return found[1] or found[2], found[3]


def domain_of(address: str) -> str:
    """Return the domain of a recipient as a delivery has it; "" where there is none."""
    return address.rpartition("@")[2].lower() if "@" in address else ""


def a_labels(domain: str) -> str:
    """Return ``domain`` in ASCII (IDNA); ``ValueError`` where it has no such form."""
    if domain.isascii():
        return domain
    try:
        return domain.encode("idna").decode("ascii")
    except UnicodeError as error:
        raise ValueError(
            said(
                "Invalid domain %(domain)s: a label of it is empty, too long, or holds what no "
                "name may (IDNA).",
                domain=repr(domain),
            )
        ) from error


def same_mailbox_key(address: str) -> str:
    """Return what two spellings of one mailbox share.

    The domain is case-blind, the local part is not (RFC 5321 section 2.4).
    """
    local, at, domain = address.rpartition("@")
    return f"{local}{at}{domain.lower()}" if at else address


def refuse_controls(text: str) -> None:
    """Raise ``ValueError`` where ``text`` holds a control character or a lone surrogate."""
    if _CONTROL.search(text):
        raise ValueError(
            said(
                "Invalid address %(text)s: it holds a control character (or a lone surrogate).",
                text=repr(text),
            )
        )


def _short(address: str, text: str) -> str:
    if len(address) > MAX_LENGTH:
        raise ValueError(
            said(
                "Invalid address %(text)s: it is longer than %(most)s characters.",
                text=repr(text),
                most=MAX_LENGTH,
            )
        )
    return address
