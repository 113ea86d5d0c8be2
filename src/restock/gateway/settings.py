"""The gateway's settings: where it listens, whom it asks, and what it lets through."""

import re
from ipaddress import ip_address
from typing import Annotated, Any
from urllib.parse import urlsplit

from msgspec import Meta

from restock.kernel.settings import ServiceSettings, shared

PUBLIC_PORT = 3000
PROCESS_PORT = 3104
ADMIN_PORT = 3105
SOCKET_PORT = 3110
SERVICE_PORTS = {"auth": 3100, "inventory": 3101, "notification": 3102, "vendor": 3103}

USUAL_PORTS = {"http": 80, "https": 443}
SILENCE_LEAST = 30  # seconds; Engine.IO says something every 25

_PLACE = re.compile(r"(\[[0-9a-fA-F:]+\]|[A-Za-z0-9._-]+):[0-9]{1,5}")
_A_PLACE = "must be HOST:PORT, several with commas, each with a port from 1 to 65535"
_AN_ORIGIN = (
    "must be https://HOST or https://HOST:PORT, several with commas, each as a browser sends it "
    "(a host beyond ASCII as xn--…)"
)


def address(text: str) -> tuple[str, int]:
    """Read ``host:port`` (``[::1]:3100`` too). Raises ValueError saying what is right."""
    try:
        parts = urlsplit(f"//{text}")
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise ValueError(_A_PLACE) from error
    if not _PLACE.fullmatch(text) or not host or not port:
        raise ValueError(_A_PLACE)
    return host, port


def origin_of(text: str) -> str:
    """The origin as a browser sends it. Raises ValueError for what is none."""
    try:
        parts = urlsplit(text)
        host, port = parts.hostname or "", parts.port
        if ":" in host:
            host = f"[{ip_address(host).compressed}]"
    except ValueError as error:
        raise ValueError(_AN_ORIGIN) from error
    if parts.scheme not in USUAL_PORTS or not host or not host.isascii() or "@" in parts.netloc:
        raise ValueError(_AN_ORIGIN)
    shown = "" if port in (None, USUAL_PORTS[parts.scheme]) else f":{port}"
    return f"{parts.scheme}://{host}{shown}"


def _judge_places(texts: tuple[str, ...]) -> None:
    for text in texts:
        address(text)


def _judge_origins(texts: tuple[str, ...]) -> None:
    for text in texts:
        sent = origin_of(text)
        if sent != text:
            raise ValueError(f"a browser never sends {text}: write {sent}")


PLACES: dict[str, Any] = {"judge": _judge_places}
ORIGINS: dict[str, Any] = {"judge": _judge_origins}
Rate = Annotated[float, Meta(ge=0, le=1_000_000)]
Seconds = Annotated[int, Meta(ge=1, le=3600)]


