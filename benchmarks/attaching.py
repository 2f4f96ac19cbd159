"""A process of a site that stores or delivers a large mail: ``python -m benchmarks.attaching``."""

from __future__ import annotations

import argparse
import base64
import json
import os
from typing import Any

from benchmarks.large import growth
from benchmarks.outboxes import create_tables, set_up

SENDER = "sender@example.com"
RECIPIENT = "recipient@example.net"


def prepare(size: int) -> dict[str, float]:
    """Make the tables."""
    create_tables()
    return {}


def send(size: int) -> dict[str, float]:
    """Let Django's EmailMessage be stored; its attachment is there before the measurement."""
    from django.core.mail import EmailMessage

    attachment = os.urandom(size)

    def stored(data: bytes) -> None:
        mail = EmailMessage("A large one", "Here it is.", SENDER, [RECIPIENT])
        mail.attach("large.bin", data, "application/octet-stream")
        mail.send()

    return growth(lambda: stored(b"small"), lambda: stored(attachment))


def store(size: int) -> dict[str, float]:
    """Let bytes be stored that are there before the measurement."""
    from django_smtpx import ledger

    def composed(body: bytes) -> Any:
        from django_smtpx.compose import Composed

        return Composed(
            sender=SENDER,
            recipients=(RECIPIENT,),
            content=b"Subject: A large one\r\n\r\n" + body,
            message_id=f"<{os.urandom(8).hex()}@example.com>",
            from_header=SENDER,
            subject="A large one",
        )

    small = composed(b"small\r\n")
    large = composed(base64.encodebytes(os.urandom(size)).replace(b"\n", b"\r\n"))
    return growth(
        lambda: ledger.store([("default", small)]) and None,
        lambda: ledger.store([("default", large)]) and None,
    )


def deliver(size: int) -> dict[str, float]:
    """Deliver what is stored: small mail first, before the measurement."""
    from django_smtpx import delivery
    from django_smtpx.models import Delivery

    large = Delivery.objects.filter(message__size__gt=size)
    large.update(lane=Delivery.Lane.IDLE, next_attempt_at=None)

    def drained() -> None:
        delivery.run_until_idle()

    def release() -> None:
        large.update(lane=Delivery.Lane.READY)
        drained()

    measured = growth(drained, release)
    assert not Delivery.objects.exclude(status="sent").exists()
    return measured


def deliver_again(size: int) -> dict[str, float]:
    """Deliver all of it once more."""
    from django_smtpx.models import Delivery, Message

    Message.objects.update(settled_at=None)
    Delivery.objects.update(status="queued", lane=Delivery.Lane.READY, settled_at=None)
    return deliver(size)


WORK = {
    "prepare": prepare,
    "send": send,
    "store": store,
    "deliver": deliver,
    "deliver_again": deliver_again,
}


def main() -> None:
    """Do one of them."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("work", choices=WORK)
    parser.add_argument("site", type=json.loads)
    parser.add_argument("--size", type=int, required=True)
    parser.add_argument("--port", type=int, default=1)
    options = parser.parse_args()
    files = options.site["files"]
    storages = {
        "default": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "staticfiles": {"BACKEND": "django.core.files.storage.InMemoryStorage"},
        "mail": {
            "BACKEND": "django.core.files.storage.FileSystemStorage",
            "OPTIONS": {"location": files},
        },
    }
    chosen = {"SMTPX_CONTENT_STORAGE": "mail"} if files else {}
    set_up(options.site["database"], port=options.port, STORAGES=storages, **chosen)
    print(json.dumps(WORK[options.work](options.size)))


if __name__ == "__main__":
    main()
