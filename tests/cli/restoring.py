"""A restore, by its parts and as a command."""

import asyncio
import zipfile
from pathlib import Path

from click.testing import CliRunner

from restock.cli.backup import ORDER
from restock.cli.databases import owner_variable
from restock.cli.restore import fill, read_manifest, require_whole, restore
from restock.engines.processes import Mark, Records
from tests.cli.commands import RESTOCK, clean_environment
from tests.cli.contents import Urls

NOBODY: Urls = dict.fromkeys(ORDER, "")


def settings_of(urls: Urls) -> dict[str, str]:
    return {owner_variable(service): url for service, url in urls.items()}


async def restored(file: Path, urls: Urls) -> None:
    with zipfile.ZipFile(file) as archive:
        manifest = read_manifest(archive)
        require_whole(archive, manifest)
        await asyncio.to_thread(fill, archive, manifest, urls, [])


async def refusal(*words: str, **settings: str) -> str:
    """What `restock restore` says when it refuses."""
    runner = CliRunner(env={**dict.fromkeys(settings_of(NOBODY)), **settings})
    refused = await asyncio.to_thread(runner.invoke, restore, words)
    assert isinstance(refused.exception, SystemExit), refused.exception
    assert refused.exit_code == 1
    return refused.stderr


async def begun(
    file: Path, place: Path, *, by: tuple[str, ...] = ()
) -> tuple[asyncio.subprocess.Process, Mark]:
    """A restore into the directory, with its PostgreSQL, as soon as that is there."""
    words = (*by, *RESTOCK, "restore", str(file), "--data-dir", str(place))
    process = await asyncio.create_subprocess_exec(*words, env=clean_environment())
    records = Records(place / "run")
    while (postgres := records.find("postgres")) is None:
        assert process.returncode is None
        await asyncio.sleep(0.01)
    return process, postgres
