"""README's first session, pasted into a shell against a system of its own, works to the letter."""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.fixtures.ports import free_offset

ROOT = Path(__file__).parents[2]
RESTOCK = Path(sys.executable).with_name("restock")
BLOCKS = re.compile(r"```bash\n(.*?)```", flags=re.DOTALL)
IN_README = "http://127.0.0.1:3000"
PATIENCE_S = 120


@contextmanager
def _running(*arguments: str) -> Iterator[subprocess.Popen[str]]:
    """A process group of its own, ended with everything in it."""
    process = subprocess.Popen(
        arguments,
        cwd=ROOT,
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    )
    try:
        yield process
    finally:
        if process.poll() is None:
            process.terminate()
            try:
                process.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


@pytest.fixture
def url(scratch: Path) -> Iterator[str]:
    """A whole system, as `make up` starts it, on ports of its own."""
    data = scratch / "readme"
    offset = str(free_offset())
    arguments = ("up", "--data-dir", str(data), "--port-offset", offset)
    with _running(str(RESTOCK), *arguments) as system:
        assert system.stdout is not None
        line = system.stdout.readline()
        assert line.startswith("ready "), line
        yield line.split()[1]
    shutil.rmtree(data)


def test_the_first_session_works_as_written(url: str) -> None:
    text = (ROOT / "README.md").read_text()
    assert IN_README in text
    session = "".join(BLOCKS.findall(text)).replace(IN_README, url)
    with _running("bash", "-s") as shell:
        said, errors = shell.communicate(session, timeout=PATIENCE_S)
    assert shell.returncode == 0, errors
    for wanted in (
        "Ana hears new_notification: Low stock alert: Oat milk",
        "Ben hears new_notification: New contact request from Ana for 24 units",
        "Ben hears vendor_contact_request: Two crates by Friday, please",
        "Ana hears new_notification: Ben Dairy responded to your request for Oat milk",
    ):
        assert said.count(wanted) == 1, (wanted, said, errors)
    assert "Traceback" not in errors
    assert "curl:" not in errors
