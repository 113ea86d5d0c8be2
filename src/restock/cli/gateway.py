"""`restock gateway`: what the gateway is made of, for running Envoy elsewhere."""

import click
from rich.console import Console
from rich.table import Table

from restock.gateway import envoy
from restock.gateway.routes_table import ROUTES
from restock.gateway.settings import Settings
from restock.kernel.settings import SettingsError, load


@click.group()
def gateway() -> None:
    """What the gateway is made of."""


@gateway.command()
@click.option("--format", "form", type=click.Choice(["yaml", "json"]), default="yaml")
@click.option("--check", is_flag=True, help="Also have Envoy validate it.")
def render(form: str, check: bool) -> None:
    """Print Envoy's configuration, made from the settings and the routes table."""
    try:
        config = envoy.configuration(load(Settings, "gateway"))
        if check:
            envoy.validate(config)
    except (SettingsError, envoy.ConfigurationError) as error:
        raise click.ClickException(str(error)) from error
    text = envoy.as_json(config) if form == "json" else envoy.as_yaml(config)
    click.echo(text.rstrip("\n"))


@gateway.command()
def routes() -> None:
    """Print what is public, in the order it is matched."""
    table = Table("path", "service", "who", "limit", "repeated", box=None)
    for route in ROUTES:
        path = f"{route.path}[/…]" if route.tree else route.path
        table.add_row(
            path, route.service.value, route.entry.value, route.limit.value, route.repeat.value
        )
    Console(highlight=False, markup=False).print(table)