class Settings(ServiceSettings):
    """`host` and `port` are the small process's own; `listen_*` is what the world reaches."""

    listen_host: Annotated[str, Meta(description="Address on which Envoy serves the public.")] = (
        "127.0.0.1"
    )
    listen_port: Annotated[
        int, Meta(ge=0, le=65535, description="Its port; 0 is 3000, plus the offset.")
    ] = 0
    admin_port: Annotated[
        int,
        Meta(
            ge=0,
            le=65535,
            description="Envoy's readings for monitoring, on loopback; 0 is 3105, plus the offset.",
        ),
    ] = 0

    auth_upstream: Annotated[
        tuple[str, ...],
        Meta(
            description="Where auth answers, host:port with commas; empty is this machine.",
            extra=PLACES,
        ),
    ] = ()
    inventory_upstream: Annotated[
        tuple[str, ...], Meta(description="Where inventory answers.", extra=PLACES)
    ] = ()
    vendor_upstream: Annotated[
        tuple[str, ...], Meta(description="Where vendor answers.", extra=PLACES)
    ] = ()
    notification_upstream: Annotated[
        tuple[str, ...], Meta(description="Where notification's HTTP answers.", extra=PLACES)
    ] = ()
    gateway_upstream: Annotated[
        tuple[str, ...], Meta(description="Where the gateway process itself answers.", extra=PLACES)
    ] = ()
    socket_upstream: Annotated[
        tuple[str, ...],
        Meta(
            description="Socket ports of the notification workers, in the order of their number.",
            extra=PLACES,
        ),
    ] = ()
    notification_workers: Annotated[
        int,
        Meta(
            ge=1,
            le=64,
            description="Notification workers, each with a socket port from 3110 on.",
            extra=shared("RESTOCK_NOTIFICATION_WORKERS"),
        ),
    ] = 1

    rate_address: Annotated[
        Rate, Meta(description="Requests a second from one address; 0 switches it off.")
    ] = 200
    rate_account: Annotated[
        Rate, Meta(description="Requests a second of one account; 0 switches it off.")
    ] = 100
    rate_login: Annotated[
        Rate,
        Meta(description="Logins and registrations a second from one address; 0 is off."),
    ] = 0.2
    trusted_hops: Annotated[
        int,
        Meta(
            ge=0,
            le=16,
            description="Proxies of ours in front that append to X-Forwarded-For.",
        ),
    ] = 0
    trust_request_id: Annotated[
        bool, Meta(description="Keep an X-Request-ID that came in, behind a proxy of ours.")
    ] = False
    origins: Annotated[
        tuple[str, ...],
        Meta(
            description="Web origins that may call from a browser, exact, with commas.",
            extra=ORIGINS,
        ),
    ] = ()

    max_body: Annotated[
        int, Meta(ge=1024, le=64 << 20, description="Largest request body, in bytes.")
    ] = 1 << 20
    max_heap: Annotated[
        int,
        Meta(
            ge=64 << 20,
            description="Bytes of memory at which Envoy takes no more requests (503).",
        ),
    ] = 2 << 30  # max_connections idle sockets take 1.1 GiB
    headers_timeout: Annotated[
        Seconds, Meta(description="Seconds in which a request's headers must have come.")
    ] = 5
    body_timeout: Annotated[
        Seconds, Meta(description="Seconds in which a whole request must have come.")
    ] = 15
    read_timeout: Annotated[
        Seconds, Meta(description="Seconds a service has to answer a read.")
    ] = 10
    write_timeout: Annotated[
        Seconds, Meta(description="Seconds a service has to answer a write.")
    ] = 20
    idle_timeout: Annotated[
        Seconds, Meta(description="Seconds an unused client connection is kept.")
    ] = 60
    socket_idle_timeout: Annotated[
        int,
        Meta(
            ge=SILENCE_LEAST,
            le=3600,
            description="Seconds a socket may be silent; at least 30, as Engine.IO pings every 25.",
            extra={"wanted": f"must be {SILENCE_LEAST} to 3600: a sound socket is silent for 25 s"},
        ),
    ] = 75
    max_connections: Annotated[int, Meta(ge=10, description="Client connections at once.")] = 20_000
    max_requests: Annotated[
        int, Meta(ge=1, description="Requests under way or waiting at one service at once.")
    ] = 4096
    upstream_connections: Annotated[
        int, Meta(ge=1, description="Connections held to one service at once.")
    ] = 512
    keys_seconds: Annotated[
        Seconds, Meta(description="Seconds after which the keys of tokens are read again.")
    ] = 30
    keys_authorities: Annotated[
        str, Meta(description="Certificate authorities that may vouch for a JWKS over https.")
    ] = "/etc/ssl/certs/ca-certificates.crt"
    drain_seconds: Annotated[
        int, Meta(ge=1, le=15, description="Seconds requests under way have to end at a stop.")
    ] = 10
    run_envoy: Annotated[
        bool, Meta(description="Start Envoy here; false where it runs elsewhere as rendered.")
    ] = True
    envoy_threads: Annotated[int, Meta(ge=1, le=64, description="Envoy's worker threads.")] = 2
    envoy_directory: Annotated[
        str,
        Meta(description="Directory for Envoy's configuration; empty is one of its own in /tmp."),
    ] = ""
    access_log: Annotated[
        bool, Meta(description="Write a line for each request, without its query.")
    ] = True

    @property
    def public_port(self) -> int:
        return self.listen_port or PUBLIC_PORT + self.port_offset

    @property
    def process_port(self) -> int:
        return self.port or PROCESS_PORT + self.port_offset

    @property
    def envoy_admin_port(self) -> int:
        return self.admin_port or ADMIN_PORT + self.port_offset

    @property
    def keys_url(self) -> str:
        """The JWKS to check tokens by; auth's own unless told otherwise."""
        if self.jwks_url:
            return self.jwks_url
        host, port = self.upstreams("auth")[0]
        return f"http://{host}:{port}/.well-known/jwks.json"

    def upstreams(self, service: str) -> list[tuple[str, int]]:
        """(host, port) of each place where a service answers over HTTP."""
        given: tuple[str, ...] = getattr(self, f"{service}_upstream")
        if given:
            return [address(text) for text in given]
        if service == "gateway":
            return [("127.0.0.1", self.process_port)]
        return [("127.0.0.1", SERVICE_PORTS[service] + self.port_offset)]

    def socket_workers(self) -> list[tuple[str, int]]:
        """(host, port) of notification's worker 0, 1, …, where its sockets are served."""
        if self.socket_upstream:
            return [address(text) for text in self.socket_upstream]
        first = SOCKET_PORT + self.port_offset
        return [("127.0.0.1", first + number) for number in range(self.notification_workers)]
