"""A day with twenty thousand messages; at its end everything is where it should be."""

from __future__ import annotations

import os
import time

import pytest

from tests.simulation.day import SMALL, WHOLE, Day, tally
from django_smtpx.models import Attempt, Delivery
from tests.simulation.oracle import Oracle
from collections import Counter

SEED = int(os.environ.get("SMTPX_DAY_SEED", "1"))

@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("size", [SMALL, pytest.param(WHOLE, marks=[pytest.mark.exhaustive, pytest.mark.timeout(600)])], ids=["small", "whole"])
def test_explore(size, monkeypatch):
    t = time.perf_counter()
    day = Day(size, SEED)
    day.run(monkeypatch)
    print("wall", time.perf_counter() - t, "drains", day.drains)
    o = Oracle()
    exp = {}
    for mail in day.every_mail:
        for r in mail.recipients:
            exp[mail.number, r] = (mail, o.expected(mail, r, day.world.place_of(mail, r)))
    rows = Delivery.objects.select_related("message")
    print(Attempt.objects.count(), sum(e.attempts for _, e in exp.values()), len(exp), rows.count())
    bad = Counter(); ours = Counter(); theirs = Counter(); shown = Counter(); late = Counter()
    for row in rows:
        mail, e = exp[row.message.metadata["number"], row.recipient]
        place = day.world.place_of(mail, row.recipient)
        kind = place.word
        ours[kind] += row.attempt_count; theirs[kind] += e.attempts
        taken = place.taken[mail.number, row.recipient]
        at = place.taken_at.get((mail.number, row.recipient))
        wrong = []
        if row.status not in e.statuses: wrong.append(f"status {row.status} for {sorted(e.statuses)}")
        if not e.taken[0] <= taken <= e.taken[1]: wrong.append(f"taken {taken} for {e.taken}")
        if at is not None and at < e.not_before - 1e-6: wrong.append("early")
        if at is not None and at > e.by: wrong.append("late")
        for w in wrong:
            bad[kind, w] += 1
            if shown[kind, w] < 3:
                shown[kind, w] += 1
                print(kind, w, mail, row.recipient, row.attempt_count, row.category, row.reply, row.next_attempt_at, at, e, list(row.attempts.values_list("started_at", "category", "phase", "code"))[:6])
    print(bad)
    for k in ours: print(f"{k:40} {ours[k]} {theirs[k]} {ours[k]/theirs[k]:.2f}")
    print(tally(rows.values_list("status", flat=True)))
    for p in day.world.places.values():
        if p.most > 4 or p.refused: print(p.name, p.word, "most", p.most, dict(p.refused), "connected", len(p.connected), "contents", len(p.contents), p.most_within(60), len(getattr(p, "knocked", ())))
