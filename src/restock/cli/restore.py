"""`restock restore`: what `restock backup` wrote, into an empty place."""

import asyncio
import shutil
import struct
import zipfile
import zlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

import click
import msgspec
import nats.errors
import nats.js.errors
import psycopg
from sqlalchemy.exc import SQLAlchemyError

from restock.cli.backup import FORMAT, MANIFEST, ORDER, Dumped, Manifest, end_when_told
from restock.cli.databases import given_url, owner_variable
from restock.cli.options import data_dir_option
from restock.engines import dumps
from restock.engines.cluster import ELSEWHERE
from restock.engines.datadir import CLAIMED, MARKER, UNFINISHED, DataDir
from restock.engines.failures import EngineError
from restock.engines.names import OPERATOR, OPERATOR_PASSWORD
from restock.engines.nats import Credential
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import LARGEST_BYTES, connect
from restock.kernel.migrate import MigrationError, migrate
from restock.kernel.revision import newest
from restock.kernel.settings import environment

# What zipfile and msgspec say of a file that isn't one of ours, or isn't whole.
UNREADABLE: tuple[type[Exception], ...] = (zipfile.BadZipFile, struct.error, msgspec.DecodeError)
UNREADABLE += (EOFError, LookupError, RuntimeError, ValueError, zlib.error)


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False, exists=True))
@data_dir_option("An empty directory, for databases that no setting names.")
def restore(file: Path, data_dir: Path) -> None:
    """Restore the backup in FILE into an empty data directory, then bring it up to date.

    Into databases of your own, which must be empty too, when RESTOCK_<SERVICE>_MIGRATE_URL names
    them; stop the services first. Accounts, sessions, tokens and the keys that sign them are then
    as they were; what was published in the week before the backup is published again, and has no
    effect twice.
    """
    environ = environment()
    filled: list[str] = []
    try:
        given = {service: given_url(service, owner_variable(service)) for service in ORDER}
        with _opened(file) as (archive, manifest):
            asyncio.run(_require_no_events(environ))
            for service, url in given.items():
                if url:
                    dumps.require_empty(service, url)
            with _told_what_is_filled(given, filled):
                if all(given.values()):
                    _require_no_events_in(data_dir, environ)
                    end_when_told()
                    fill(archive, manifest, given, filled)
                else:
                    _into_directory(archive, manifest, given, data_dir, filled)
    except (EngineError, MigrationError) as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{file} was not restored: {error}") from error
    click.echo(f"restored, as it was at {manifest.databases[0].at:%Y-%m-%d %H:%M:%S %Z}")
    click.echo(
        "keys that sign tokens are those of then: if `restock keys rotate --compromised` ran "
        "since, run it again"
    )


@contextmanager
def _told_what_is_filled(given: Mapping[str, str], filled: list[str]) -> Iterator[None]:
    """Unless the block ends well, say which databases of one's own aren't empty any more."""
    try:
        yield
    except BaseException:
        if left := [service for service in filled if given[service]]:
            said = f"these were filled and are to be emptied: {', '.join(left)}"
            click.secho(said, fg="yellow", err=True)
        raise


@contextmanager
def _opened(file: Path) -> Iterator[tuple[zipfile.ZipFile, Manifest]]:
    """A backup that is whole and fits this program. Raises EngineError."""
    with ExitStack() as stack:
        try:
            archive = stack.enter_context(zipfile.ZipFile(file))
            manifest = read_manifest(archive)
            require_whole(archive, manifest)
        except UNREADABLE as error:
            raise EngineError(f"{file} is no backup, or a damaged one: {error!r}") from error
        yield archive, manifest


def read_manifest(archive: zipfile.ZipFile) -> Manifest:
    """The manifest of a backup this program can restore. Raises EngineError and UNREADABLE."""
    text = archive.read(MANIFEST)
    form = msgspec.json.decode(text, type=_Form).format
    if form > FORMAT:
        raise EngineError(f"the backup was made by a newer Restock (format {form})")
    manifest = msgspec.json.decode(text, type=Manifest)
    if tuple(part.service for part in manifest.databases) != ORDER:
        raise ValueError("its manifest names other databases")
    for part in manifest.databases:
        if part.revision > newest(part.service):
            raise EngineError(
                f"its database of {part.service} is at {part.revision}, and this program knows "
                f"{newest(part.service)}: restore it with the newer program"
            )
    return manifest


class _Form(msgspec.Struct):
    format: int


def require_whole(archive: zipfile.ZipFile, manifest: Manifest) -> None:
    """Raises EngineError and UNREADABLE when anything in it isn't as it was written."""
    for part in manifest.databases:
        require_same(archive, part)
        with archive.open(part.file) as source:
            dumps.list_dump(part.service, source)


def require_same(archive: zipfile.ZipFile, part: Dumped) -> None:
    """Raises UNREADABLE when a dump is not what the manifest says."""
    digest = dumps.Digest()
    with archive.open(part.file) as source:
        while chunk := source.read(dumps.CHUNK):
            digest.add(chunk)
    if (digest.size, digest.sha256) != (part.bytes, part.sha256):
        raise ValueError(f"{part.file} is not as it was written")


