"""Logs: what must never be in them."""

import subprocess
import sys
import traceback
from pathlib import Path

import asyncpg
import pytest

import restock.kernel.telemetry  # noqa: F401

SCRIPT = """
from restock.kernel.telemetry import log, set_up_logging
set_up_logging("info", {form!r}, service="auth")
def sign_in(password):
    raise ValueError("no")
try:
    sign_in("correct horse")
except ValueError as error:
    log.error("request.failed", exc_info=error)
"""


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_traceback_shows_no_values(form: str) -> None:
    ran = subprocess.run(
        [
            sys.executable,
            "-c",
            SCRIPT.format(form=form).replace('"correct horse"', "'cor' + 'rect'"),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sign_in" in ran.stderr
    assert "correct" not in ran.stderr


@pytest.mark.parametrize("form", ["json", "text"])
def test_a_line_that_cannot_be_written_ends_nothing(form: str) -> None:
    """A full disk must not end what only wanted to tell of it."""
    script = SCRIPT.format(form=form) + "import logging\nlogging.error('x')\nprint('went on')"
    with Path("/dev/full").open("wb") as full:
        ran = subprocess.run(
            [sys.executable, "-c", script], stdout=subprocess.PIPE, stderr=full, check=False
        )
    assert ran.stdout == b"went on\n"


async def test_a_refused_row_is_in_no_traceback(postgres) -> None:
    connection = await asyncpg.connect(postgres.owner_url("auth"))
    await connection.execute("CREATE TEMP TABLE t (hash text CHECK (hash <> 'c4nary'))")
    with pytest.raises(asyncpg.CheckViolationError) as refused:
        await connection.execute("INSERT INTO t VALUES ('c4nary')")
    await connection.close()
    assert "c4nary" in refused.value.detail
    shown = "".join(traceback.format_exception(refused.value))
    assert "violates check constraint" in shown
    assert "Failing row" not in shown
