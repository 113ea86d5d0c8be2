"""The data directory: everything a system on one machine keeps, and who works on it.

restock.json     what this is: format and an id
lock             held while a process works on the directory
restoring        there until a restore is whole
secrets.json     passwords made at the first start, readable by their owner only
run/             the processes started, see `processes`
logs/            one log file a process
postgres, nats   the engines' own
"""

import fcntl
import json
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from restock.engines.failures import DataDirInUse, DataDirNotOurs, EngineError
from restock.engines.processes import Records

FORMAT = 1
MARKER = "restock.json"
LOCK = "lock"
FRESH = ".new"  # ends the name of a file until it is whole
CLAIMED = (LOCK, MARKER, "run", "logs")  # in every directory that was ever claimed
UNFINISHED = "restoring"  # there while a backup is being restored into the directory


class DataDir:
    """A data directory that this process has claimed; `release` gives it back."""

    def __init__(self, root: Path, lock_fd: int, identity: str) -> None:
        self.root = root
        self.identity = identity
        self.records = Records(root / "run")
        self.ended: list[str] = []
        self._lock_fd: int | None = lock_fd

    @classmethod
    def claim(cls, path: Path, *, unfinished: bool = False) -> "DataDir":
        """Claim the directory, made if it isn't there, and end what a killed owner left running.

        `unfinished` claims one that a restore has left half made, which is refused otherwise.
        Raises DataDirNotOurs, DataDirInUse, EngineError (it can't be made).
        """
        root = Path(os.path.abspath(path))
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            _require_ours(root)
            lock_fd = _lock(root)
        except OSError as error:
            raise EngineError(f"cannot use the data directory {root}: {error}") from error
        try:
            _require_ours(root)
            if (root / UNFINISHED).exists() and not unfinished:
                raise DataDirNotOurs(
                    f"a restore into {root} was cut short: run `restock restore` once more"
                )
            claimed = cls(root, lock_fd, _identity(root))
            for part in ("run", "logs"):
                (root / part).mkdir(mode=0o700, exist_ok=True)
            claimed.ended = claimed.records.end_all()
        except BaseException:
            os.close(lock_fd)
            raise
        return claimed

    def release(self) -> None:
        """Let others claim it."""
        if self._lock_fd is not None:
            os.close(self._lock_fd)
            self._lock_fd = None

    def finished(self) -> None:
        """A restore into it is whole."""
        (self.root / UNFINISHED).unlink()
        sync_directory(self.root)

    def log_path(self, name: str) -> Path:
        return self.root / "logs" / f"{name}.log"

    def secret(self, name: str) -> str:
        """The secret of that name; made, and kept for good, when it is asked for first."""
        kept = read_json(self.root / "secrets.json")
        if name not in kept:
            kept[name] = secrets.token_urlsafe(24)
            write_json(self.root / "secrets.json", kept)
        return str(kept[name])


def read_json(path: Path) -> dict[str, Any]:
    """The object in a file of ours; empty when there is no file."""
    try:
        found = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise EngineError(f"{path} is damaged: {error}") from error
    return found if isinstance(found, dict) else {}


def write_json(path: Path, content: dict[str, Any]) -> None:
    """Replace the file as a whole, durably, readable by its owner only."""
    fresh = path.with_name(path.name + FRESH)
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(fd, "w") as file:
        json.dump(content, file, indent=1)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    sync_directory(path.parent)


def sync_directory(path: Path) -> None:
    """Let the names in it outlive the machine."""
    directory = os.open(path, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def log_end(path: Path, lines: int = 12) -> str:
    """The last lines of a log file, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 8192))
            text = file.read().decode("utf-8", "replace")
    except OSError:
        return ""
    return "\n".join(f"    {line}" for line in text.splitlines()[-lines:])


def _require_ours(root: Path) -> None:
    # a first claim that was cut short may have left these two, and nothing else
    held = {entry.name for entry in root.iterdir()} - {LOCK, MARKER + FRESH}
    if held and MARKER not in held:
        raise DataDirNotOurs(
            f"{root} is not empty and not a data directory of Restock; name another with --data-dir"
        )
    owner = root.stat().st_uid
    if owner != os.geteuid():
        raise DataDirNotOurs(
            f"{root} belongs to another user (uid {owner}); start as that user, "
            "or name another directory with --data-dir"
        )
    # Whoever made it may have been generous; group and others may at most pass through.
    if stat.S_IMODE(root.stat().st_mode) & 0o066:
        root.chmod(0o700)


def _lock(root: Path) -> int:
    fd = os.open(root / LOCK, os.O_RDWR | os.O_CREAT, 0o600)  # never inherited by a child
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.read(fd, 32).decode("ascii", "replace").strip()
        os.close(fd)
        raise DataDirInUse(
            f"Restock is already running on {root}" + (f" (pid {holder})" if holder else "")
        ) from None
    os.ftruncate(fd, 0)
    os.write(fd, f"{os.getpid()}\n".encode())
    return fd


def _identity(root: Path) -> str:
    """The directory's id. Raises DataDirNotOurs for one of a later version."""
    written = read_json(root / MARKER)
    if not written:
        written = {"format": FORMAT, "id": secrets.token_hex(6)}
        write_json(root / MARKER, written)
    if written.get("format") != FORMAT:
        raise DataDirNotOurs(
            f"{root} was made by another version of Restock (format {written.get('format')}, "
            f"this one knows {FORMAT})"
        )
    return str(written["id"])
