"""The files of a PostgreSQL cluster: where they are, how they are made, who may touch them.

As root PostgreSQL runs as a system account of its own, which owns its data and can read, not
change, its configuration. When that account can't reach the data directory (under /root, say),
PostgreSQL's files are in /var/lib/restock/<id of the data directory>, and `postgres` in the data
directory is a link to them: the permissions of directories that are not ours stay as they are.
"""

import asyncio
import os
import shutil
import signal
import stat
import tempfile
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil

from restock.engines.account import Account, may_pass
from restock.engines.binaries import postgres_programs_for, postgres_version
from restock.engines.datadir import DataDir
from restock.engines.failures import EngineError
from restock.engines.names import SUPERUSER, password_of
from restock.engines.processes import POSTGRES, end, mark

BOOTSTRAPPED = "postgres.json"  # in the data directory: databases and roles were made
SOCKET_NAME = ".s.PGSQL.5432"
LONGEST_SOCKET_PATH = 107  # bytes; the kernel's limit
ELSEWHERE = Path("/var/lib/restock")

CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "password_encryption": "scram-sha-256",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "max_connections": "300",
    # memory, see docs/decisions/0018: the kernel's cache is the second level; and no processes that
    # short transactions have no use for
    "shared_buffers": "32MB",
    "io_method": "sync",
    "max_worker_processes": "0",
    "max_parallel_workers": "0",
    "max_logical_replication_workers": "0",
    "max_wal_size": "2GB",
    # a table that was just filled is planned as an empty one until it is analysed
    "autovacuum_naptime": "15s",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %q%u@%d ",
    "log_error_verbosity": "terse",  # no values of rows in the log
    "log_min_error_statement": "panic",
}
ACCESS = """\
# Everybody, the superuser too, gives a password. There is no other way in.
local all all scram-sha-256
"""


