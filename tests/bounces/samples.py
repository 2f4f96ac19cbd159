"""Reports in the shapes of the servers that write most of them, and mails that only look so."""

from __future__ import annotations

TO = "bounce@site.example"


def postfix(
    to=TO,
    recipient="ann@example.com",
    *,
    status="5.1.1",
    diagnostic=None,
    action="failed",
    extra="",
    date="Sun, 22 Nov 2026 12:00:05 +0000 (UTC)",
):
    """Return a report of Postfix's bounce daemon."""
    said = (
        diagnostic
        or f"smtp; {'550' if status[0] == '5' else '450'} {status} <{recipient}>: Recipient address rejected:\n    User unknown in virtual mailbox table"
    )
    return f"""\
Return-Path: <>
Delivered-To: {to}
Received: by mx.site.example (Postfix)
\tid 4Cfx1y2z3w; {date}
Date: {date}
From: MAILER-DAEMON@mx.site.example (Mail Delivery System)
Subject: Undelivered Mail Returned to Sender
To: {to}
Auto-Submitted: auto-replied
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="4Cfx1y0abc.1764072000/mx.site.example"
Content-Transfer-Encoding: 8bit
Message-Id: <20261122120005.4Cfx1y2z3w@mx.site.example>

This is a MIME-encapsulated message.

--4Cfx1y0abc.1764072000/mx.site.example
Content-Description: Notification
Content-Type: text/plain; charset=us-ascii

This is the mail system at host mx.site.example.

I'm sorry to have to inform you that your message could not
be delivered to one or more recipients. It's attached below.

--4Cfx1y0abc.1764072000/mx.site.example
Content-Description: Delivery report
Content-Type: message/delivery-status

Reporting-MTA: dns; mx.site.example
X-Postfix-Queue-ID: 4Cfx1y0abc
X-Postfix-Sender: rfc822; {to}
Arrival-Date: Sun, 22 Nov 2026 12:00:00 +0000 (UTC)

Final-Recipient: rfc822; {recipient}
Original-Recipient: rfc822;{recipient}
Action: {action}
Status: {status}
Remote-MTA: dns; mail.example.com
Diagnostic-Code: {said}
{extra}
--4Cfx1y0abc.1764072000/mx.site.example
Content-Description: Undelivered Message Headers
Content-Type: text/rfc822-headers

From: shop@site.example
To: {recipient}
Subject: Your order

--4Cfx1y0abc.1764072000/mx.site.example--
""".encode()


EXIM = b"""\
Return-path: <>
Envelope-to: bounce@site.example
Delivery-date: Sun, 22 Nov 2026 12:00:03 +0000
X-Failed-Recipients: ann@example.com
Auto-Submitted: auto-replied
From: Mail Delivery System <Mailer-Daemon@relay.example.net>
To: bounce@site.example
References: <1@site.example>
Content-Type: multipart/report; report-type=delivery-status; boundary=1764072003-eximdsn-1804289383
MIME-Version: 1.0
Subject: Mail delivery failed: returning message to sender
Message-Id: <E1rABC-0001Xy-2Z@relay.example.net>
Date: Sun, 22 Nov 2026 12:00:03 +0000

--1764072003-eximdsn-1804289383
Content-type: text/plain; charset=us-ascii

This message was created automatically by mail delivery software.

--1764072003-eximdsn-1804289383
Content-type: message/delivery-status

Reporting-MTA: dns; relay.example.net

Action: failed
Final-Recipient: rfc822;ann@example.com
Status: 5.0.0
Remote-MTA: dns; mx1.example.com
Diagnostic-Code: smtp; 552-5.2.2 The mailbox is over its quota.
 552 5.2.2 Ask the recipient to make room.

--1764072003-eximdsn-1804289383
Content-type: message/rfc822

Return-path: <bounce@site.example>
Subject: Your order

Hello
--1764072003-eximdsn-1804289383--
"""

SENDMAIL = b"""\
From MAILER-DAEMON Sun Nov 22 12:00:07 2026
Received: from localhost (localhost) by relay.example.net (8.17.1/8.17.1) id xAMC07;
\tSun, 22 Nov 2026 12:00:07 GMT
Date: Sun, 22 Nov 2026 12:00:07 GMT
From: Mail Delivery Subsystem <MAILER-DAEMON@relay.example.net>
Message-Id: <202611221200.xAMC07@relay.example.net>
To: <bounce@site.example>
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status;
\tboundary="xAMC07.1764072007/relay.example.net"
Subject: Returned mail: see transcript for details
Auto-Submitted: auto-generated (failure)

This is a MIME-encapsulated message

--xAMC07.1764072007/relay.example.net

The original message was received at Sun, 22 Nov 2026 12:00:05 GMT

   ----- The following addresses had permanent fatal errors -----
<ann@example.com>
    (reason: 550 5.1.1 <ann@example.com>... User unknown)

--xAMC07.1764072007/relay.example.net
Content-Type: message/delivery-status

Reporting-MTA: dns; relay.example.net
Received-From-MTA: DNS; site.example
Arrival-Date: Sun, 22 Nov 2026 12:00:05 GMT

Original-Recipient: rfc822;ann@example.com
Final-Recipient: RFC822; ann.smith@inner.example.com
Action: failed
Status: 5.1.1
Remote-MTA: DNS; inner.example.com
Diagnostic-Code: SMTP; 550 5.1.1 <ann.smith@inner.example.com>... User unknown
Last-Attempt-Date: Sun, 22 Nov 2026 12:00:06 GMT

Original-Recipient: rfc822;bob@example.com
Final-Recipient: RFC822; bob@example.com
Action: failed
Status: 5.2.0
Diagnostic-Code: X-Unix; 77

--xAMC07.1764072007/relay.example.net
Content-Type: text/rfc822-headers

Subject: Your order

--xAMC07.1764072007/relay.example.net--
"""

