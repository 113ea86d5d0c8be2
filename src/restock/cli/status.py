"""`restock status`: what runs on a data directory, and how it is."""

import asyncio
from pathlib import Path
from typing import Any

import click

from restock.cli.health import ask_health
from restock.cli.options import data_dir_option
from restock.engines.failures import EngineError
from restock.engines.local import read_facts
from restock.engines.processes import Records


@click.command()
@data_dir_option("Where the system keeps everything.")
def status(data_dir: Path) -> None:
    """Show each process of the system running on a data directory and its health.

    Exits with 1 when nothing runs there or something isn't ready.
    """
    try:
        facts = read_facts(data_dir)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    records = Records(data_dir / "run")
    well = True
    for name in records.names():
        found = records.find(name)
        well = well and found is not None
        where = f"pid {found.pid}" if found is not None else "not running"
        click.secho(f"{name:<18} {where}", fg=None if found is not None else "red")
    for name, health in asyncio.run(_ask_all(facts)).items():
        state = health.get("status", "no answer")
        well = well and state == "ready"
        click.secho(f"{name:<18} {state}", fg="green" if state == "ready" else "red")
    click.echo(f"{'public':<18} http://{facts['public']}")
    if not well:
        raise SystemExit(1)


async def _ask_all(facts: dict[str, Any]) -> dict[str, dict[str, Any]]:
    services = facts["services"]
    answers = await asyncio.gather(
        *(ask_health(place["host"], place["port"]) for place in services.values())
    )
    return {f"{name} health": answer for name, answer in zip(services, answers, strict=True)}
