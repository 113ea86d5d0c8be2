"""`restock events`: what services have told each other, told once more."""

from datetime import timedelta
from pathlib import Path

import click

from restock import system
from restock.cli.databases import owner_url
from restock.cli.options import data_dir_option
from restock.engines.dumps import tell_again
from restock.engines.failures import EngineError
from restock.kernel.outbox import KEPT

HOURS_KEPT = int(KEPT / timedelta(hours=1))


@click.group()
def events() -> None:
    """Events between the services, for the operator."""


@events.command()
@click.option(
    "--hours",
    type=click.IntRange(1, HOURS_KEPT),
    default=HOURS_KEPT,
    show_default=True,
    help="Those that were published during so many hours; they are kept for no longer.",
)
@data_dir_option("The system meant, for databases that no setting names.")
def resend(hours: int, data_dir: Path) -> None:
    """Have the services publish again what they have published.

    For a NATS that has lost its streams: what nobody had heard yet arrives after all. Who has
    handled an event knows it by its id and does nothing. RESTOCK_<SERVICE>_MIGRATE_URL names a
    database as the owner of its tables.
    """
    try:
        urls = {
            service.name: owner_url(service.name, data_dir)
            for service in system.services()
            if service.publishes
        }
        for name, url in urls.items():
            click.echo(f"{name}: {tell_again(name, url, timedelta(hours=hours))} events")
    except EngineError as error:
        raise click.ClickException(str(error)) from error
