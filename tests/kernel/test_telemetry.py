"""Logs: what must never be in them."""

import subprocess
import sys

import pytest

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
