"""The option ``dkim``: keys of every form, and each mistake by its name."""

from __future__ import annotations

import base64
import traceback

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from django_smtpx.config import signing
from django_smtpx.config.options import parse
from django_smtpx.config.unknown import BadOption
from tests.signing import PKCS1, PKCS8, bare, ed25519_key, pem, rsa_key

NAMES = {"domain": "example.com", "selector": "s1"}


def keys(*entries):
    """Return the keys that a mailer has of these entries."""
    return parse("m", {"host": "h", "dkim": list(entries)}).dkim


def refusal(*entries):
    """Return why a mailer cannot have these entries; no key may be part of the reason."""
    with pytest.raises(BadOption) as caught:
        keys(*entries)
    told = "".join(traceback.TracebackException.from_exception(caught.value).format())
    for entry in entries:
        text = str(entry.get("private_key", "")) if isinstance(entry, dict) else ""
        for line in text.splitlines():
            assert "--" in line or len(line) < 6 or line not in told
    return str(caught.value)


@pytest.mark.parametrize("form", [PKCS1, PKCS8])
@pytest.mark.parametrize("change", [str, lambda text: text.replace("\n", "\r\n"), str.strip])
def test_rsa(form, change):
    """PKCS#1 and PKCS#8, with the line ends of any system."""
    (found,) = keys({**NAMES, "private_key": change(pem(rsa_key(), form))})
    assert (found.algorithm, found.name) == ("rsa-sha256", "s1._domainkey.example.com")


def test_ed25519():
    """PKCS#8, and the form that dkimpy's own tool writes."""
    seed = base64.b64encode(ed25519_key().private_bytes_raw()).decode()
    for text in (pem(ed25519_key()), bare(ed25519_key()) + "\n"):
        (found,) = keys({**NAMES, "private_key": text})
        assert (found.algorithm, found.secret) == ("ed25519-sha256", seed)


def test_a_file(tmp_path):
    """A key may be in a file, named by a string or a Path."""
    path = tmp_path / "key.pem"
    path.write_text(pem(ed25519_key()))
    for named in (path, str(path)):
        (found,) = keys({**NAMES, "private_key_file": named})
        assert found.algorithm == "ed25519-sha256"


def test_names_are_lower_case_and_in_ascii():
    """A domain may be written in its own alphabet."""
    entry = {"domain": "Bücher.Example", "selector": "S.1", "private_key": bare(ed25519_key())}
    (found,) = keys(entry)
    assert (found.domain, found.selector) == ("xn--bcher-kva.example", "s.1")


def _other():
    return pem(ec.generate_private_key(ec.SECP256R1()))


def _public():
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    public = ed25519.Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(serialization.Encoding.PEM, form).decode()


@pytest.mark.parametrize(
    ("entry", "told"),
    [
        ("text", "'dkim'[0] must be a dictionary, not str."),
        ({"domian": "d"}, "Unknown option 'domian' in 'dkim'[0]. Did you mean 'domain'?"),
        ({}, "'dkim'[0] has no 'domain'"),
        ({"domain": "example.com"}, "'dkim'[0] has no 'selector'"),
        ({**NAMES}, "'dkim'[0] has no key: set 'private_key'"),
        ({**NAMES, "domain": 5}, "'dkim'[0]['domain'] must be a string, not int."),
        ({**NAMES, "domain": "example"}, "['domain'] must be the domain that signs"),
        ({**NAMES, "domain": "a b.com"}, "not 'a b.com'"),
        ({**NAMES, "domain": "a..com"}, "not 'a..com'"),
        ({**NAMES, "domain": "a" * 60 + ".example"}, "longer than 64 characters"),
        ({**NAMES, "selector": "s;1"}, "['selector'] must be what stands before"),
        ({**NAMES, "private_key": "k", "private_key_file": "f"}, "has both 'private_key' and"),
        ({**NAMES, "private_key": b"k"}, "must be a string, the text of the key, not bytes."),
        ({**NAMES, "private_key": "/etc/dkim/key.pem"}, "For a path there is 'private_key_file'."),
        ({**NAMES, "private_key": ""}, "['private_key'] is no private key"),
        ({**NAMES, "private_key_file": 5}, "must be the path of a file with the key, not 5."),
        ({**NAMES, "private_key_file": "/nowhere.pem"}, "is '/nowhere.pem', which cannot be read: No such file"),
        ({**NAMES, "private_key_file": "/"}, "cannot be read: Is a directory"),
    ],
)  # fmt: skip
def test_mistakes(entry, told):
    """What is wrong is said with the key, the value and the mend."""
    assert told in refusal(entry)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (lambda: pem(rsa_key(), password=b"p"), "is encrypted. Give it without its passphrase"),
        (lambda: pem(rsa_key(), PKCS1, b"p"), "is encrypted. Give it without its passphrase"),
        (_public, "is no private key: it has no whole block of PEM"),
        (_other, "is a PRIVATE KEY that cannot be used: it must be of RSA"),
        (lambda: pem(rsa_key()).replace("\n", "\\n"), "two characters \\ and n"),
        (lambda: pem(rsa_key())[:800], "it has no whole block of PEM"),
        (lambda: pem(rsa_key()).replace("MII", "!II", 1), "is damaged: its PEM is no base64"),
        (lambda: "\n".join(pem(rsa_key()).splitlines()[:9] + pem(rsa_key()).splitlines()[-1:]), "and whole"),
        (lambda: pem(rsa_key(1024)).replace("PRIVATE", "SECRET"), "is no private key"),
    ],
)  # fmt: skip
def test_keys_that_cannot_be_used(text, told):
    """Each is told from the others."""
    found = refusal({**NAMES, "private_key": text()})
    assert told in found
    assert found.startswith("'dkim'[0]['private_key'] ")


