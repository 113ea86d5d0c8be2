"""One worker of one service, from its settings to its last answer."""

import asyncio
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import datetime
from functools import partial
from typing import Any

import uvicorn

from restock.kernel import idempotency, inbox, outbox
from restock.kernel.answering import WholeAnswers
from restock.kernel.bus import Bus, Consumers
from restock.kernel.database import PURGED_AT_ONCE, Database, DatabaseAway, TablesWatch
from restock.kernel.identity import TokenVerifier, keys_at
from restock.kernel.listening import listening_on
from restock.kernel.memory import GivingBack, put_aside
from restock.kernel.outbox import Relay
from restock.kernel.revision import require_served
from restock.kernel.revocations import RevocationFeed, Revocations
from restock.kernel.service import Asgi, Context, Purge, Run, Service
from restock.kernel.stopping import pause
from restock.kernel.telemetry import log, set_up_logging
from restock.kernel.tenants import EVERYBODY
from restock.kernel.web import create_app

AUTH_PORT = 3100
NATS_PORT = 3107
DRAIN_S = 15
PURGE_EVERY_S = 3600.0
LOOK_AGAIN_S = 600.0
PACE_S = 120.0  # how far a clock that is being set right may drift in an hour


class HttpServer:
    """uvicorn as a Run: it drains what is in flight when told to stop."""

    def __init__(
        self,
        app: Asgi,
        sockets: Sequence[socket.socket],
        websocket: Any = "websockets-sansio",
    ) -> None:
        self._sockets = list(sockets)
        self._server = uvicorn.Server(
            uvicorn.Config(
                app,
                loop="none",
                http=WholeAnswers,
                ws=websocket,
                ws_ping_interval=None,
                ws_per_message_deflate=False,
                ws_max_size=64 * 1024,
                lifespan="off",
                access_log=False,
                log_config=None,
                server_header=False,
                date_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,  # longer than the gateway keeps an idle connection
                timeout_graceful_shutdown=DRAIN_S,
                backlog=2048,
            )
        )
        self.started = asyncio.Event()

    async def run(self, stop: asyncio.Event) -> None:
        serving = asyncio.create_task(self._server._serve(self._sockets))
        stopping = asyncio.create_task(stop.wait())
        while not self._server.started and not serving.done():
            await asyncio.sleep(0.005)  # uvicorn offers no event for it
        self.started.set()
        await asyncio.wait([serving, stopping], return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        self._server.should_exit = True
        await serving


class Housekeeping:
    """Forgets, once an hour, what nobody can ask for again.

    What it deletes is gone, so a clock that has jumped must not tell it what is old: it goes by
    PostgreSQL's only if that has kept pace with our own steady one since the last look. The second
    look comes soon, so that a process that doesn't live for an hour forgets too.
    """

    def __init__(self, database: Database, purges: Sequence[Purge]) -> None:
        self._database = database
        self._purges = purges
        self._last: tuple[datetime, float] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            first = self._last is None
            await self.look(stop)
            await pause(stop, LOOK_AGAIN_S if first else PURGE_EVERY_S)

    async def look(self, stop: asyncio.Event) -> None:
        """Purge, if the clock has been steady; never at the first look."""
        try:
            last, self._last = self._last, (await self._database.now(), _steady())
        except DatabaseAway as error:
            log.warning("housekeeping.put_off", what="clock", why=repr(error))
            return
        if last is None:
            return
        passed, steady = (self._last[0] - last[0]).total_seconds(), self._last[1] - last[1]
        if abs(passed - steady) > PACE_S:
            log.warning("housekeeping.put_off", what="clock", jumped_s=round(passed - steady))
            return
        for purge in self._purges:
            await self._purge(purge, stop)

    async def _purge(self, purge: Purge, stop: asyncio.Event) -> None:
        """A bounded number of rows at a time, so that nobody waits for their locks."""
        try:
            while not stop.is_set():
                async with self._database.tx(single=True, tenant=EVERYBODY) as tx:
                    if await purge(tx) < PURGED_AT_ONCE:
                        return
        except DatabaseAway as error:
            log.warning("housekeeping.put_off", what=purge.__module__, why=repr(error))


@asynccontextmanager
async def open_context(
    service: Service, settings: Any, *, fetch_keys: Any = None
) -> AsyncIterator[Context]:
    """A service's context, opened and closed around the block; nothing runs in it yet.

    Raises WrongTables.
    """
    offset = settings.port_offset
    jwks = settings.jwks_url or f"http://127.0.0.1:{AUTH_PORT + offset}/.well-known/jwks.json"
    nats_url = settings.nats_url or f"nats://127.0.0.1:{NATS_PORT + offset}"
    database = Database(
        settings.database_url,
        size=settings.pool_size,
        application=f"restock-{service.name}",
        admit=partial(require_served, service.name),
    )
    bus = Bus(
        nats_url,
        service=service.name,
        user=settings.nats_user,
        password=settings.nats_password,
    )
    verifier = TokenVerifier(
        fetch_keys or keys_at(jwks),
        Revocations(),
        issuer=settings.issuer,
        audience=settings.audience,
    )
    context = Context(
        service=service,
        settings=settings,
        database=database,
        bus=bus,
        verifier=verifier,
        relay=Relay(database, bus),
        log=log,
    )
    async with AsyncExitStack() as stack:
        if service.database:
            stack.push_async_callback(database.close)
            await database.require_served()
        if service.open is not None:
            context.resources = await stack.enter_async_context(service.open(context))
        yield context


def runs_of(context: Context) -> list[Run]:
    """Everything long-lived of a service but its HTTP server, in the order it may stop."""
    service = context.service
    runs: list[Run] = []
    by_stream: dict[str, dict[Any, Any]] = {}
    for kind, handler in service.consumers.items():
        by_stream.setdefault(kind.subject.split(".", 1)[0].upper(), {})[kind] = handler
    for stream, handlers in by_stream.items():
        runs.append(
            Consumers(
                stream=stream,
                service=service.name,
                handlers=handlers,
                bus=context.bus,
                database=context.database,
                resources=lambda: context.resources,
            )
        )
    if service.publishes:
        runs.append(context.relay)
    if service.nats:
        runs.append(RevocationFeed(context.verifier.revocations, context.bus, service=service.name))
        runs.append(context.verifier)
    if service.database:
        runs.append(TablesWatch(context.database))
        purges = [*service.purges]
        purges += [inbox.purge] if service.consumers else []
        purges += [outbox.purge] if service.publishes else []
        purges += [idempotency.purge] if _keeps_answers(service) else []
        runs.append(Housekeeping(context.database, purges))
    if service.runs is not None:
        runs += service.runs(context)
    return runs


async def run_service(service: Service, settings: Any, sockets: Sequence[socket.socket]) -> None:
    """Run one worker on listening sockets until SIGINT or SIGTERM, then drain.

    Raises what made it impossible: OSError, and WrongTables for a database of another version.
    """
    set_up_logging(
        settings.log_level, settings.log_format, service=service.name, worker=settings.worker
    )
    listening = list(sockets)
    for port in service.extra_ports(settings) if service.extra_ports else []:
        listening.append(bind(settings.host, port))
    async with open_context(service, settings) as context:
        loop = asyncio.get_running_loop()
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, context.stopping.set)
        log.info("service.started", ports=[s.getsockname()[1] for s in listening])
        server = HttpServer(create_app(context), listening, service.websocket)
        put_aside()
        await run_all(server, context, [GivingBack()])
    log.info("service.stopped")