@dataclass(frozen=True)
class Cluster:
    """One cluster: whose it is, with which programs it runs, and where its parts are."""

    account: Account
    programs: Path
    place: Path

    @property
    def data(self) -> Path:
        return self.place / "postgres" / "data"

    @property
    def identity(self) -> dict[str, Any]:
        """What a child process needs to run as the account."""
        if self.account.is_self:
            return {}
        return {"user": self.account.uid, "group": self.account.gid, "extra_groups": []}

    @classmethod
    def at(cls, directory: DataDir, account: Account) -> "Cluster":
        """The cluster of a data directory, its place prepared. Raises EngineError."""
        place = _place(directory, account)
        programs = postgres_programs_for(account, place)
        own(place / "postgres", account)
        return cls(account, programs, place)

    async def initialise(self, directory: DataDir, *, durable: bool) -> None:
        """Make the cluster unless it is there. Raises EngineError.

        It is made beside its place and moved there whole, so that a start cut short leaves
        nothing half made.
        """
        if (self.data / "PG_VERSION").exists():
            self._require_same_major()
            return
        (directory.root / BOOTSTRAPPED).unlink(missing_ok=True)  # said of another cluster
        for leftover in self.data.parent.glob("data.new-*"):
            shutil.rmtree(leftover, ignore_errors=True)
        fresh = self.data.with_name(f"data.new-{os.getpid()}")
        password_file = self.data.with_name("password")
        password_file.unlink(missing_ok=True)
        fd = os.open(password_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(fd, "w") as file:
            file.write(password_of(SUPERUSER, directory.secret))
            os.fchown(fd, self.account.uid, self.account.gid)
        command = [
            str(self.programs / "bin" / "initdb"),
            "-D",
            str(fresh),
            "-U",
            SUPERUSER,
            "--auth=scram-sha-256",
            f"--pwfile={password_file}",
            "--encoding=UTF8",
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--no-instructions",
            *([] if durable else ["--no-sync"]),
        ]
        try:
            await self._run_to_end(command, directory)
        except BaseException:
            shutil.rmtree(fresh, ignore_errors=True)
            raise
        finally:
            password_file.unlink(missing_ok=True)
        fresh.rename(self.data)

    async def _run_to_end(self, command: list[str], directory: DataDir) -> None:
        """Run initdb as the account. Raises EngineError; cancelled, initdb is ended."""
        process = await asyncio.create_subprocess_exec(
            *command,
            env=environment(),
            cwd="/",
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
            umask=0o077,
            **self.identity,
        )
        directory.records.note("initdb", process.pid)
        try:
            said, _ = await process.communicate()
        except BaseException:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            await process.wait()
            raise
        finally:
            directory.records.forget("initdb")
        if process.returncode != 0:
            raise EngineError(f"initdb failed:\n{said.decode('utf-8', 'replace').strip()}")

    def find_socket_directory(self, identity: str) -> tuple[Path, bool]:
        """Where the socket goes: by the data, or, if that path is too long for a socket, in a
        private directory elsewhere, named by the data directory's `identity`. The second
        value says that it is elsewhere."""
        wanted = self.place / "postgres-socket"
        if len(os.fsencode(wanted / SOCKET_NAME)) <= LONGEST_SOCKET_PATH:
            own(wanted, self.account)
            return wanted, False
        runtime = Path(f"/run/user/{os.geteuid()}")
        usable = self.account.is_self and os.access(runtime, os.W_OK | os.X_OK)
        place = runtime if usable else Path(tempfile.gettempdir())
        made = place / f"restock-{identity}"
        try:
            made.mkdir(mode=0o700)
        except FileExistsError:  # ours, left by a `kill -9`, or a trap of somebody else's
            found = made.lstat()
            ours = found.st_uid == self.account.uid and found.st_mode == stat.S_IFDIR | 0o700
            if not ours:
                made = Path(tempfile.mkdtemp(prefix="restock-", dir=place))
        own(made, self.account)
        return made, True

    def configure(self, socket_directory: Path, options: Mapping[str, str]) -> Path:
        """Write what the server reads at its start; the path of its main file is returned."""
        place = self.place / "postgres-config"
        own(place, replace(self.account, uid=os.geteuid()), mode=0o750)
        settings = {
            **CONFIGURATION,
            "unix_socket_directories": str(socket_directory),
            "hba_file": str(place / "pg_hba.conf"),
            **options,
        }
        lines = [f"{name} = '{_quoted(value)}'\n" for name, value in settings.items()]
        for file, text in (("postgresql.conf", "".join(lines)), ("pg_hba.conf", ACCESS)):
            path = place / file
            path.write_text(text)
            os.chown(path, -1, self.account.gid)
            path.chmod(0o640)
        return place / "postgresql.conf"

    def status(self, pid: int | None) -> str:
        """What the server of that pid says of itself in its pid file: starting, ready, …"""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
        except OSError:
            return ""
        return lines[7].strip() if len(lines) > 7 and lines[0] == str(pid) else ""

    def clear(self) -> None:
        """End every server process that still works on these files, and forget its pid file.

        A killed postmaster leaves its sessions for a moment; a `kill -9` of our parent leaves
        all. The pid file may also name a process that has nothing to do with us, and would keep
        PostgreSQL from starting.
        """
        real = os.path.realpath(self.data)
        servers = []
        for process in psutil.process_iter():
            with suppress(psutil.Error, OSError):
                if process.name() == "postgres" and os.path.realpath(process.cwd()) == real:
                    servers.append(mark(process.pid))
        end([found for found in servers if found is not None], POSTGRES)
        with suppress(FileNotFoundError):
            (self.data / "postmaster.pid").unlink()

    def _require_same_major(self) -> None:
        made_by = (self.data / "PG_VERSION").read_text().strip()
        ours = postgres_version().split(".")[0]
        if made_by != ours:
            raise EngineError(
                f"the databases in {self.data} were made by PostgreSQL {made_by}, and {ours} is "
                "installed; dump them with the old version and load them into a new data directory"
            )


def environment() -> dict[str, str]:
    """The environment of PostgreSQL's programs: nothing of ours."""
    return {"PATH": "/usr/local/bin:/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC"}


def own(path: Path, account: Account, *, mode: int = 0o700) -> None:
    """A directory of the account, private unless `mode` says otherwise."""
    path.mkdir(mode=0o700, exist_ok=True)
    os.chown(path, account.uid, account.gid)
    path.chmod(mode)


def _quoted(value: str) -> str:
    return value.replace("\\", "\\\\").replace("'", "''")


def _place(directory: DataDir, account: Account) -> Path:
    """The data directory, or a place that the account can reach."""
    root = directory.root
    if account.is_self:
        return root
    link = root / "postgres"
    if not link.is_symlink() and may_pass(root.parent, account):
        os.chown(root, -1, account.gid)
        root.chmod(0o710)  # its group may pass through, and see nothing
        return root
    place = ELSEWHERE / directory.identity
    place.mkdir(mode=0o711, parents=True, exist_ok=True)
    if not may_pass(place, account):
        raise EngineError(
            f"the system user {account.name} can reach neither {root} nor {place}; "
            "name a data directory it can reach with --data-dir, or do not run as root"
        )
    if link.is_symlink():
        _require_no_copy(root, place)
    else:
        forget_vanished()
        link.symlink_to(place / "postgres")
    (place / "data-directory").write_text(f"{root}\n")
    return place


def _require_no_copy(root: Path, place: Path) -> None:
    """Raises EngineError where another data directory, copied to this one, has the files there."""
    with suppress(FileNotFoundError):
        other = Path((place / "data-directory").read_text().rstrip("\n"))
        if not other.samefile(root):
            raise EngineError(
                f"{root} is a copy of {other}, and its databases, in {place}, would be the same: "
                "make it anew with `restock backup` and `restock restore`"
            )


def forget_vanished() -> None:
    """Remove the files of data directories that were temporary and are gone.

    Only those: a directory that isn't there may also be a disk that isn't mounted.
    """
    temporary = Path(tempfile.gettempdir()).resolve()
    for place in ELSEWHERE.iterdir():
        with suppress(OSError):
            root = Path((place / "data-directory").read_text().rstrip("\n"))
            if temporary in root.parents and not root.exists():
                shutil.rmtree(place, ignore_errors=True)
