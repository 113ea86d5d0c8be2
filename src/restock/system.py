"""The whole system on one screen: which services, on which ports, and which engines they need.

The only module that knows all five. A service's package is imported when it is asked for, so a
worker holds only its own code.

    client ─▶ Envoy 3000 ─▶ auth 3100 · inventory 3101 · vendor 3103 ─▶ inventory
                 ▲          notification 3102, its workers' sockets 3110 and on
                 │
              gateway 3104 renders Envoy's configuration, runs it (stats 3105), asks all for health

    each service ─▶ its own database in PostgreSQL (Unix socket) and ◀─▶ NATS 3107
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from restock.kernel.service import Service


@dataclass(frozen=True)
class Part:
    """One service as the system sees it before its code is loaded.

    `port` is its default. `worker_ports` is the first of the loopback ports its workers have each
    for themselves; None where they have none.
    """

    name: str
    port: int
    database: bool = True
    worker_ports: int | None = None


PARTS = {
    part.name: part
    for part in (
        Part("auth", 3100),
        Part("inventory", 3101),
        Part("notification", 3102, worker_ports=3110),
        Part("vendor", 3103),
        Part("gateway", 3104, database=False),
    )
}

PUBLIC_PORT = 3000
ENVOY_ADMIN_PORT = 3105
NATS_PORT = 3107


def load(name: str) -> Service:
    """The service's card. Raises KeyError for a name that isn't one of the five."""
    service: Service = import_module(f"restock.{PARTS[name].name}").SERVICE
    return service


def services() -> tuple[Service, ...]:
    """The cards of all five."""
    return tuple(load(name) for name in PARTS)


def create_admin() -> Callable[..., Awaitable[Any]]:
    """The operator's way to make an account of role admin, see `restock.auth.operator`."""
    made: Callable[..., Awaitable[Any]] = import_module("restock.auth.operator").create_admin
    return made


def rotate_keys() -> Callable[..., Awaitable[str | None]]:
    """The operator's way to have another key sign, see `restock.auth.operator`."""
    made: Callable[..., Awaitable[str | None]] = import_module("restock.auth.operator").rotate_keys
    return made


def replace_keys() -> Callable[..., Awaitable[None]]:
    """The operator's way to take away every signing key, see `restock.auth.operator`."""
    made: Callable[..., Awaitable[None]] = import_module("restock.auth.operator").replace_keys
    return made
