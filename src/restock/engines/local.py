"""What runs on a data directory now, for those who did not start it."""

import fcntl
import os
from pathlib import Path
from typing import Any

from restock.engines.datadir import LOCK, read_json, write_json
from restock.engines.failures import EngineError
from restock.engines.names import (
    OPERATOR,
    database_environment,
    nats_environment,
    operator_environment,
)

FACTS = "system.json"


def write_facts(root: Path, facts: dict[str, Any]) -> None:
    """Say what runs: `postgres_socket` and `nats_url` (None when elsewhere), and where."""
    write_json(root / FACTS, facts)


def forget_facts(root: Path) -> None:
    """It runs no more."""
    (root / FACTS).unlink(missing_ok=True)


def read_facts(root: Path) -> dict[str, Any]:
    """What `write_facts` said. Raises EngineError when nothing runs there."""
    facts = read_json(root / FACTS) if _is_claimed(root) else {}
    if not facts:
        raise EngineError(f"nothing runs on {root}: start it with `restock up`, or name another")
    return facts


def environment_of(root: Path, service: str) -> dict[str, str]:
    """Where a service's (or the operator's) engines are, and its credentials, as its settings.

    Empty for engines that settings place elsewhere. Raises EngineError when nothing runs there.
    """
    facts = read_facts(root)
    secrets = read_json(root / "secrets.json")

    def secret(name: str) -> str:
        return str(secrets[name])

    nats_url = facts.get("nats_url")
    if service == OPERATOR:
        return operator_environment(nats_url, secret) if nats_url else {}
    found: dict[str, str] = {}
    if facts.get("postgres_socket"):
        found |= database_environment(service, facts["postgres_socket"], secret)
    if nats_url:
        found |= nats_environment(service, nats_url, secret)
    return found


def _is_claimed(root: Path) -> bool:
    try:
        fd = os.open(root / LOCK, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False
