"""What the outbox costs at least: its statements and its bytes, and nothing around them.

A mail is stored by one statement, and not composed. Of a hundred that are claimed, twenty at a
time are marked and sent over a bare socket, in one connection and with PIPELINING, and settled
as the next are marked. No reply is looked at, and nothing is decided: this is not an outbox, and
no figure of one can be better on the same machine.
"""

from __future__ import annotations

import socket
import uuid
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from django.core.mail.backends.base import BaseEmailBackend
from django.db import connection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from django.core.mail import EmailMessage

CLAIMED = 100
CHUNK = 20

STORE = """
WITH parent AS (
    INSERT INTO django_smtpx_message (uuid, mailer, mode, message_id, envelope_sender, from_header,
        subject, size, recipient_count, require_tls, priority, tags, metadata, traceparent,
        created_at)
    VALUES (%s, 'default', 'queue', %s, 'sender@example.com', %s, %s, %s, 1, false, 0, '[]', '{}',
        '', now())
    RETURNING id
), content AS (
    INSERT INTO django_smtpx_content (message_id, data, large_size, storage, name)
    SELECT id, %s, 0, '', '' FROM parent
), delivery AS (
    INSERT INTO django_smtpx_delivery (message_id, mailer, destination, priority, recipient,
        domain, status, category, attempt_count, next_attempt_at, phase, enhanced_code, reply, host,
        lane, age_from, step, unknowns, marked, leases_lost, delay_notice_at)
    SELECT id, 'default', '', 0, %s, 'example.net', 'queued', '', 0, now(), '', '', '', '',
        1, now(), 0, 0, false, 0, now() FROM parent
)
SELECT id FROM parent
"""
CLAIM = """
WITH free AS (
    SELECT id FROM django_smtpx_delivery
    WHERE NOT lane <= 0 AND lane = 1 AND mailer = 'default' AND destination = ''
    ORDER BY priority DESC, id LIMIT %s FOR UPDATE SKIP LOCKED
)
UPDATE django_smtpx_delivery
SET lane = -1, status = 'sending', lease_token = %s, lease_expires_at = now()
WHERE id = ANY(ARRAY(SELECT id FROM free)) RETURNING id, message_id, recipient
"""
READ = "SELECT message_id, data FROM django_smtpx_content WHERE message_id = ANY(%s)"
MARK = "UPDATE django_smtpx_delivery SET marked = true WHERE id = ANY(%s) AND lease_token = %s"
SETTLE = f"""
WITH met AS (
    UPDATE django_smtpx_delivery SET status = 'sent', category = 'ok', settled_at = now(),
        phase = 'eod', code = 250, enhanced_code = '2.0.0', reply = 'Ok', host = '127.0.0.1',
        lease_token = NULL, lease_expires_at = NULL, marked = false, next_attempt_at = NULL,
        delay_notice_at = NULL, attempt_count = attempt_count + 1
    WHERE id = ANY(%s) AND lease_token = %s RETURNING id, attempt_count
), attempt AS (
    INSERT INTO django_smtpx_attempt (delivery_id, number, started_at, duration, outcome, category,
        action, rule, phase, command, code, enhanced_code, reply, host, ip, port, tls,
        tls_verified_by, transcript)
    SELECT id, attempt_count, now(), 0.001, 'sent', 'ok', 'none', '', 'eod', 'DATA', 250, '2.0.0',
        'Ok', '127.0.0.1', '127.0.0.1', 25, '', '', '' FROM met
), message AS (
    UPDATE django_smtpx_message SET settled_at = now() WHERE id = ANY(%s)
), next AS ({MARK})
SELECT count(*) FROM met
"""


class Backend(BaseEmailBackend):
    """Stores the texts of a mail as if they were its content."""

    def send_messages(self, email_messages: Sequence[EmailMessage]) -> int:
        """Store each by one statement."""
        for email in email_messages:
            parts = (email.body, *(content for content, _ in getattr(email, "alternatives", ())))
            content = "\r\n".join(map(str, parts)).replace("\n", "\r\n").encode()
            name = uuid.uuid4()
            values = (
                *(name, f"<{name}@localhost>", email.from_email, email.subject, len(content)),
                *(content, email.to[0]),
            )
            with connection.cursor() as cursor:
                cursor.execute(STORE, values)
        return len(email_messages)


def drain(address: tuple[str, int]) -> None:
    """Send all that is stored."""
    token = uuid.uuid4()
    with connection.cursor() as cursor:
        while claimed := _all(cursor, CLAIM, CLAIMED, token):
            contents = dict(_all(cursor, READ, [message for _, message, _ in claimed]))
            mails = [
                (key, message, recipient, bytes(contents[message]))
                for key, message, recipient in claimed
            ]
            chunks = [mails[at : at + CHUNK] for at in range(0, len(mails) + CHUNK, CHUNK)]
            cursor.execute(MARK, ([key for key, *_ in chunks[0]], token))
            with socket.create_connection(address) as sock:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _replies(sock, 1)
                _say(sock, b"EHLO localhost\r\n")
                for chunk, following in pairwise(chunks):
                    _send(sock, chunk)
                    keys = [key for key, *_ in chunk]
                    messages = [message for _, message, *_ in chunk]
                    marked = [key for key, *_ in following]
                    cursor.execute(SETTLE, (keys, token, messages, marked, token))
                _say(sock, b"QUIT\r\n")


def _all(cursor: Any, sql: str, *values: Any) -> list[tuple[Any, ...]]:
    cursor.execute(sql, values)
    rows: list[tuple[Any, ...]] = cursor.fetchall()
    return rows


def _send(sock: socket.socket, mails: Sequence[tuple[int, int, str, bytes]]) -> None:
    """Send mails as the outbox does: each one's commands behind the content before it."""
    groups = [_group(recipient, content) for *_, recipient, content in mails]
    sock.sendall(groups[0])
    _replies(sock, 3)
    for (*_, content), group in zip(mails, [*groups[1:], b""], strict=True):
        sock.sendall(content.replace(b"\r\n.", b"\r\n..") + b"\r\n.\r\n" + group)
        _replies(sock, 4 if group else 1)


def _group(recipient: str, content: bytes) -> bytes:
    return (
        f"MAIL FROM:<sender@example.com> SIZE={len(content)}\r\nRCPT TO:<{recipient}>\r\nDATA\r\n"
    ).encode()


def _say(sock: socket.socket, line: bytes) -> None:
    sock.sendall(line)
    sock.recv(65_536)


def _replies(sock: socket.socket, count: int) -> None:
    while count > 0:
        data = sock.recv(65_536)
        if not data:
            raise ConnectionError("The server hung up")
        count -= data.count(b"\n")
