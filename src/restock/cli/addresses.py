"""Where everything of one machine listens, read from the settings before anything is started."""

import socket
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Annotated

from msgspec import Meta

from restock.engines.failures import NoSuchHost, PortTaken
from restock.engines.ports import listen, require_free, usable
from restock.kernel.settings import ServiceSettings, SettingsError, load
from restock.system import ENVOY_ADMIN_PORT, NATS_PORT, PARTS, PUBLIC_PORT

LOOPBACK = "127.0.0.1"
OTHER_CONNECTIONS = 40  # of commands, of whoever looks; PostgreSQL keeps some for its own


class PublicSettings(ServiceSettings):
    """The two settings of the gateway that say where Envoy listens."""

    listen_host: Annotated[str, Meta(description="Address of the public port.")] = LOOPBACK
    listen_port: Annotated[int, Meta(ge=0, le=65535, description="The public port.")] = 0
    admin_port: Annotated[int, Meta(ge=0, le=65535, description="Envoy's admin port.")] = 0


@dataclass(frozen=True)
class Address:
    """A place something of ours listens at.

    `setting` is the variable that moves its port, `host_setting` what names its host.
    """

    what: str
    host: str
    port: int
    setting: str
    host_setting: str = ""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


@dataclass(frozen=True)
class Addresses:
    """All of them. `workers` is the number of workers of each service, `connections` how many to
    PostgreSQL they and others may have; `nats` is None when a server elsewhere is used."""

    offset: int
    services: dict[str, Address]
    workers: dict[str, int]
    connections: int
    sockets: list[Address]
    public: Address
    admin: Address
    nats: Address | None

    def __iter__(self) -> Iterator[Address]:
        yield self.public
        yield from self.services.values()
        yield self.admin
        if self.nats is not None:
            yield self.nats
        yield from self.sockets


def plan(environ: Mapping[str, str], *, offset: int, host: str | None = None) -> Addresses:
    """Where everything will listen. Raises SettingsError, PortTaken (a port may not be used)."""
    found = _read(environ, offset=offset, host=host)
    if found.workers["gateway"] != 1:
        raise SettingsError("RESTOCK_GATEWAY_WORKERS: there is one gateway process on a machine")
    _require_sound(found)
    return found


def moved_too_far(environ: Mapping[str, str], services: Collection[str]) -> str | None:
    """What RESTOCK_PORT_OFFSET makes unusable of these services, in words; None when nothing.

    Raises SettingsError. NATS is left out: its port is never the only one that can't be used.
    """
    others = tuple(f"RESTOCK_{name.upper()}_" for name in PARTS if name not in services)
    own = {name: value for name, value in environ.items() if not name.startswith(others)}
    offset = load(ServiceSettings, "gateway", own).port_offset
    found = _read(own, offset=offset, host=None)
    asked = [found.services[name] for name in services]
    if "gateway" in services:
        asked += [found.public, found.admin]
    if "notification" in services:
        asked += found.sockets
    for address in asked:
        if not environ.get(address.setting) and not usable(address.port):
            return f"RESTOCK_PORT_OFFSET: {_unusable(address)}; choose another"
    return None


def _read(environ: Mapping[str, str], *, offset: int, host: str | None) -> Addresses:
    services: dict[str, Address] = {}
    workers: dict[str, int] = {}
    sockets: list[Address] = []
    connections = OTHER_CONNECTIONS
    for name, part in PARTS.items():
        settings = load(ServiceSettings, name, environ)
        port = settings.port or part.port + offset
        variable = f"RESTOCK_{name.upper()}_PORT"
        host_variable = f"RESTOCK_{name.upper()}_HOST"
        services[name] = Address(name, settings.host, port, variable, host_variable)
        workers[name] = settings.workers
        if part.database:
            connections += settings.workers * (settings.pool_size + 1)  # one asks how it is
        if part.worker_ports is not None:
            first = part.worker_ports + offset
            sockets += [
                Address(f"{name} worker {number}", LOOPBACK, first + number, "--port-offset")
                for number in range(settings.workers)
            ]
    edge = load(PublicSettings, "gateway", environ)
    public = Address(
        "the gateway",
        host or edge.listen_host,
        edge.listen_port or PUBLIC_PORT + offset,
        "RESTOCK_GATEWAY_LISTEN_PORT",
        "--host" if host else "RESTOCK_GATEWAY_LISTEN_HOST",
    )
    admin = Address(
        "Envoy's admin",
        LOOPBACK,
        edge.admin_port or ENVOY_ADMIN_PORT + offset,
        "RESTOCK_GATEWAY_ADMIN_PORT",
    )
    nats = None
    if not environ.get("RESTOCK_NATS_URL"):
        nats = Address("NATS", LOOPBACK, NATS_PORT + offset, "--port-offset")
    return Addresses(offset, services, workers, connections, sockets, public, admin, nats)


def is_here(host: str) -> bool:
    """Whether only this machine is meant: loopback, or a socket file."""
    if not host or host.startswith("/") or host == "localhost":
        return True
    try:
        return ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return False


def bind_services(addresses: Addresses) -> dict[str, socket.socket]:
    """Listen for every service, and see that what others will bind is free. Raises PortTaken."""
    bound: dict[str, socket.socket] = {}
    try:
        for address in addresses:
            try:
                if addresses.services.get(address.what) is address:
                    bound[address.what] = listen(address.host, address.port, backlog=2048)
                else:
                    require_free(address.host, address.port)
            except NoSuchHost as error:
                raise NoSuchHost(
                    f"{error}; it is for {address.what}: {address.host_setting} must be an "
                    "address of this machine"
                ) from error
            except PortTaken as error:
                raise PortTaken(f"{error}; it is for {address.what}: {_advice(address)}") from error
    except BaseException:
        for listening in bound.values():
            listening.close()
        raise
    return bound


def _require_sound(addresses: Addresses) -> None:
    taken: dict[int, Address] = {}
    for address in addresses:
        if not usable(address.port):
            raise PortTaken(f"{_unusable(address)}; {_advice(address)}")
        other = taken.setdefault(address.port, address)
        if other is not address:
            raise PortTaken(
                f"port {address.port} is both for {other.what} and {address.what}: "
                f"{_advice(address)}"
            )


def _unusable(address: Address) -> str:
    return (
        f"port {address.port} for {address.what} can't be used: it must be 1 to 65535 and "
        "outside 32768 to 60999, where outgoing connections take theirs"
    )


def _advice(address: Address) -> str:
    if address.setting.startswith("-"):
        return f"choose another {address.setting}"
    return f"set {address.setting} or choose another --port-offset"