async def run_all(server: HttpServer, context: Context, others: Sequence[Run] = ()) -> None:
    """Run a service's parts until `context.stopping`; HTTP ends first, the bus last.

    Raises what any of them raised: a worker with a dead part must not look alive.
    """
    stop_runs, stop_bus = asyncio.Event(), asyncio.Event()
    stop = context.stopping
    serving = asyncio.create_task(server.run(stop))
    running = [asyncio.create_task(run.run(stop_runs)) for run in (*runs_of(context), *others)]
    connection = asyncio.create_task(
        context.bus.run(stop_bus) if context.service.nats else stop_bus.wait()
    )
    try:
        await asyncio.wait([serving, connection, *running], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for event, tasks in ((stop, [serving]), (stop_runs, running), (stop_bus, [connection])):
            event.set()
            await asyncio.wait(tasks, timeout=DRAIN_S + 5)
    for task in (serving, connection, *running):
        if task.done():
            task.result()
        else:
            task.cancel()


def port_of(service: Service, settings: Any) -> int:
    """The port a service listens on."""
    return int(settings.port or service.port + settings.port_offset)


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. Raises OSError, naming the port, when it is taken."""
    try:
        return listening_on(host, port)
    except OSError as error:
        raise OSError(error.errno, f"port {port} on {host}: {error.strerror}") from error


def _steady() -> float:
    """Seconds by a clock that nobody sets; on Linux those that the machine slept are among them."""
    return time.clock_gettime(time.CLOCK_BOOTTIME) if sys.platform == "linux" else time.monotonic()


def _keeps_answers(service: Service) -> bool:
    return any(route.key == "kept" for route in service.routes)
