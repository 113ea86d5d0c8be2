"""`python -m bench`: ask the questions, show and keep what came out."""

import asyncio
import os
import resource
import signal
import statistics
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from bench import report
from bench.effort import FULL, QUICK, Effort
from bench.failures import BenchFailed
from bench.figures import Line
from bench.machine import describe
from bench.meter import Meter
from bench.questions import QUESTIONS
from bench.stage import Stage
from bench.wrk import require_wrk

MANY_FILES = 65_536
WIDTH = 190
QUIET = 0.05  # share of the machine that others may take
LOOK_S = 2
PATIENCE_S = 900


@dataclass
class Outcome:
    """What came out: lines for people, runs for machines, questions that could not be answered."""

    about: dict[str, Any]
    lines: list[Line] = field(default_factory=list)
    runs: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


@click.command()
@click.argument("questions", nargs=-1, type=click.Choice(list(QUESTIONS)))
@click.option("--full", is_flag=True, help="Five alternations and all sizes, some 30 minutes.")
@click.option(
    "--peer",
    type=click.Path(path_type=Path, exists=True, file_okay=False),
    help="The NestJS system's directory, with its run.sh.",
)
@click.option("--rounds", type=click.IntRange(min=1), help="Alternations, instead of the usual.")
@click.option("--seconds", type=click.IntRange(min=1), help="Of each run under load.")
@click.option("--patient", is_flag=True, help="Wait before each question until others are quiet.")
@click.option("--json", "file", type=click.Path(path_type=Path), help="Where figures are kept.")
@click.option("--readme/--no-readme", default=None, help="Put the table into bench/README.md.")
def main(
    questions: tuple[str, ...],
    full: bool,
    peer: Path | None,
    rounds: int | None,
    seconds: int | None,
    patient: bool,
    file: Path | None,
    readme: bool | None,
) -> None:
    """Ask all QUESTIONS, or those named.

    A full run of all of them writes its table into bench/README.md. Ends with 1 when a question
    could not be answered; a goal that was missed is an answer.
    """
    effort = (FULL if full else QUICK).changed(rounds, seconds)
    console = Console(width=max(WIDTH, Console().width))
    _allow_many_files()
    try:
        require_wrk()
        outcome = asyncio.run(_ask(list(questions or QUESTIONS), effort, peer, patient, console))
    except BenchFailed as failure:
        raise click.ClickException(str(failure)) from failure
    except asyncio.CancelledError:
        raise click.ClickException("stopped") from None
    report.show(console, outcome.lines)
    file = file or report.RESULTS / f"{effort.name}.json"
    file.parent.mkdir(exist_ok=True)
    file.write_text(report.as_json(outcome.about, outcome.lines, outcome.runs))
    if readme if readme is not None else full and not questions:
        report.write_readme(report.as_markdown(outcome.about, outcome.lines))
    judged = [line.reached for line in outcome.lines if line.reached is not None]
    console.print(f"{sum(judged)} of {len(judged)} goals reached; every run is in {file}")
    sys.exit(1 if outcome.failed else 0)


async def _ask(
    names: list[str], effort: Effort, peer: Path | None, patient: bool, console: Console
) -> Outcome:
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    outcome = Outcome(
        describe()
        | {
            "effort": effort.name,
            "rounds": effort.rounds,
            "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            "load_average": os.getloadavg()[0],
        }
    )
    stage = Stage(effort, peer)
    outcome.runs = stage.runs
    try:
        for name in names:
            if patient:
                await _wait_for_quiet()
            began = time.monotonic()
            try:
                outcome.lines += await QUESTIONS[name](stage)
                console.print(f"{name}: {time.monotonic() - began:.0f} s", style="dim")
            except BenchFailed as failure:
                outcome.failed[name] = str(failure)
                console.print(f"{name}: {failure}", style="red", markup=False)
    finally:
        await stage.strike()
    elsewhere = [
        run["cost"]["elsewhere"] for runs in stage.runs.values() for run in runs if "cost" in run
    ]
    outcome.about["versions"] |= stage.versions
    outcome.about["elsewhere"] = statistics.median(elsewhere) if elsewhere else 0.0
    outcome.about["failed"] = outcome.failed
    if outcome.about["elsewhere"] > QUIET:
        share = f"{outcome.about['elsewhere']:.0%}"
        console.print(f"others took {share} of the machine: the figures say little", style="bold")
    return outcome


async def _wait_for_quiet() -> None:
    """Until nobody else works here, or patience ends."""
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        meter = Meter(dict)
        await asyncio.sleep(LOOK_S)
        if meter.read().elsewhere < QUIET:
            return


def _allow_many_files() -> None:
    """10,000 sockets are as many files in the client, and twice as many in Envoy."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for most in (max(hard, MANY_FILES), hard):
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
            return


if __name__ == "__main__":
    main()
