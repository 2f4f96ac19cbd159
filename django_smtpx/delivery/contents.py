"""The contents of the jobs that come next: read a little ahead, and held until they are sent."""

from __future__ import annotations

from itertools import islice, takewhile
from typing import TYPE_CHECKING, BinaryIO

from django_smtpx import ledger
from django_smtpx.config import content_inline_max
from django_smtpx.delivery.jobs import Job, rows_of_jobs
from django_smtpx.delivery.opening import close, opened

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Callable

    from django_smtpx.models import Content

MAX_BYTES = 8 * 1024 * 1024
"""Small contents of jobs that are marked together, unless a single one is larger."""

AHEAD = 100
"""Jobs whose contents are read by one statement, at most: as many as one claim has."""

AHEAD_BYTES = 1024 * 1024
"""The size of what is read before it is about to be sent."""


class Contents:
    """What the jobs of ``pending`` carry; ``reading`` is called while a large one is read."""

    def __init__(self, pending: deque[Job], reading: Callable[[], None]) -> None:
        self._pending = pending
        self._reading = reading
        self._inline_max = content_inline_max()
        self._asked: set[int] = set()
        self._read: dict[int, bytes | Content] = {}
        self._open: dict[int, bytes | BinaryIO] = {}

    def __contains__(self, job: Job) -> bool:
        return job.message in self._open

    def __getitem__(self, job: Job) -> bytes | BinaryIO:
        return self._open[job.message]

    def first(self, most: int) -> list[Job]:
        """Return the jobs at the head of ``pending`` that may be marked together, ``most`` at most.

        Where a large content is the first it is alone. What has no content is among them.
        """
        jobs = self._small_or_one(0, most)
        self._open_all(jobs)
        return jobs

    def following(self, begun: int, most: int) -> list[Job]:
        """Return the jobs behind those ``begun`` that may follow them without a pause.

        None from a large content on, or from one that is gone: what becomes of those takes time.
        """
        ahead = self._head(begun, most, MAX_BYTES)
        if not ahead or self._is_large(ahead[0]):
            return []
        jobs = self._small_or_one(begun, most)
        jobs = list(takewhile(lambda job: isinstance(self._read.get(job.message), bytes), jobs))
        self._open_all(jobs)
        return jobs

    def close(self) -> None:
        """Close what is open."""
        for content in self._open.values():
            close(content)

    def _small_or_one(self, begun: int, most: int) -> list[Job]:
        """Return the jobs before the first whose content is large, or that one alone."""
        jobs = self._head(begun, most, MAX_BYTES)
        if not all(job.message in self._asked for job in jobs):
            self._read_ahead(max(jobs, self._head(begun, AHEAD, AHEAD_BYTES), key=len))
        for place, job in enumerate(jobs):
            # Where a content really is, only its row says.
            if not isinstance(self._read.get(job.message, b""), bytes):
                return jobs[: max(place, 1)]
        return jobs

    def _head(self, begun: int, most: int, most_bytes: int) -> list[Job]:
        jobs: list[Job] = []
        size = 0
        for job in islice(self._pending, begun, begun + most):
            large = self._is_large(job)
            size += job.rows[0].size
            if jobs and (large or size > most_bytes):
                break
            jobs.append(job)
            if large:
                break
        return jobs

    def _read_ahead(self, jobs: list[Job]) -> None:
        """Read the contents of ``jobs``, and forget those of jobs that are done."""
        waiting = {job.message for job in self._pending}
        for held in (self._read, self._open):
            for message in [message for message in held if message not in waiting]:
                del held[message]
        self._read.update(ledger.contents(rows_of_jobs(jobs)))
        self._asked.update(job.message for job in jobs)

    def _is_large(self, job: Job) -> bool:
        """Say whether the content is one that would be kept apart if it was stored today."""
        return job.rows[0].size > self._inline_max

    def _open_all(self, jobs: list[Job]) -> None:
        for job in jobs:
            if job.message in self._open:
                continue
            content = opened(self._read.get(job.message), self._reading)
            if content is not None:
                self._open[job.message] = content
