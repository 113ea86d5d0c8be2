"""Waiting for something, but not longer than the process means to live."""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


async def unless_stopped(stop: asyncio.Event, work: Coroutine[Any, Any, T]) -> T | None:
    """What `work` returns or raises; None when `stop` came first, and `work` is cancelled."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        stopping.cancel()
        working.cancel()
        # how the work takes its cancellation must not be reported as an error nobody looked at
        await asyncio.gather(stopping, working, return_exceptions=True)


async def pause(stop: asyncio.Event, seconds: float) -> None:
    """Wait, until `stop` at the longest."""
    try:
        async with asyncio.timeout(seconds):
            await stop.wait()
    except TimeoutError:
        pass
