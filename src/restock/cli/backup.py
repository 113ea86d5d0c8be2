"""`restock backup`: a whole system, while it runs, in one file.

The file is a zip: a dump of each database (pg_dump's custom format) and, at its end, a manifest.
NATS is not in it: the outboxes are, with what they published during the last week.
"""

import os
import signal
import stat
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import IO, Any

import click
import msgspec

from restock.cli.databases import owner_url
from restock.cli.options import data_dir_option
from restock.engines.datadir import sync_directory
from restock.engines.dumps import dump
from restock.engines.failures import EngineError
from restock.kernel.revision import newest

FORMAT = 1
MANIFEST = "manifest.json"
# Who hears of something before whom it comes from: what the first knows, the later ones know too.
# Notification hears of vendor and inventory; vendor's requests name items; all name accounts.
ORDER = ("notification", "vendor", "inventory", "auth")


class Dumped(msgspec.Struct, forbid_unknown_fields=True):
    """One database in a backup: at which migration, how many rows by table, when (its clock)."""

    service: str
    file: str
    revision: str
    at: datetime
    bytes: int
    sha256: str
    rows: dict[str, int]


class Manifest(msgspec.Struct, forbid_unknown_fields=True):
    """What a backup holds. `began` and `ended` are by the clock of where it was made."""

    format: int
    restock: str
    began: datetime
    ended: datetime
    databases: list[Dumped]


@click.command()
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@data_dir_option("The system meant, for databases that no setting names.")
def backup(file: Path, data_dir: Path) -> None:
    """Write the databases of a running system into FILE, which must not be there yet.

    Every change answered before this began is in it. RESTOCK_<SERVICE>_MIGRATE_URL names a
    database as the owner of its tables.

    FILE holds secrets: what signs tokens, what makes refresh tokens genuine, hashes of passwords.
    Only its owner may read it; keep it so, and encrypted where others have the disk.
    """
    end_when_told()
    try:
        urls = {service: owner_url(service, data_dir) for service in ORDER}
        manifest = write_backup(file, urls)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    except OSError as error:
        raise click.ClickException(f"{file} was not written: {error}") from error
    for part in manifest.databases:
        click.echo(f"{part.service}: {sum(part.rows.values())} rows, {part.bytes} bytes")
        if part.revision > (known := newest(part.service)):
            warning = (
                f"warning: the database of {part.service} is at {part.revision}, and this program "
                f"knows {known}: only the newer program restores this file"
            )
            click.secho(warning, fg="yellow", err=True)
    private = not stat.S_IMODE(file.stat().st_mode) & 0o077
    readers = "only its owner may read it" if private else "OTHERS MAY READ IT: this disk lets them"
    click.echo(f"written {file}; it holds secrets, and {readers}")


def end_when_told() -> None:
    """Have SIGTERM, and the end of the terminal, end what is under way as Ctrl-C does: tidily."""
    # ignored in what a script has left in the background, which is to end all the same
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is not signal.SIG_IGN:  # started by nohup
            signal.signal(number, lambda *_: signal.raise_signal(signal.SIGINT))


def write_backup(file: Path, urls: dict[str, str]) -> Manifest:
    """Dump the databases of `urls`, in the order of ORDER, into a new file.

    Raises EngineError, and OSError: it can't be written, or is there already.
    """
    if file.exists():
        raise FileExistsError("it is there already")
    began = datetime.now(UTC)
    databases = []
    with _under_its_name_once_whole(file) as out, zipfile.ZipFile(out, "w") as archive:
        for service in ORDER:
            name = f"{service}.dump"
            with _entry(archive, name) as entry:
                contents, digest = dump(service, urls[service], entry)
            databases.append(
                Dumped(
                    service=service,
                    file=name,
                    revision=contents.revision,
                    at=contents.at,
                    bytes=digest.size,
                    sha256=digest.sha256,
                    rows=contents.rows,
                )
            )
        ended = datetime.now(UTC)
        manifest = Manifest(FORMAT, version("restock"), began, ended, databases)
        with _entry(archive, MANIFEST) as entry:
            entry.write(msgspec.json.format(msgspec.json.encode(manifest), indent=1))
    return manifest


def _entry(archive: zipfile.ZipFile, name: str) -> Any:
    info = zipfile.ZipInfo(name, datetime.now(UTC).timetuple()[:6])
    info.external_attr = 0o600 << 16
    return archive.open(info, "w", force_zip64=True)


@contextmanager
def _under_its_name_once_whole(file: Path) -> Iterator[IO[bytes]]:
    """A new file readable by its owner only, which takes its name when the block ends well."""
    fd, fresh = tempfile.mkstemp(prefix=f"{file.name}.new-", dir=file.absolute().parent)
    try:
        with os.fdopen(fd, "wb") as out:
            yield out
            out.flush()
            os.fsync(out.fileno())
        _give_name(fresh, file)
        sync_directory(file.absolute().parent)
    finally:
        with suppress(FileNotFoundError):
            os.unlink(fresh)


def _give_name(fresh: str, file: Path) -> None:
    """Unlike a rename alone, it never takes another file's place. Raises OSError."""
    try:
        os.link(fresh, file)
    except FileExistsError:
        raise
    except OSError:  # a disk that knows no second names: vfat, exFAT
        os.close(os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        try:
            os.replace(fresh, file)
        except BaseException:
            os.unlink(file)
            raise
