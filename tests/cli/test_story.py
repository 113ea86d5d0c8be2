"""What `restock up` tells: a story that can't be told stops nothing."""

import asyncio
import io
import os
import sys
from pathlib import Path

from restock.cli.story import Story
from restock.kernel.supervisor import Child, Supervisor

FULL = Path("/dev/full")  # takes no byte: ENOSPC


class Gone(io.StringIO):
    """A pipe that nobody reads any more."""

    def write(self, _text: str) -> int:
        raise BrokenPipeError(32, "Broken pipe")


async def test_a_full_disk_does_not_keep_a_child_from_being_kept(capfd) -> None:
    twice: asyncio.Future[None] = asyncio.get_running_loop().create_future()
    starts = []

    def on_started(pid: int) -> None:
        starts.append(pid)
        if len(starts) == 2 and not twice.done():
            twice.set_result(None)

    child = Child(
        name="short", argv=[sys.executable, "-c", ""], env=dict(os.environ), on_started=on_started
    )
    stop = asyncio.Event()
    running = asyncio.create_task(Supervisor([child], Story(FULL)).run(stop))
    await asyncio.wait({running, twice}, return_when=asyncio.FIRST_COMPLETED)
    assert twice.done()
    stop.set()
    await running
    assert "short ended (exit code 0)" in capfd.readouterr().err


def test_nobody_who_listens_is_no_reason_to_fall(tmp_path: Path, monkeypatch) -> None:
    story = Story(tmp_path / "up.log")
    with monkeypatch.context() as patched:
        patched.setattr(sys, "stderr", Gone())
        story.say("ready")
        story.warning("process_not_started", process="auth", error="no room")
    assert "process_not_started" in (tmp_path / "up.log").read_text()
