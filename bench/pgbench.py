"""pgbench, running the very statement that a service runs: the limit PostgreSQL itself sets.

The statement's text and the types of its parameters are asked for when it is run. In pgbench's
prepared mode every parameter is text with a type of its own, and none can be NULL: parameters get
a cast, which costs nothing at run time, and what a request leaves out stands there as NULL.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg

from bench.effort import CONNECTIONS
from bench.failures import BenchFailed
from bench.meter import Load, Look, Meter
from bench.programs import clean_environment
from restock.engines.binaries import postgres_programs

ENDING_S = 60.0


def script(sql: str, types: Sequence[str], values: Sequence[str | None], before: str = "") -> str:
    """A pgbench script: `values` are expressions for $1, $2 …, None for NULL."""

    def value(match: re.Match[str]) -> str:
        place = int(match[1]) - 1
        return f"({values[place] or 'NULL'})::{types[place]}"

    return f"{before}{re.sub(r'[$]([0-9]+)', value, sql).strip()};\n"


async def parameter_types(url: str, sql: str) -> list[str]:
    """The types of a statement's parameters, as PostgreSQL infers them."""
    connection = await asyncpg.connect(url)
    try:
        prepared = await connection.prepare(sql)
        return [_sql_name(parameter.name) for parameter in prepared.get_parameters()]
    finally:
        await connection.close()


async def drive(
    side: str,
    url: str,
    file: Path,
    variables: Mapping[str, str],
    *,
    parts: Look,
    seconds: int,
    connections: int = CONNECTIONS,
    mode: str = "prepared",
) -> Load:
    """Run a script for so many seconds as the role of the URL. Raises BenchFailed."""
    process = await asyncio.create_subprocess_exec(
        str(postgres_programs() / "bin" / "pgbench"),
        *("-n", "-M", mode, "-c", str(connections), "-j", "1", "-T", str(seconds)),
        *(word for name, value in variables.items() for word in ("-D", f"{name}={value}")),
        *("-f", str(file)),
        env=clean_environment(
            **_connection(url),
            LC_ALL="C",
            # as the service says it: no row is visible without (decision 0020)
            PGOPTIONS=f"-c restock.workspace={variables.get('workspace', '')}",
        ),
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    meter = Meter(parts)
    async with asyncio.timeout(seconds + ENDING_S):
        output, _ = await process.communicate()
    cost = meter.read()
    said = output.decode()
    done = re.search(r"transactions actually processed: (\d+)", said)
    rate = re.search(r"tps = ([\d.]+)", said)
    failed = re.search(r"failed transactions: (\d+)", said)
    if process.returncode or not done or not rate or (failed and failed[1] != "0"):
        raise BenchFailed(f"pgbench failed: {side}\n{said[-2000:]}")
    return Load(side=side, requests=int(done[1]), rate=float(rate[1]), cost=cost)


def _sql_name(name: str) -> str:
    """asyncpg calls arrays by their element with brackets, as SQL does; some types otherwise."""
    return {"bpchar": "char"}.get(name, name)


def _connection(url: str) -> dict[str, str]:
    """libpq's variables for one of our URLs, so that no password is seen among the processes."""
    parts = urlsplit(url)
    return {
        "PGHOST": parse_qs(parts.query)["host"][0],
        "PGUSER": parts.username or "",
        "PGPASSWORD": unquote(parts.password or ""),
        "PGDATABASE": parts.path.lstrip("/"),
    }
