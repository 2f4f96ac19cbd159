"""The site's past: some mails of a small shop, of each kind that the admin shows.

The mails are composed and stored as a site's are; what became of them is written down here, with
the replies that well-known servers give.
"""

from __future__ import annotations

from datetime import timedelta
from importlib import import_module
from math import pi, sin
from typing import TYPE_CHECKING, Any

from django.conf import settings
from django.contrib.auth import BACKEND_SESSION_KEY, HASH_SESSION_KEY, SESSION_KEY
from django.contrib.auth.models import User
from django.core.mail import EmailMessage, EmailMultiAlternatives, get_connection
from django.utils import timezone

from django_smtpx.models import (
    Attempt,
    Content,
    Delivery,
    Message,
    RefusedCredential,
    Route,
    StoredPolicy,
    Suppression,
    Tally,
    TallyMark,
    Turn,
    WebhookEndpoint,
    WebhookEvent,
)
from tests.admin.hostile import hostile_html
from tests.integration.browser import attacking
from tests.integration.browser.settings import ATTACHED, REMOTE

if TYPE_CHECKING:
    from datetime import datetime

SENDER = "Blue Door Books <shop@bluedoor.example>"
Status = Delivery.Status
Lane = Delivery.Lane
TLS = "TLSv1.3 TLS_AES_256_GCM_SHA384"
LONG = "a.very.long.local.part.that.has.no.place.to.break" + "x" * 12


def shop() -> dict[str, Any]:
    """Give the site its past; return the keys of the rows that tests and pictures ask for."""
    past = _Past(timezone.now().replace(microsecond=0))
    past.tallies()
    return {"session": _session(), **past.mails(), **past.routes()}


def attacks() -> dict[str, Any]:
    """Give the site hostile mails and no other; return their keys by name."""
    return {"session": _session(), **_Past(timezone.now()).attacks()}


def _session() -> str:
    """Make a user who may do everything; return the key of a session."""
    user = User.objects.create_superuser("admin", password="x")
    session = import_module(settings.SESSION_ENGINE).SessionStore()
    session[SESSION_KEY] = str(user.pk)
    session[BACKEND_SESSION_KEY] = "django.contrib.auth.backends.ModelBackend"
    session[HASH_SESSION_KEY] = user.get_session_auth_hash()
    session.save()
    return session.session_key


