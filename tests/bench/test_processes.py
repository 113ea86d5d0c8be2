"""Process trees: whose time and memory is whose."""

import asyncio
import os
import sys

from bench.meter import Meter
from bench.processes import parts_of, proportional_bytes, resident_bytes, tree
from bench.restock import name_of_command

CHILD = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'input()'])"


def test_a_command_names_its_part() -> None:
    assert name_of_command(["/x/python3", "-P", "-m", "restock", "run", "auth", ""]) == "auth"
    assert name_of_command(["/x/bin/postgres", "-D", "data"]) == "postgres"
    assert name_of_command(["/x/nats-server", "-c", "f"]) == "nats"
    assert name_of_command(["/x/envoy", "--config-path", "f"]) == "envoy"
    assert name_of_command(["postgres: checkpointer "]) is None  # its parent's
    assert name_of_command([]) is None


async def test_descendants_belong_to_the_part_above_them() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", CHILD, stdin=asyncio.subprocess.PIPE
    )
    try:
        while len(tree(process.pid)) < 2:
            await asyncio.sleep(0.01)
        parts = parts_of(process.pid, lambda words: None, "all")
        assert parts == {"all": list(tree(process.pid))}
        assert tree(os.getpid())[process.pid] == os.getpid()
        assert 0 < proportional_bytes(parts["all"]) <= resident_bytes(parts["all"])
    finally:
        await process.communicate(b"\n")


async def test_what_a_child_used_counts_when_it_is_gone() -> None:
    meter = Meter(lambda: {"me": list(tree(os.getpid()))})
    work = "import time\nwhile time.process_time() < 0.2: pass"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", work)
    await process.wait()
    cost = meter.read()
    assert cost.cpu["me"] >= 0.1  # of what it was certain to use
    assert 0 <= cost.elsewhere <= 1
