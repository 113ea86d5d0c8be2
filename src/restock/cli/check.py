"""`restock check`: every setting, validated and shown, secrets hidden."""

from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import click

from restock.cli.addresses import moved_too_far
from restock.cli.options import data_dir_option
from restock.cli.weaknesses import weak_files, weak_settings
from restock.engines.failures import EngineError
from restock.engines.streams import replicas_of
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
    with 1 when one is not acceptable, or so weak that others could use it. A variable that nothing
    reads is most likely misspelt: not acceptable, or with SERVICES a word of warning.
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
    _show_all(found)
    problems += _together(environ, services or tuple(PARTS), sound=not problems)
    unread = [f"{variable}: {said}" for variable, said in _unread(environ)]
    if not services:
        problems += unread
    weak = [
        *weak_settings(found, environ, private=private_network),
        *weak_files(data_dir),
    ]
    for weakness in weak:
        if weakness.refused:
            problems.append(str(weakness))
        else:
            _warn(str(weakness))
    if services:
        for said in unread:
            _warn(said)
    problems = list(dict.fromkeys(problems))  # a setting of all services is read by each
    for problem in problems:
        click.secho(problem, fg="red", err=True)
    if problems:
        several = f"{len(problems)} settings are" if len(problems) > 1 else "one setting is"
        raise click.ClickException(f"{several} not acceptable")
    click.echo("all settings are acceptable", err=True)


def read_by_someone() -> set[str]:
    """The name of every variable that Restock reads: settings of services, and the command's."""
    cards = {service: load_service(service).settings for service in PARTS}
    each = (describe(load(kind, service, {}), service) for service, kind in cards.items())
    return {setting.variable for settings in each for setting in settings} | set(OF_THE_COMMAND)


def _together(
    environ: Mapping[str, str], services: tuple[str, ...], *, sound: bool
) -> Iterator[str]:
    """What is wrong beyond one service's settings; ports only where those are `sound`."""
    try:
        replicas_of(environ)
        if sound and (problem := moved_too_far(environ, services)):
            yield problem
    except (EngineError, SettingsError) as error:
        yield str(error)


def _show_all(found: Mapping[str, Any]) -> None:
    """Print the settings, those that several services share once."""
    shared: set[str] = set()
    for service, settings in found.items():
        click.secho(service, bold=True)
        for setting in describe(settings, service):
            if _is_shared(setting, service):
                if setting.variable in shared:
                    continue
                shared.add(setting.variable)
            _show(setting)


def _unread(environ: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Variables that look like ours and that nothing reads, each with what is said of it."""
    known = read_by_someone()
    for variable in sorted(environ):
        if variable.startswith("RESTOCK_") and variable not in known:
            near = get_close_matches(variable, known, n=1, cutoff=0.8)
            meant = f"; is {near[0]} meant?" if near else ""
            yield variable, f"there is no such setting{meant}"


def _warn(text: str) -> None:
    click.secho(f"warning: {text}", fg="yellow", err=True)


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