class _Past:
    """Rows at distances from one moment."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def ago(self, **age: float) -> datetime:
        return self.now - timedelta(**age)

    # -- mails ---------------------------------------------------------------

    def mails(self) -> dict[str, Any]:
        """Store the mails; the latest is stored last."""
        keys = {
            "purged": self._purged(),
            "cancelled": self._cancelled(),
            "suppressed": self._suppressed(),
            "unknown": self._unknown(),
            "failed": self._failed(),
            "many": self._to_many(),
            "held": self._newsletter(),
            "full": self._full(),
            "odd": self._odd(),
            "sent": self._greylisted(),
            "queued": self._queued(),
        }
        deliveries = Delivery.objects.in_bulk(keys.values())
        keys.update({f"{name}_message": deliveries[pk].message_id for name, pk in keys.items()})
        return keys

    def _purged(self) -> int:
        row = self._stored("Welcome to Blue Door Books", ["old@example.net"], days=9)[0]
        self._try(row, self.ago(days=9), code=250, enhanced_code="2.0.0", reply="Ok: queued as 4Z1")
        self._end(row, Status.SENT, self.ago(days=9))
        Content.objects.filter(pk=row.message_id).delete()
        return row.pk

    def _cancelled(self) -> int:
        row = self._stored("Your appointment tomorrow", ["carol@example.org"], hours=30)[0]
        self._end(row, Status.CANCELLED, self.ago(hours=29))
        return row.pk

    def _suppressed(self) -> int:
        row = self._stored("Your receipt 2040", ["gone@example.net"], hours=26)[0]
        row.reply = "550 5.1.1 No such user here (mx.example.net)"
        row.category = "suppressed"
        self._end(row, Status.SUPPRESSED, self.ago(hours=26))
        return row.pk

    def _unknown(self) -> int:
        row = self._stored("Contract for signature", ["legal@example.com"], hours=5)[0]
        for number, age in enumerate((300, 298, 290), start=1):
            self._try(
                row,
                self.ago(minutes=age),
                number=number,
                outcome="unknown",
                category="unknown_outcome",
                action="hold" if number == 3 else "retry",
                phase="eod",
                command="DATA",
                duration=600.02,
                transcript="C: [4,211 bytes of content]\nC: .\n[nothing came for 600 s]",
            )
        self._end(row, Status.UNKNOWN, None, settled=False)
        return row.pk

    def _failed(self) -> int:
        row = self._stored("Reset your password", ["bob@example.net"], hours=3)[0]
        self._try(
            row,
            self.ago(hours=3),
            outcome="failed",
            category="mailbox_unknown",
            action="fail",
            rule="enhanced-5.1.1",
            phase="rcpt",
            command="RCPT",
            code=550,
            enhanced_code="5.1.1",
            reply="<bob@example.net>: Recipient address rejected: User unknown in virtual mailbox table",
            transcript=(
                "S: 220 mx1.example.net ESMTP Postfix\nC: EHLO out.bluedoor.example\n"
                "S: 250-mx1.example.net\nS: 250-PIPELINING\nS: 250-SIZE 52428800\nS: 250 8BITMIME\n"
                "C: MAIL FROM:<shop@bluedoor.example> SIZE=1211\nC: RCPT TO:<bob@example.net>\n"
                "C: DATA\nS: 250 2.1.0 Ok\n"
                "S: 550 5.1.1 <bob@example.net>: Recipient address rejected: User unknown in "
                "virtual mailbox table\nS: 554 5.5.1 Error: no valid recipients\nC: RSET\n"
                "S: 250 2.0.0 Ok"
            ),
        )
        self._end(row, Status.FAILED, self.ago(hours=3))
        return row.pk

    def _to_many(self) -> int:
        names = [f"reader{number}@example.org" for number in range(1, 7)]
        rows = self._stored("Reading group on Thursday", names, hours=2)
        for row in rows:
            self._try(row, self.ago(hours=2), code=250, enhanced_code="2.0.0", reply="Ok")
            self._end(row, Status.SENT, self.ago(hours=2))
        return rows[0].pk

    def _newsletter(self) -> int:
        rows = self._stored(
            "Blue Door News: twelve books for long evenings",
            [f"subscriber{number}@example.com" for number in range(1, 4)],
            mailer="newsletter",
            hours=1,
        )
        parked = {"lane": Lane.IDLE, "parked_at": self.ago(minutes=50), "next_attempt_at": None}
        Delivery.objects.filter(pk__in=[row.pk for row in rows]).update(**parked)
        return rows[0].pk

    def _full(self) -> int:
        row = self._stored("Your order 1042 has been sent", ["dora@example.com"], minutes=48)[0]
        for number, age in enumerate((48, 46, 41), start=1):
            self._try(
                row,
                self.ago(minutes=age),
                number=number,
                outcome="deferred",
                category="mailbox_full",
                action="retry",
                rule="enhanced-4.2.2",
                phase="rcpt",
                command="RCPT",
                code=452,
                enhanced_code="4.2.2",
                reply="The email account that you tried to reach is over quota.",
                host="mx2.example.com",
            )
        row.next_attempt_at = self.now + timedelta(minutes=12)
        row.lane = Lane.IDLE
        self._end(row, Status.DEFERRED, None, settled=False)
        return row.pk

    def _odd(self) -> int:
        """Store what is long, empty, right to left or looks like markup."""
        self._stored("", ["nobody@example.com"], minutes=40)
        self._stored("خصم عشرون بالمئة على كل الكتب اليوم فقط", ["layla@example.org"], minutes=39)
        row = self._stored(
            "<script>alert(1)</script> " + "unbreakable" * 20,
            [f"{LONG}@{'a-long-label.' * 4}example.org"],
            mailer="retired",
            minutes=38,
        )[0]
        self._try(
            row,
            self.ago(minutes=37),
            outcome="deferred",
            category="reputation",
            action="slow",
            rule="phrase-a-block-list",
            phase="mail",
            command="MAIL",
            code=421,
            enhanced_code="4.7.0",
            reply="[192.0.2.25] Our system has detected an unusual rate of mail.\n"
             "https://support.example.org/mail/?p=" + "x" * 120,
            host="a-mail-exchanger-with-quite-a-long-name.mx.example.org",
            ip="2001:db8:85a3:8d3:1319:8a2e:370:7348",
            tls="",
            tls_verified_by="",
        )  # fmt: skip
        row.next_attempt_at = self.now + timedelta(hours=2)
        row.lane = Lane.IDLE
        self._end(row, Status.DEFERRED, None, settled=False)
        return row.pk

    def _greylisted(self) -> int:
        row = self._stored(
            "Invoice 2026-117",
            ["accounts@example.com"],
            html=_INVOICE,
            attachments=[
                ("Invoice 2026-117.pdf", ATTACHED, "application/pdf"),
                ("Übersicht März.csv", "Titel;Preis\nDer Zauberberg;24,00\n", "text/csv"),
            ],
            minutes=21,
        )[0]
        self._try(
            row,
            self.ago(minutes=21),
            outcome="deferred",
            category="greylisted",
            action="retry",
            rule="postgrey-greylisted",
            phase="rcpt",
            command="RCPT",
            code=450,
            enhanced_code="4.2.0",
            reply="<accounts@example.com>: Recipient address rejected: Greylisted, see "
            "http://postgrey.example/help/example.com.html",
            duration=0.31,
        )
        self._try(
            row,
            self.ago(minutes=15),
            number=2,
            code=250,
            enhanced_code="2.0.0",
            reply="Ok: queued as 4cXk2L3MzYz9sRv",
            transcript=_CONVERSATION,
            duration=0.48,
        )
        self._end(row, Status.SENT, self.ago(minutes=15))
        return row.pk

    def _queued(self) -> int:
        self._sending()
        return self._stored("Your order 1043", ["ed@example.com"], minutes=1)[0].pk

    def _sending(self) -> None:
        row = self._stored("A parcel is on its way", ["fay@example.net"], minutes=2)[0]
        row.lease_expires_at = self.now + timedelta(days=1)
        self._end(row, Status.SENDING, None, settled=False)

    def attacks(self) -> dict[str, int]:
        """Store the hostile mails."""
        keys = {}
        for name, tricks in attacking.MAILS.items():
            html = hostile_html(names=tricks)
            row = self._stored(name, ["mallory@example.net"], html=html, days=2)[0]
            keys[name] = row.message_id
        return keys

    def _stored(
        self,
        subject: str,
        to: list[str],
        *,
        mailer: str = "default",
        html: str = "",
        attachments: list[tuple[str, Any, str]] | None = None,
        **age: float,
    ) -> list[Delivery]:
        """Store a mail, and return its deliveries in order."""
        kind = EmailMultiAlternatives if html else EmailMessage
        mail = kind(subject, _TEXT, SENDER, to, connection=get_connection())
        mail.mailer = "default"  # type: ignore[attr-defined]
        if html:
            mail.attach_alternative(html, "text/html")  # type: ignore[attr-defined]
        for attachment in attachments or ():
            mail.attach(*attachment)
        mail.tags = ["shop"]  # type: ignore[attr-defined]
        assert mail.send() == 1
        message = mail.smtpx  # type: ignore[attr-defined]
        at = self.ago(**age)
        number = Message.objects.count()
        Message.objects.filter(pk=message.pk).update(
            mailer=mailer,
            created_at=at,
            uuid=f"0197f3a0-0000-7000-8000-{number:012x}",
            message_id=f"<{number:04}.{1760000000 + number}@bluedoor.example>",
        )
        message.deliveries.update(mailer=mailer, age_from=at, next_attempt_at=at)
        return list(message.deliveries.order_by("pk"))

    def _try(self, row: Delivery, at: datetime, **values: Any) -> None:
        """Store an attempt, by default one that was taken, and what the delivery knows of it."""
        defaults: dict[str, Any] = {
            "number": 1,
            "duration": 0.42,
            "outcome": "sent",
            "category": "ok",
            "action": "none",
            "phase": "eod",
            "command": "DATA",
            "host": f"mx1.{row.domain}" if len(row.domain) < 20 else "mx.example.org",
            "ip": "192.0.2.25",
            "port": 25,
            "tls": TLS,
            "tls_verified_by": "pkix",
        }
        made = Attempt.objects.create(delivery=row, started_at=at, **{**defaults, **values})
        for name in ("category", "phase", "code", "enhanced_code", "reply", "host"):
            setattr(row, name, getattr(made, name))
        row.attempt_count = row.step = made.number

    def _end(
        self, row: Delivery, status: str, at: datetime | None, *, settled: bool = True
    ) -> None:
        row.status, row.settled_at = status, at
        if status not in (Status.QUEUED, Status.DEFERRED):
            row.lane, row.next_attempt_at = Lane.OUT, None
        row.save()
        if settled:
            Message.objects.filter(pk=row.message_id).update(settled_at=at)

    # -- what is counted -----------------------------------------------------

    def tallies(self) -> None:
        """Count two weeks of attempts, more of them by day than by night, and a bad hour."""
        this_hour = self.now.replace(minute=0, second=0)
        rows = []
        for age in range(14 * 24):
            hour = this_hour - timedelta(hours=age)
            sent = round(40 + 260 * max(0.0, sin((hour.hour - 6) / 16 * pi))) + age * 7 % 23
            worst = age == 9
            for outcome, category, count in (
                ("sent", "ok", sent // (8 if worst else 1)),
                ("deferred", "greylisted", sent // 31),
                ("deferred", "timeout", sent if worst else 0),
                ("failed", "mailbox_unknown", sent // 47),
                ("failed", "spam", age % 3 == 0),
                ("unknown", "unknown_outcome", age % 29 == 5),
            ):
                values = {"hour": hour, "mailer": "default", "outcome": outcome}
                buckets = (2, 3, 4, 9) if outcome == "sent" else (0,)
                rows += [
                    Tally(category=category, bucket=bucket, count=count // len(buckets), **values)
                    for bucket in buckets
                    if count // len(buckets)
                ]
        Tally.objects.bulk_create(rows)
        TallyMark.objects.create(counted_until=self.ago(minutes=1), next_until=self.now)
        Turn.objects.create(name="sweep", taken_at=self.ago(seconds=6))

    # -- what rests ----------------------------------------------------------

    def routes(self) -> dict[str, Any]:
        """Store what rests and who is on the list."""
        held = Route.objects.create(
            mailer="newsletter",
            state="held",
            category="auth_failed",
            pause_reason="auth 535 5.7.8 Error: authentication failed: (reason unavailable)",
            consecutive_failures=2,
            paused_until=self.now + timedelta(minutes=25),
        )
        paused = Route.objects.create(
            mailer="direct",
            domain="example.org",
            state="paused",
            category="unreachable",
            pause_reason="connect: no route to host (mx1.example.org, mx2.example.org)",
            consecutive_failures=4,
            paused_until=self.now + timedelta(minutes=8),
        )
        slow = Route.objects.create(
            mailer="direct",
            domain="example.com",
            slow_limit=0.5,
            slow_step=0.1,
            slow_since=self.ago(minutes=30),
            concurrency=3.0,
        )
        open_ = Route.objects.create(mailer="default")
        credential = RefusedCredential.objects.create(
            mailer="newsletter",
            mac="0" * 64,
            refusals=2,
            refused_at=self.ago(minutes=35),
            next_probe_at=self.now + timedelta(minutes=25),
        )
        policy = StoredPolicy.objects.create(
            domain="example.com",
            mode="enforce",
            mx="*.example.com",
            max_age=604800,
            policy_id="20260301",
            fetched_at=self.ago(days=1),
            expires_at=self.now + timedelta(days=6),
            tried_at=self.ago(days=1),
            next_try_at=self.now + timedelta(days=1),
        )
        refusal = Attempt.objects.filter(category="mailbox_unknown").first()
        listed = Suppression.objects.create(
            address="gone@example.net",
            reason="550 5.1.1 No such user here (mx.example.net)",
            category="mailbox_unknown",
            created_at=self.ago(days=3),
            attempt=refusal,
        )
        Suppression.objects.create(
            address="never@example.org",
            reason="Asked on the phone not to be written to.",
            created_at=self.ago(days=12),
            expires_at=self.now + timedelta(days=90),
        )
        return {
            "held_route": held.pk,
            "paused_route": paused.pk,
            "slow_route": slow.pk,
            "open_route": open_.pk,
            "credential": credential.pk,
            "policy": policy.pk,
            "suppression": listed.pk,
            **self._webhooks(),
        }

    def _webhooks(self) -> dict[str, int]:
        """Store a webhook that is disabled, and what waits for it."""
        hook = WebhookEndpoint.objects.create(
            name="crm",
            disabled_at=self.ago(hours=2),
            failing_since=self.ago(hours=26),
            failures=57,
            error="HTTP 503 Service Unavailable",
        )
        event = WebhookEvent.objects.create(
            endpoint="crm",
            delivery_key=Delivery.objects.values_list("pk", flat=True)[0],
            event="sent",
            body='{"type":"delivery.sent"}',
            created_at=self.ago(hours=3),
            next_attempt_at=self.ago(hours=2),
            attempts=4,
            error="HTTP 503 Service Unavailable",
        )
        return {"webhook": hook.pk, "event": event.pk}


_TEXT = """Dear reader,