def test_a_short_key(monkeypatch):
    """Nobody accepts a key that is too short, so it is not signed with."""
    monkeypatch.setattr(signing, "RSA_LEAST", 2048)
    assert "RSA key of 1024 bits" in refusal({**NAMES, "private_key": pem(rsa_key(1024))})


def test_a_key_whose_numbers_do_not_fit():
    """A key that is well-formed and signs wrongly is found out."""
    lines = pem(rsa_key(), PKCS1).splitlines()
    der = bytearray(base64.b64decode("".join(lines[1:-1])))
    der[-1] ^= 1
    text = "\n".join([lines[0], base64.b64encode(bytes(der)).decode(), lines[-1]])
    assert "cannot be used" in refusal({**NAMES, "private_key": text})


def test_a_file_with_something_else(tmp_path):
    """The path is named, and what is in the file is not."""
    path = tmp_path / "key.pem"
    path.write_text("s3cr3t")
    found = refusal({**NAMES, "private_key_file": str(path)})
    assert f"'dkim'[0]['private_key_file'] ('{path}') is no private key" in found
    assert "s3cr3t" not in found
    path.write_bytes(b"\xff" * 10)
    assert "no text of a private key" in refusal({**NAMES, "private_key_file": path})
    path.write_bytes(b"A" * 100_000)
    assert "no text of a private key" in refusal({**NAMES, "private_key_file": path})


def test_a_selector_twice():
    """Two keys cannot be at one place in the DNS."""
    one = {**NAMES, "private_key": bare(ed25519_key())}
    assert "'dkim'[1] is 's1._domainkey.example.com' once more" in refusal(one, one)


@pytest.mark.parametrize(
    ("missing", "told"), [("dkim", "dkimpy is not"), ("nacl", "PyNaCl is not")]
)
def test_what_is_not_installed(monkeypatch, missing, told):
    """The error says what to install."""
    find = signing.find_spec
    monkeypatch.setattr(signing, "find_spec", lambda name: None if name == missing else find(name))
    found = refusal({**NAMES, "private_key": bare(ed25519_key())})
    assert f'{told} installed: pip install "django-smtpx[dkim]"' in found


def test_no_variable_of_a_traceback_has_a_key():
    """Pages of errors show the variables of each frame; none of ours holds what was refused."""
    secret = "s3cr3t" * 9
    options = {"host": "h", "dkim": [{**NAMES, "private_key": secret}]}
    with pytest.raises(BadOption) as caught:
        parse("m", _Hidden(options))
    own = caught.value.__traceback__.tb_next
    told = traceback.TracebackException(BadOption, caught.value, own, capture_locals=True)
    assert secret not in "".join(told.format())


class _Hidden(dict):
    """Options as they come from the settings: their repr shows the keys alone."""

    def __repr__(self):
        return "<options>"
