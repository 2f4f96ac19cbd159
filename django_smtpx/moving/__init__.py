"""Mail that waits in the queue of another package, moved into this one: each once.

A batch is one transaction: rows of the other queue are locked, their mails are stored, and the
rows are taken out of that queue. Whatever ends it in between (a kill, a full disk) leaves them
where they were. Where the other queue is in a database of its own its rows are taken out after ours
are committed, and an idempotency key keeps the next run from storing them twice.

A worker of the other queue must not run meanwhile: its lock is taken (:class:`Busy`), and rows that
it holds are left alone, as far as it has locks at all. What cannot be moved stays where it is, with
the reason.
"""

from django_smtpx.moving.django_mailer import DjangoMailer
from django_smtpx.moving.post_office import PostOffice
from django_smtpx.moving.queues import MOVED_FROM, Busy, NotInstalled, Queue, Sleep
from django_smtpx.moving.steps import Left, Moved, move

QUEUES: dict[str, type[Queue]] = {queue.name: queue for queue in (PostOffice, DjangoMailer)}

__all__ = [
    "MOVED_FROM",
    "QUEUES",
    "Busy",
    "Left",
    "Moved",
    "NotInstalled",
    "Queue",
    "Sleep",
    "move",
]
