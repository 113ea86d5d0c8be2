"""`restock run SERVICE`: one service alone, everything from settings."""

import asyncio
import signal
import socket
import tempfile
from functools import partial
from typing import Any

import click
import uvloop

from restock.engines.failures import EngineError, PortTaken
from restock.engines.forkserver import ForkServer
from restock.engines.ports import listen
from restock.kernel.database import Database
from restock.kernel.revision import WrongTables, require_served
from restock.kernel.runner import port_of, run_service
from restock.kernel.settings import ServiceSettings, SettingsError, environment, load
from restock.kernel.supervisor import Child, Supervisor
from restock.kernel.telemetry import log, set_up_logging
from restock.system import PARTS
from restock.system import load as load_service

DRAIN_TIMEOUT_S = 60.0


@click.command()
@click.argument("service", type=click.Choice(list(PARTS)))
def run(service: str) -> None:
    """Run SERVICE until SIGINT or SIGTERM, then drain.

    With RESTOCK_<SERVICE>_WORKERS above 1 its workers are processes beneath this one.
    """
    environ = environment()
    card = load_service(service)
    try:
        settings: Any = load(card.settings, service, environ)
    except SettingsError as error:
        raise click.ClickException(str(error)) from error
    if PARTS[service].database and not settings.database_url:
        raise click.ClickException(
            f"RESTOCK_{service.upper()}_DATABASE_URL is missing: the database of {service}, as the "
            "service's own role"
        )
    try:
        listening = _listening(service, settings.host, port_of(card, settings), settings.listen_fd)
        if settings.workers > 1 and "RESTOCK_WORKER" not in environ:
            if settings.database_url:
                asyncio.run(_require_served(service, settings.database_url))
            asyncio.run(_supervise(service, settings, listening))
        else:
            uvloop.run(run_service(card, settings, [listening]))
    except WrongTables as error:
        raise click.ClickException(str(error)) from error
    except (OSError, EngineError) as error:
        raise click.ClickException(f"{service}: {error}") from error


def _listening(service: str, host: str, port: int, fd: int) -> socket.socket:
    """The listening socket a parent handed over, or one of our own."""
    if fd >= 0:
        return socket.socket(fileno=fd)
    try:
        return listen(host, port, backlog=2048)
    except PortTaken as error:
        raise click.ClickException(f"{error}: set RESTOCK_{service.upper()}_PORT") from error


async def _require_served(service: str, url: str) -> None:
    """Raises WrongTables, which workers would be started again and again for."""
    database = Database(
        url, size=1, application="restock run", admit=partial(require_served, service)
    )
    try:
        await database.require_served()
    finally:
        await database.close()


async def _supervise(service: str, settings: ServiceSettings, listening: socket.socket) -> None:
    environ = environment()
    set_up_logging(settings.log_level, settings.log_format, service=service)
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    with tempfile.TemporaryDirectory(prefix=f"restock-{service}-metrics-") as metrics:
        forks = ForkServer(environ, log=log)
        await forks.start()
        children = [
            Child(
                name=f"{service}-{number}",
                argv=["run", service],
                env={
                    # where the workers' counts meet, so that /metrics of one tells of all
                    "PROMETHEUS_MULTIPROC_DIR": metrics,
                    **environ,
                    "RESTOCK_WORKER": str(number),
                },
                sockets=[listening],
                stop_timeout_s=DRAIN_TIMEOUT_S,
                start=forks.fork,
            )
            for number in range(settings.workers)
        ]
        try:
            await Supervisor(children, log).run(stop)
        finally:
            await forks.stop()
