"""The system account that runs PostgreSQL: our own, or, when we are root, one made for it.

PostgreSQL refuses to run as root. Its account owns the database files and nothing else.
"""

import os
import pwd
import shutil
import stat
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from restock.engines.failures import EngineError

NAME = "restock-postgres"


@dataclass(frozen=True)
class Account:
    """A system account. `is_self` says that no change of user is needed."""

    name: str
    uid: int
    gid: int
    is_self: bool


def postgres_account(name: str = NAME) -> Account:
    """Whom PostgreSQL runs as; made when we are root and it isn't there. Raises EngineError."""
    if os.geteuid() != 0:
        return Account(_own_name(), os.geteuid(), os.getegid(), is_self=True)
    entry = _find(name) or _make(name)
    if entry.pw_uid == 0:
        raise EngineError(f"the system user {name} is root, and PostgreSQL refuses to run as root")
    return Account(name, entry.pw_uid, entry.pw_gid, is_self=False)


def may_pass(directory: Path, account: Account) -> bool:
    """Whether the account can go through the directory and everything above it."""
    here = directory.resolve()
    return all(_allowed(place, account, 0o1) for place in [here, *here.parents])


def may_read(path: Path, account: Account) -> bool:
    """Whether the account can read the file."""
    return _allowed(path, account, 0o4)


def _allowed(path: Path, account: Account, bit: int) -> bool:
    try:
        found = path.stat()
    except OSError:
        return False
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid == account.uid:
        return bool(mode >> 6 & bit)
    if found.st_gid == account.gid:
        return bool(mode >> 3 & bit)
    return bool(mode & bit)


def _own_name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise EngineError(
            f"uid {os.geteuid()} has no name in the system's list of users, and PostgreSQL's "
            "initdb needs one; add an entry to /etc/passwd or run as another user"
        ) from None


def _find(name: str) -> pwd.struct_passwd | None:
    try:
        return pwd.getpwnam(name)
    except KeyError:
        return None


def _make(name: str) -> pwd.struct_passwd:
    program = shutil.which("useradd", path="/usr/sbin:/sbin:/usr/bin:/bin")
    advice = f"make a system user {name} yourself, or do not run as root"
    if program is None:
        raise EngineError(f"PostgreSQL can't run as root and there is no useradd here: {advice}")
    command = [
        program,
        "--system",
        "--user-group",
        "--no-create-home",
        "--home-dir",
        "/nonexistent",
        "--shell",
        "/usr/sbin/nologin",
        "--comment",
        "PostgreSQL of Restock",
        name,
    ]
    said = ""
    for _ in range(20):  # another start may be making it, or hold the lock of /etc/passwd
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        said = done.stderr.strip()
        entry = _find(name)
        if entry is not None:
            return entry
        time.sleep(0.1)
    raise EngineError(f"PostgreSQL can't run as root and useradd failed ({said}): {advice}")