async def _require_no_events(environ: Mapping[str, str]) -> None:
    """Raises EngineError when a NATS of one's own still holds events of another past.

    They would be handled anew by whoever doesn't know them; and those it had within minutes it
    would take for doubles of the ones to come.
    """
    url = environ.get("RESTOCK_NATS_URL")
    if not url:
        return
    if not environ.get(OPERATOR_PASSWORD):
        raise EngineError(f"{OPERATOR_PASSWORD} is not set: the streams have to be looked at")
    user = environ.get("RESTOCK_NATS_OPERATOR_USER") or OPERATOR
    client = await connect(url, Credential(user, environ[OPERATOR_PASSWORD]))
    try:
        for name in LARGEST_BYTES:
            with suppress(nats.js.errors.NotFoundError):
                if (await client.jetstream().stream_info(name)).state.last_seq:
                    raise EngineError(
                        f"the stream {name} of RESTOCK_NATS_URL has held events. For a trial, "
                        "unset RESTOCK_NATS_URL. Only if that NATS has lost its system for good: "
                        "delete the streams; `restock migrate` makes them again"
                    )
    except nats.errors.Error as error:
        raise EngineError(f"NATS: {error!r}") from error
    finally:
        await client.close()


def _require_no_events_in(data_dir: Path, environ: Mapping[str, str]) -> None:
    """The same of the NATS that `restock up` would start beside databases of one's own."""
    if not environ.get("RESTOCK_NATS_URL") and (data_dir / "nats" / "jetstream").exists():
        raise EngineError(
            f"{data_dir / 'nats'} holds events of another past: move it away first, or name "
            "another directory with --data-dir"
        )


def _into_directory(
    archive: zipfile.ZipFile,
    manifest: Manifest,
    given: Mapping[str, str],
    path: Path,
    filled: list[str],
) -> None:
    """Raises EngineError; the directory is then as empty as it was."""
    there = path.exists()
    directory = _claim_empty(path)
    try:
        end_when_told()
        asyncio.run(_fill_cluster(directory, archive, manifest, given, filled))
        directory.finished()
    except BaseException:
        _empty(directory, keep=())
        if not there:
            directory.root.rmdir()
        raise
    finally:
        directory.release()


async def _fill_cluster(
    directory: DataDir,
    archive: zipfile.ZipFile,
    manifest: Manifest,
    given: Mapping[str, str],
    filled: list[str],
) -> None:
    postgres = PostgresEngine(directory)
    await postgres.start()
    try:
        urls = {service: given[service] or postgres.owner_url(service) for service in ORDER}
        await asyncio.to_thread(fill, archive, manifest, urls, filled)
    finally:
        await postgres.stop()  # with a checkpoint: all of it is on the disk then


def _claim_empty(path: Path) -> DataDir:
    """A data directory with nothing in it yet, and marked as unfinished. Raises EngineError."""
    _require_empty(path)
    directory = DataDir.claim(path, unfinished=True)  # ends what a killed one left running
    try:
        _require_empty(path)
        if (path / UNFINISHED).exists():
            _empty(directory, keep=(*CLAIMED, UNFINISHED))
        (path / UNFINISHED).touch(mode=0o600)
    except BaseException:
        directory.release()
        raise
    return directory


def _require_empty(path: Path) -> None:
    """Raises EngineError unless nothing is in it, or what a restore left half made."""
    held = {entry.name for entry in path.iterdir()} if path.exists() else set()
    if held - set(CLAIMED) and UNFINISHED not in held:
        raise EngineError(f"{path} is not empty: a backup is restored into an empty one only")


def _empty(directory: DataDir, *, keep: Collection[str]) -> None:
    """Remove what is in it; PostgreSQL's files too where `cluster` has put them elsewhere.

    Then the mark of a restore, then that of a directory of ours: cut short, it can be done again.
    """
    if (directory.root / "postgres").is_symlink():  # wherever to: only to our place do we go
        shutil.rmtree(ELSEWHERE / directory.identity, ignore_errors=True)
    last = (UNFINISHED, MARKER)
    found = {entry.name: entry for entry in directory.root.iterdir()}
    names = [name for name in found if name not in last] + [name for name in last if name in found]
    for entry in map(found.__getitem__, names):
        if entry.name in keep:
            continue
        if entry.is_dir() and not entry.is_symlink():
            shutil.rmtree(entry)
        else:
            entry.unlink()


def fill(
    archive: zipfile.ZipFile, manifest: Manifest, urls: Mapping[str, str], filled: list[str]
) -> None:
    """Load every dump into its empty database, and migrate it. Raises EngineError.

    `filled` gets the services whose database isn't empty any more, one after the other. Until the
    end all of them are marked: ended before, however it is, none of them is taken for whole.
    """
    try:
        dumps.mark(urls)
        for part in manifest.databases:
            url = urls[part.service]
            with archive.open(part.file) as source:
                dumps.load(part.service, url, source)
            filled.append(part.service)
            _finish(part, url, manifest)
        dumps.leap_ahead(urls["auth"], urls["notification"])
        dumps.unmark(urls)
    except (EngineError, MigrationError, SQLAlchemyError, psycopg.Error) as error:
        raise EngineError(dumps.why(error)) from error


def _finish(part: Dumped, url: str, manifest: Manifest) -> None:
    service = part.service
    found = dumps.contents_of(service, url)
    if (found.revision, found.rows) != (part.revision, part.rows):
        raise EngineError(f"the database of {service} is not what was backed up: {found.rows}")
    # by the first dump's clock: whoever hears of events was looked at first
    again = dumps.go_on(service, url, backup_began=manifest.databases[0].at)
    ran = migrate(service, url, unfinished=True)
    click.echo(
        f"{service}: {sum(part.rows.values())} rows, at {part.revision}"
        + (f", {again} events to publish again" if again else "")
        + (f", migrated: {', '.join(ran)}" if ran else "")
    )
