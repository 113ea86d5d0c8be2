"""`restock check`: every setting, validated and shown, secrets hidden."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from restock.cli.options import data_dir_option
from restock.cli.weaknesses import weak_files, weak_settings
from restock.kernel.settings import Setting, SettingsError, describe, environment, load
from restock.system import PARTS
from restock.system import load as load_service

# Read by the command itself: what is said of each stands in its own help and here.
OF_THE_COMMAND = {
    "RESTOCK_DATA_DIR": "Data directory of every command that works on one machine.",
    "RESTOCK_NATS_OPERATOR_USER": "Who makes streams on a NATS server of your own.",
    "RESTOCK_NATS_OPERATOR_PASSWORD": "Its password.",
    "RESTOCK_STREAM_REPLICAS": "On how many NATS servers each stream is kept.",
}


@click.command()
@click.argument("services", nargs=-1, type=click.Choice(list(PARTS)))
@data_dir_option("The data directory whose secrets are looked at, where there is one.")
@click.option(
    "--private-network",
    is_flag=True,
    help="The machines share a network that nobody else can reach.",
)
def check(services: tuple[str, ...], data_dir: Path, private_network: bool) -> None:
    """Validate the settings of SERVICES, of all five if none is named, and print them.

    Settings come from the environment. A star marks those that are not at their default. Exits
    with 1 when one is not acceptable, or so weak that others could use it.
    """
    environ = environment()
    problems: list[str] = []
    found: dict[str, Any] = {}
    _show_own(environ)
    for service in services or PARTS:
        kind = load_service(service).settings
        try:
            found[service] = load(kind, service, environ)
        except SettingsError as error:
            problems.append(str(error))
            found[service] = load(kind, service, {})
    known = _show_all(found)
    if not services:
        problems += _unknown(environ, known)
    weak = [
        *weak_settings(found, environ, private=private_network),
        *weak_files(data_dir),
    ]
    for weakness in weak:
        if weakness.refused:
            problems.append(str(weakness))
        else:
            click.secho(f"warning: {weakness}", fg="yellow", err=True)
    problems = list(dict.fromkeys(problems))  # a setting of all services is read by each
    for problem in problems:
        click.secho(problem, fg="red", err=True)
    if problems:
        several = f"{len(problems)} settings are" if len(problems) > 1 else "one setting is"
        raise click.ClickException(f"{several} not acceptable")
    click.echo("all settings are acceptable", err=True)


def _show_all(found: Mapping[str, Any]) -> set[str]:
    """Print the settings, those that several services share once; the names of all."""
    known: set[str] = set()
    shared: set[str] = set()
    for service, settings in found.items():
        click.secho(service, bold=True)
        for setting in describe(settings, service):
            known.add(setting.variable)
            if _is_shared(setting, service):
                if setting.variable in shared:
                    continue
                shared.add(setting.variable)
            _show(setting)
    return known


def _unknown(environ: Mapping[str, str], known: set[str]) -> list[str]:
    """Variables that look like ours and that nothing reads: most likely misspelt."""
    return [
        f"{variable}: there is no such setting"
        for variable in sorted(environ)
        if variable.startswith("RESTOCK_") and variable not in known | set(OF_THE_COMMAND)
    ]


def _is_shared(setting: Setting, service: str) -> bool:
    return not setting.variable.startswith(f"RESTOCK_{service.upper()}_")


def _show_own(environ: Mapping[str, str]) -> None:
    click.secho("restock", bold=True)
    for variable, description in OF_THE_COMMAND.items():
        value = environ.get(variable, "")
        shown = "(hidden)" if value and variable.endswith("PASSWORD") else value or "(not set)"
        _show(Setting(variable, shown, description, bool(value)))


def _show(setting: Setting) -> None:
    mark = "*" if setting.is_set else " "
    click.secho(f" {mark} {setting.variable}", fg="green" if setting.is_set else None, nl=False)
    click.echo(f" = {setting.value}")
    click.secho(f"     {setting.description}", dim=True)
