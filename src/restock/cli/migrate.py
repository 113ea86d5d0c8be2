"""`restock migrate`: databases and streams brought up to date, before services of a new version."""

import asyncio
from collections.abc import Mapping
from pathlib import Path

import click

from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.engines.names import OPERATOR
from restock.engines.nats import bring_streams
from restock.kernel.migrate import MigrationError
from restock.kernel.migrate import migrate as migrate_database
from restock.kernel.settings import environment
from restock.system import PARTS

DATABASES = [name for name, part in PARTS.items() if part.database]


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(DATABASES))
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Take the engines of the system running there, not those of the settings.",
)
def migrate(services: tuple[str, ...], data_dir: Path | None) -> None:
    """Migrate the databases of SERVICES, of all four if none is named.

    Each needs RESTOCK_<SERVICE>_MIGRATE_URL, its database as the owner of the tables. With
    RESTOCK_NATS_OPERATOR_PASSWORD the streams are made or changed too.
    """
    try:
        for service in services or DATABASES:
            url = _url(service, data_dir)
            ran = migrate_database(service, url)
            click.echo(f"{service}: {', '.join(ran) if ran else 'up to date'}")
        if not services:
            touched = asyncio.run(bring_streams(_operator(data_dir)))
            if touched is not None:
                click.echo(f"streams: {', '.join(touched) if touched else 'up to date'}")
    except (EngineError, MigrationError) as error:
        raise click.ClickException(str(error)) from error


def _url(service: str, data_dir: Path | None) -> str:
    variable = f"RESTOCK_{service.upper()}_MIGRATE_URL"
    environ = environment_of(data_dir, service) if data_dir is not None else environment()
    if not environ.get(variable):
        raise click.ClickException(
            f"{variable} is missing: the database of {service} as the owner of its tables"
        )
    return environ[variable]


def _operator(data_dir: Path | None) -> Mapping[str, str]:
    return environment_of(data_dir, OPERATOR) if data_dir is not None else environment()
