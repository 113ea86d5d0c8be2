"""`restock contracts`: what others may rely on, written from the code; `--check` finds drift."""

import difflib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import msgspec
import yaml

from restock import system
from restock.cli.asyncapi import event_document
from restock.cli.check import OF_THE_COMMAND
from restock.kernel.service import Service
from restock.kernel.settings import ServiceSettings, Setting, describe
from restock.kernel.web import openapi_document
from restock.notification.schemas import CLIENT_MESSAGES, SERVER_MESSAGES

DIFF_LINES = 40

SETTINGS_HEAD = """# Settings

Every service reads the environment and nothing else, once, at its start. A value that is not
acceptable stops the start and is named; `restock check` prints them all with secrets hidden.
`restock up` sets what services need to find each other and the engines, and passes on the rest.
`-` means: nothing unless set.
"""
SHARED_HEAD = "\n## The whole system\n\nRead by every service.\n\n"
EACH_HEAD = "\n## Each service\n\n`<SERVICE>` is the service's name in capitals.\n\n"
TABLE_HEAD = "| variable | default | |\n|---|---|---|\n"


@click.command(hidden=True)
@click.option("--check", is_flag=True, help="Write nothing; fail when something would change.")
@click.option(
    "--root",
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    default=Path(),
    help="The checkout; by default the current directory.",
)
def contracts(*, check: bool, root: Path) -> None:
    """Write contracts/http, contracts/events.yaml and docs/settings.md from the code."""
    stale = False
    for path, text in documents():
        file = root / path
        there = file.read_text() if file.exists() else ""
        if there == text:
            continue
        if not check:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)
            click.echo(f"wrote {path}")
            continue
        stale = True
        click.echo(f"{path} is not what the code says:", err=True)
        for line in _difference(there, text):
            click.echo(f"  {line}", err=True)
    if stale:
        raise click.ClickException("run `make contracts` and read the difference before you commit")


def documents() -> Iterator[tuple[str, str]]:
    """Path and text of each generated file."""
    services = system.services()
    for service in services:
        yield f"contracts/http/{service.name}.json", _json(openapi_document(service))
    events = event_document(services, sent=SERVER_MESSAGES, heard=CLIENT_MESSAGES)
    yield "contracts/events.yaml", _yaml(events)
    yield "docs/settings.md", settings_page(services)


def settings_page(services: tuple[Service, ...]) -> str:
    """Each setting with its default and its sentence: the common ones first, then by service."""
    common = describe(ServiceSettings(), "<service>")
    each = [setting for setting in common if "<SERVICE>" in setting.variable]
    page = SETTINGS_HEAD + SHARED_HEAD
    page += _table([setting for setting in common if setting not in each])
    page += EACH_HEAD + _table(each)
    own = [Setting(name, "", said, is_set=False) for name, said in OF_THE_COMMAND.items()]
    page += "\n## The command\n\n" + _table(own)
    for service in services:
        known = {s.variable.replace("<SERVICE>", service.name.upper()) for s in common}
        settings = describe(service.settings(), service.name)
        if own := [setting for setting in settings if setting.variable not in known]:
            page += f"\n## {service.name}\n\n" + _table(own)
    return page


def _table(settings: list[Setting]) -> str:
    rows = []
    for setting in settings:
        default = "-" if setting.value in ("", "(not set)") else f"`{setting.value}`"
        rows.append(f"| `{setting.variable}` | {default} | {setting.description} |\n")
    return TABLE_HEAD + "".join(rows)


def _json(document: dict[str, Any]) -> str:
    return msgspec.json.format(msgspec.json.encode(document), indent=2).decode() + "\n"


class _Dumper(yaml.SafeDumper):
    """Texts of several lines as blocks, lists indented, nothing by reference."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)


def _yaml(document: dict[str, Any]) -> str:
    text: str = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=98)
    return text


def _difference(there: str, text: str) -> Iterator[str]:
    lines = list(
        difflib.unified_diff(
            there.splitlines(), text.splitlines(), "committed", "from the code", lineterm="", n=1
        )
    )
    yield from lines[:DIFF_LINES]
    if len(lines) > DIFF_LINES:
        yield f"… and {len(lines) - DIFF_LINES} lines more"
