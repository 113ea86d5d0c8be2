"""wrk: a closed loop of requests, made by the scripts in `lua/`."""

import asyncio
import json
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path

from bench.effort import CONNECTIONS
from bench.failures import BenchFailed
from bench.meter import Load, Look, Meter
from bench.programs import clean_environment

HERE = Path(__file__).parent / "lua"
ENDING_S = 60.0


def require_wrk() -> str:
    """The program. Raises BenchFailed when it isn't installed."""
    found = shutil.which("wrk")
    if found is None:
        raise BenchFailed(
            "wrk, which drives the load, is not installed: `apt-get install wrk` on Debian, "
            "or put a build of github.com/wg/wrk on the PATH"
        )
    return found


async def drive(
    side: str,
    url: str,
    script: str,
    settings: Mapping[str, str],
    *,
    parts: Look,
    seconds: int,
    connections: int = CONNECTIONS,
) -> Load:
    """Run a script for so many seconds, and measure what it costs the parts.

    Raises BenchFailed when any answer was not a 2xx: such a rate would compare nothing.
    """
    words = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
    process = await asyncio.create_subprocess_exec(
        *(require_wrk(), *words, "-s", str(HERE / f"{script}.lua"), url),
        env=clean_environment(
            **settings, LUA_PATH=f"{HERE}/?.lua", RUN_ID=uuid.uuid4().hex, LC_ALL="C"
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    meter = Meter(parts)
    try:
        async with asyncio.timeout(seconds + ENDING_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        raise BenchFailed(f"wrk did not end: {script} against {side}") from None
    cost = meter.read()
    try:
        found = json.loads(said.decode().strip().splitlines()[-1])
    except (ValueError, IndexError):
        raise BenchFailed(f"wrk failed: {script} against {side}\n{said.decode()}") from None
    failed = found["refused"] + found["broken"] + found["late"]
    if failed or not found["requests"]:
        raise BenchFailed(f"{script} against {side}: {failed} requests failed: {found}")
    return Load(
        side=side,
        requests=found["requests"],
        rate=found["requests"] / found["seconds"],
        cost=cost,
        p50=found["p50"],
        p99=found["p99"],
    )
