"""What a process does about its memory."""

import asyncio
import gc
import subprocess
import sys
from collections.abc import Iterator

import pytest

from restock.kernel.memory import GARBAGE_AFTER, put_aside

A_BURST = """
import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from argon2.low_level import Type, hash_secret

from restock.kernel import memory

MIB = 1024 * 1024


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 // MIB


def work():
    hash_secret(b"word", b"saltsalt", 1, 19 * 1024, 1, 32, Type.ID)


async def main():
    memory.GIVE_BACK_EVERY_S = 0.01
    giving_back, stop = memory.GivingBack(), asyncio.Event()
    with ThreadPoolExecutor(1) as threads:
        before = resident()
        for _ in range(3):
            threads.submit(work).result()
        print("kept", resident() - before)
        running = asyncio.create_task(giving_back.run(stop))
        async with asyncio.timeout(20):
            while resident() - before > 5:
                await asyncio.sleep(0.01)
        print("given back")
        stop.set()
        await running


asyncio.run(main())
"""


@pytest.fixture
def _collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


@pytest.mark.usefixtures("_collector")
def test_what_was_there_is_put_aside_and_what_is_new_is_not() -> None:
    put_aside()
    assert gc.get_threshold() == GARBAGE_AFTER
    assert gc.get_freeze_count() > len(gc.get_objects())


async def test_what_a_burst_took_is_given_back() -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", A_BURST, stdout=subprocess.PIPE
    )
    said, _ = await process.communicate()
    assert process.returncode == 0
    kept, given_back = said.decode().splitlines()
    assert int(kept.split()[1]) > 15
    assert given_back == "given back"