EXCHANGE = b"""\
From: <postmaster@example.com>\r
To: <bounce@site.example>\r
Date: Sun, 22 Nov 2026 12:00:09 +0000\r
Content-Type: multipart/report; report-type=delivery-status;\r
\tboundary="9b8c7d6e-5f4a-4b3c-8d2e-1f0a9b8c7d6e"\r
Content-Language: en-US\r
Message-ID: <9b8c@AM0PR01MB0001.eurprd01.prod.example.com>\r
Subject: Undeliverable: Your order\r
Auto-Submitted: auto-replied\r
MIME-Version: 1.0\r
\r
--9b8c7d6e-5f4a-4b3c-8d2e-1f0a9b8c7d6e\r
Content-Type: multipart/alternative; differences=Content-Type;\r
\tboundary="inner"\r
\r
--inner\r
Content-Type: text/plain; charset="us-ascii"\r
\r
Your message to ann@example.com couldn't be delivered.\r
\r
--inner--\r
\r
--9b8c7d6e-5f4a-4b3c-8d2e-1f0a9b8c7d6e\r
Content-Type: message/delivery-status\r
\r
Reporting-MTA: dns;AM0PR01MB0001.eurprd01.prod.example.com\r
Received-From-MTA: dns;out.site.example\r
Arrival-Date: Sun, 22 Nov 2026 12:00:08 +0000\r
\r
Original-Recipient: rfc822;ann@example.com\r
Final-Recipient: rfc822;ann@example.com\r
Action: failed\r
Status: 5.1.10\r
Diagnostic-Code: smtp;550 5.1.10 RESOLVER.ADR.RecipientNotFound; Recipient ann@example.com not found by SMTP address lookup\r
\r
\r
--9b8c7d6e-5f4a-4b3c-8d2e-1f0a9b8c7d6e\r
Content-Type: message/rfc822\r
\r
Subject: Your order\r
\r
Hello\r
--9b8c7d6e-5f4a-4b3c-8d2e-1f0a9b8c7d6e--\r
"""

GMAIL = b"""\
Delivered-To: bounce@site.example
Received: by 2002:a05:6000:1 with SMTP id x1; Sun, 22 Nov 2026 04:00:11 -0800 (PST)
From: Mail Delivery Subsystem <mailer-daemon@googlemail.com>
To: bounce@site.example
Auto-Submitted: auto-replied
Subject: Delivery Status Notification (Failure)
Message-ID: <64f@mx.google.com>
Date: Sun, 22 Nov 2026 04:00:11 -0800 (PST)
Content-Type: multipart/report; boundary="0000000000000a1b2c05"; report-type=delivery-status

--0000000000000a1b2c05
Content-Type: multipart/related; boundary="0000000000000a1b2c08"

--0000000000000a1b2c08
Content-Type: text/plain; charset="UTF-8"

** Address not found **

--0000000000000a1b2c08--
--0000000000000a1b2c05
Content-Type: message/delivery-status

Reporting-MTA: dns; googlemail.com
Arrival-Date: Sun, 22 Nov 2026 04:00:10 -0800 (PST)
X-Original-Message-ID: <1@site.example>

Final-Recipient: rfc822; ann@example.com
Action: failed
Status: 5.1.1
Remote-MTA: dns; gmail-smtp-in.l.google.com. (2a00:1450::1a, the server for the domain example.com.)
Diagnostic-Code: smtp; 550-5.1.1 The email account that you tried to reach does not exist. Please try
 550-5.1.1 double-checking the recipient's email address for typos or
 550 5.1.1 unnecessary spaces. x1-20020a05si1.1 - gsmtp
Last-Attempt-Date: Sun, 22 Nov 2026 04:00:11 -0800 (PST)

--0000000000000a1b2c05
Content-Type: message/rfc822

Subject: Your order

--0000000000000a1b2c05--
"""

QMAIL = b"""\
Return-Path: <>
Delivered-To: bounce@site.example
Date: 22 Nov 2026 12:00:13 -0000
From: MAILER-DAEMON@relay.example.net
To: bounce@site.example
Subject: failure notice

Hi. This is the qmail-send program at relay.example.net.
I'm afraid I wasn't able to deliver your message to the following addresses.
This is a permanent error; I've given up. Sorry it didn't work out.

<ann@example.com>:
Sorry, no mailbox here by that name. (#5.1.1)
"""

OUT_OF_OFFICE = b"""\
From: ann@example.com
To: bounce@site.example
Subject: Out of office
Auto-Submitted: auto-replied
Content-Type: text/plain

I am away.
"""

READ_RECEIPT = b"""\
From: ann@example.com
To: bounce@site.example
Content-Type: multipart/report; report-type=disposition-notification; boundary=b

--b
Content-Type: message/disposition-notification

Final-Recipient: rfc822; ann@example.com
Disposition: manual-action/MDN-sent-manually; displayed
--b--
"""


def report(
    *groups,
    to=TO,
    head="Reporting-MTA: dns; mx.example.com",
    kind="message/delivery-status",
    more="",
):
    """Return a small report with these groups of fields, one a recipient."""
    status = "\n\n".join((head, *groups))
    return f"""\
To: {to}
Date: Sun, 22 Nov 2026 12:00:00 +0000
MIME-Version: 1.0
Content-Type: multipart/report; report-type=delivery-status; boundary=b

--b
Content-Type: {kind}
{more}
{status}

--b--
""".encode()


def fate(recipient="ann@example.com", action="failed", status="5.1.1", **fields):
    """Return a group of fields."""
    lines = [f"Final-Recipient: rfc822; {recipient}", f"Action: {action}", f"Status: {status}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return "\n".join(lines)
