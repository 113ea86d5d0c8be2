"""`restock streams`: the part of `restock migrate` that NATS has, for `restock up`."""

import asyncio

import click

from restock.engines.failures import EngineError
from restock.engines.streams import bring_streams
from restock.kernel.settings import environment


@click.command(hidden=True)
def streams() -> None:
    """Make and change the streams on the server of RESTOCK_NATS_URL, as its operator."""
    try:
        # a server that was just started greets already, but a busy machine may take its time
        asyncio.run(bring_streams(environment(), within_s=30))
    except EngineError as error:
        raise click.ClickException(str(error)) from error
