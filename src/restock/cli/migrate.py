"""`restock migrate`: databases and streams brought up to date, before services of a new version."""

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

import click
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from restock.cli.databases import owner_url
from restock.cli.options import data_dir_option
from restock.engines.dumps import why
from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.engines.names import OPERATOR
from restock.engines.streams import bring_streams
from restock.kernel.migrate import MigrationError, standing
from restock.kernel.migrate import migrate as migrate_database
from restock.kernel.revision import wanted
from restock.kernel.settings import environment
from restock.system import PARTS

DATABASES = [name for name, part in PARTS.items() if part.database]


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(DATABASES))
@data_dir_option("The system meant, for engines that no setting names.")
def migrate(services: tuple[str, ...], data_dir: Path) -> None:
    """Migrate the databases of SERVICES, of all four if none is named.

    RESTOCK_<SERVICE>_MIGRATE_URL names a database as the owner of its tables. On the NATS server of
    RESTOCK_NATS_URL, RESTOCK_NATS_OPERATOR_PASSWORD has the streams made or changed too.
    """
    service = ""
    try:
        for service in services or DATABASES:
            url = owner_url(service, data_dir)
            ran = migrate_database(service, url)
            click.echo(f"{service}: {_told(service, url, ran)}")
        if not services:
            touched = asyncio.run(bring_streams(_operator(data_dir)))
            if touched is not None:
                click.echo(f"streams: {', '.join(touched) if touched else 'up to date'}")
    except (EngineError, MigrationError) as error:
        raise click.ClickException(str(error)) from error
    except (SQLAlchemyError, psycopg.Error) as error:
        raise click.ClickException(f"the database of {service}: {why(error)}") from error


def _told(service: str, url: str, ran: Sequence[str]) -> str:
    """What was done, and whom the tables serve where that has changed."""
    ours = wanted(service)
    if ran:
        numbers = {name[:4] for name in ran}
        changed = ours.serves in numbers and "0001" not in numbers  # nobody was before that
        serves = f"; the tables serve programs from {ours.serves} on: end those before"
        return ", ".join(ran) + (serves if changed else "")
    if standing(url).at > ours.at:
        return "newer than this program and serves it: nothing to migrate"
    return "up to date"


def _operator(data_dir: Path) -> Mapping[str, str]:
    """The operator's credential towards NATS; none where neither settings nor a system have it."""
    environ = environment()
    if environ.get("RESTOCK_NATS_URL"):
        return environ
    try:
        return environment_of(data_dir, OPERATOR)
    except EngineError:
        return {}
