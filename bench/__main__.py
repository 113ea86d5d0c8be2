"""`python -m bench`: ask the questions, show and keep what came out."""

import asyncio
import os
import resource
import signal
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench import report
from bench.effort import FULL, QUICK, Effort
from bench.failures import BenchFailed
from bench.figures import Line
from bench.machine import describe
from bench.questions import QUESTIONS
from bench.stage import Stage
from bench.wrk import require_wrk

QUIET = 1.0  # load average above which figures say little
MANY_FILES = 65_536


@click.command()
@click.argument("questions", nargs=-1, type=click.Choice(list(QUESTIONS)))
@click.option("--full", is_flag=True, help="Five alternations and all sizes, nearly an hour.")
@click.option(
    "--peer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The NestJS system's directory, with its run.sh.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Alternations, instead of the usual.")
@click.option("--seconds", type=click.IntRange(min=1), help="Of each run under load.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where figures are kept.")
@click.option("--readme/--no-readme", default=None, help="Put the table into bench/README.md.")
def main(
    questions: tuple[str, ...],
    full: bool,
    peer: Path | None,
    rounds: int | None,
    seconds: int | None,
    file: Path | None,
    readme: bool | None,
) -> None:
    """Ask all QUESTIONS, or those named.

    A full run of all of them writes its table into bench/README.md.
    """
    effort = FULL if full else QUICK
    effort = replace(effort, rounds=rounds or effort.rounds, seconds=seconds or effort.seconds)
    names = list(questions) or list(QUESTIONS)
    _allow_many_files()
    console = Console(width=max(160, Console().width))
    try:
        require_wrk()
        about, lines, runs = asyncio.run(_ask(names, effort, peer, console))
    except BenchFailed as failure:
        raise click.ClickException(str(failure)) from failure
    report.show(console, lines)
    file = file or report.RESULTS / f"{effort.name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(report.as_json(about, lines, runs))
    if readme if readme is not None else full and not questions:
        report.write_readme(report.as_markdown(about, lines))
    missed = [line for line in lines if line.reached is False]
    console.print(f"{len(missed)} of {sum(line.reached is not None for line in lines)} missed; "
                  f"every run is in {file}")  # fmt: skip
    sys.exit(0)


async def _ask(
    names: list[str], effort: Effort, peer: Path | None, console: Console
) -> tuple[dict[str, Any], list[Line], dict[str, Any]]:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    about = describe() | {
        "effort": effort.name,
        "rounds": effort.rounds,
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        "load_average": os.getloadavg(),
    }
    if about["load_average"][0] > QUIET:
        console.print(f"load average {os.getloadavg()[0]:.1f}: others work here too", style="bold")
    stage = Stage(effort, peer)
    lines: list[Line] = []
    try:
        for name in names:
            began = time.monotonic()
            lines += await QUESTIONS[name](stage)
            console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
    finally:
        await stage.strike()
    shares = [
        run["cost"]["elsewhere"] for runs in stage.runs.values() for run in runs if "cost" in run
    ]
    about["elsewhere"] = statistics.median(shares) if shares else 0.0
    return about, lines, stage.runs


def _allow_many_files() -> None:
    """10,000 sockets are as many files in the client, and twice as many in Envoy."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, MANY_FILES), hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return


if __name__ == "__main__":
    main()