thank you for your order. The invoice is attached; the books leave the shop
tomorrow morning.

Yours,
Blue Door Books
"""
_INVOICE = f"""<!doctype html>
<html><body style="font-family: Georgia, serif; color: #222; background: #fff">
<img src="{REMOTE}logo.png" alt="Blue Door Books" width="120" height="40">
<h1 style="color: #1b4f8a">Invoice 2026-117</h1>
<p>Dear reader, thank you for your order. The books leave the shop tomorrow morning.</p>
<table style="border-collapse: collapse" cellpadding="6">
<tr style="background: #e8eef6"><th align="left">Title</th><th align="right">Price</th></tr>
<tr><td>The Magic Mountain</td><td align="right">€ 24.00</td></tr>
<tr><td>To the Lighthouse</td><td align="right">€ 14.50</td></tr>
<tr><td><b>Total</b></td><td align="right"><b>€ 38.50</b></td></tr>
</table>
<p><a href="https://bluedoor.example/orders/1041">See your order</a></p>
</body></html>
"""
_CONVERSATION = """S: 220 mx1.example.com ESMTP
C: EHLO out.bluedoor.example
S: 250-mx1.example.com
S: 250-PIPELINING
S: 250-SIZE 52428800
S: 250-STARTTLS
S: 250 8BITMIME
C: STARTTLS
S: 220 2.0.0 Ready to start TLS
[TLSv1.3 TLS_AES_256_GCM_SHA384, verified by PKIX]
C: EHLO out.bluedoor.example
C: MAIL FROM:<shop@bluedoor.example> SIZE=34211
C: RCPT TO:<accounts@example.com>
C: DATA
S: 250 2.1.0 Ok
S: 250 2.1.5 Ok
S: 354 End data with <CR><LF>.<CR><LF>
C: [34,211 bytes of content]
C: .
S: 250 2.0.0 Ok: queued as 4cXk2L3MzYz9sRv"""
