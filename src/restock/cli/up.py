"""`restock up`: everything on this machine, with one command."""

import asyncio
import signal
import socket
from contextlib import suppress
from pathlib import Path

import click

from restock.cli.addresses import Addresses, bind_services, plan
from restock.cli.exposure import exposure
from restock.cli.local_system import LocalSystem, StartFailed
from restock.cli.options import data_dir_option
from restock.cli.story import Story
from restock.engines.datadir import DataDir
from restock.engines.failures import EngineError, PortTaken
from restock.engines.streams import replicas_of
from restock.kernel.settings import SettingsError, environment

PATIENCE_S = 5.0


@click.command()
@data_dir_option("Where everything is kept.")
@click.option(
    "--port-offset",
    type=click.IntRange(min=0, max=65535),
    default=0,
    envvar="RESTOCK_PORT_OFFSET",
    show_default=True,
    help="Added to every port.",
)
@click.option(
    "--host",
    default=None,
    help="Address of the gateway.  [default: 127.0.0.1]",
)
def up(data_dir: Path, port_offset: int, host: str | None) -> None:
    """Start the engines, the four services and the gateway; stop them all on Ctrl-C.

    Prints one line `ready http://ADDR:PORT` on standard output when everything answers.
    """
    try:
        asyncio.run(_up(data_dir, port_offset, host))
    except (EngineError, SettingsError, StartFailed) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:  # no room on the disk, say
        raise click.ClickException(f"cannot go on: {error or repr(error)}") from error


async def _bind(addresses: Addresses, *, patient: bool) -> dict[str, socket.socket]:
    """The services' listening sockets. Raises PortTaken.

    `patient` after an earlier start was killed: its Envoy ends by itself, but perhaps not yet.
    """
    clock = asyncio.get_running_loop().time
    until = clock() + (PATIENCE_S if patient else 0)
    while True:
        try:
            return bind_services(addresses)
        except PortTaken:
            if clock() >= until:
                raise
        await asyncio.sleep(0.1)


async def _up(data_dir: Path, port_offset: int, host: str | None) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if number == signal.SIGHUP and signal.getsignal(number) is signal.SIG_IGN:
            continue  # started by nohup
        loop.add_signal_handler(number, stop.set)
    environ = environment()
    addresses = plan(environ, offset=port_offset, host=host)
    replicas_of(environ)  # which only the streams need, when all engines run
    directory = await asyncio.to_thread(DataDir.claim, data_dir)
    try:
        story = Story(directory.log_path("up"))
        if directory.ended:
            story.say(f"ended what an earlier start left: {', '.join(directory.ended)}")
        story.say(f"data directory {directory.root}")
        for line in exposure(addresses, environ):
            story.say(line, kind="warn")
        sockets = await _bind(addresses, patient=bool(directory.ended))
        system = LocalSystem(directory, addresses, sockets, environ, story)

        def tell_ready() -> None:
            with suppress(OSError):  # that nobody listens is no reason to end
                click.echo(f"ready http://{addresses.public}")

        await system.run(stop, tell_ready)
        story.say("stopped", kind="good")
    finally:
        directory.release()
