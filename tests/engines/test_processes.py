"""Processes are known by pid and start time: only the very same one is ever ended."""

import asyncio
import json
import shutil
import signal
import sys
from pathlib import Path

from restock.engines.processes import Mark, Records, alive, end, mark


async def test_a_leftover_is_ended(tmp_path: Path) -> None:
    left = await asyncio.create_subprocess_exec("sleep", "600")
    records = Records(tmp_path)
    records.note("auth", left.pid)
    assert await asyncio.to_thread(records.end_all) == ["auth"]
    assert await left.wait() == -signal.SIGTERM
    assert records.names() == []


async def test_another_process_with_the_same_pid_is_left_alone(tmp_path: Path) -> None:
    innocent = await asyncio.create_subprocess_exec("sleep", "600")
    records = Records(tmp_path)
    records.note("auth", innocent.pid)
    path = tmp_path / "auth.json"
    written = json.loads(path.read_text())
    boot, _, tick = written["began"].rpartition(" ")
    path.write_text(json.dumps({**written, "began": f"{boot} {int(tick) - 1}"}))
    assert records.find("auth") is None
    assert await asyncio.to_thread(records.end_all) == []
    assert innocent.returncode is None
    found = mark(innocent.pid)
    assert found is not None
    assert alive(found)
    innocent.kill()
    await innocent.wait()


async def test_a_copy_of_the_directory_has_no_processes(tmp_path: Path) -> None:
    innocent = await asyncio.create_subprocess_exec("sleep", "600")
    (tmp_path / "run").mkdir()
    Records(tmp_path / "run").note("auth", innocent.pid)
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    records = Records(tmp_path / "copy")
    assert records.find("auth") is None
    assert await asyncio.to_thread(records.end_all) == []
    assert innocent.returncode is None
    (tmp_path / "run").rename(tmp_path / "elsewhere")
    assert Records(tmp_path / "elsewhere").find("auth") is not None
    innocent.kill()
    await innocent.wait()


async def test_one_that_does_not_listen_is_killed() -> None:
    deaf = await asyncio.create_subprocess_exec(
        "/bin/sh",
        "-c",
        "trap '' TERM; echo up; while :; do sleep 0.01; done",
        stdout=asyncio.subprocess.PIPE,
    )
    assert deaf.stdout is not None
    await deaf.stdout.readline()
    found = mark(deaf.pid)
    assert found is not None
    await asyncio.to_thread(end, [found], [(signal.SIGTERM, 0.05), (signal.SIGKILL, 5.0)])
    assert await deaf.wait() == -signal.SIGKILL


def test_what_is_gone_or_unreadable_is_nothing(tmp_path: Path) -> None:
    records = Records(tmp_path)
    (tmp_path / "auth.json").write_text("{")
    (tmp_path / "nats.json").write_text(json.dumps({"pid": 2**22 + 1, "began": "x 1"}))
    assert records.find("auth") is None
    assert records.find("nats") is None
    assert not alive(Mark(2**22 + 1, "x 1"))


def test_engines_are_ended_last(tmp_path: Path) -> None:
    for name in ("postgres", "auth", "nats", "vendor"):
        (tmp_path / f"{name}.json").write_text("{}")
    assert Records(tmp_path).names() == ["auth", "vendor", "nats", "postgres"]


async def test_a_child_ends_when_its_parent_is_killed() -> None:
    child = (
        "import os, signal, sys; from restock.engines.processes import end_with_parent; "
        "end_with_parent(int(sys.argv[1])); print(os.getpid(), flush=True); signal.pause()"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        "import os, subprocess, sys; "
        f"subprocess.run([sys.executable, '-c', {child!r}, str(os.getpid())])",
        stdout=asyncio.subprocess.PIPE,
    )
    assert parent.stdout is not None
    found = mark(int(await parent.stdout.readline()))
    assert found is not None
    parent.kill()
    # The child holds the other end of the pipe: it closes when the child is gone.
    assert await parent.stdout.read() == b""
    await parent.wait()
    while alive(found):
        await asyncio.sleep(0)
