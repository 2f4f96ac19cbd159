"""The filters beside the lists."""

from __future__ import annotations

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from django_smtpx.admin.filters import used_mailers
from tests.admin import rows

pytestmark = pytest.mark.django_db


def test_used_mailers():
    """Each mailer that has mail is named once, the nameless one too."""
    assert list(used_mailers()) == []
    for name in ("b", "a", "b", ""):
        rows.message(mailer=name)
    assert list(used_mailers()) == ["", "a", "b"]


def test_used_mailers_cost_a_step_each():
    """One statement a mailer and one more, each along an index, however many messages there are."""
    for name in ("a", "b", "a", "a"):
        rows.message(mailer=name)
    with CaptureQueriesContext(connection) as queries:
        list(used_mailers())
    assert len(queries) == 3
    if connection.vendor == "sqlite":
        with connection.cursor() as cursor:
            cursor.execute("EXPLAIN QUERY PLAN " + queries[1]["sql"])
            assert "USING COVERING INDEX" in str(cursor.fetchall())
