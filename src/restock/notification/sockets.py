"""The sockets of one process: who may connect, which rooms they are in, what they may say.

A socket hears the feed of its token's account and nothing else; the client chooses no room. The
process listens to an account's pushes only while one of its sockets is here, and looks every few
seconds, and after each reconnect to NATS, whether any of them got lost.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from typing import Any
from uuid import UUID

import msgspec

from restock.kernel.database import Database, DatabaseAway
from restock.kernel.faults import Unauthenticated, Unavailable
from restock.kernel.identity import Principal, TokenVerifier
from restock.kernel.service import Asgi, Context, Run
from restock.kernel.stopping import unless_stopped
from restock.kernel.telemetry import log
from restock.kernel.tenants import Tenant
from restock.notification import store
from restock.notification.connection import Connection
from restock.notification.engine import Engine
from restock.notification.links import Away, Link, Refused
from restock.notification.positions import BadPosition, Start, start
from restock.notification.pushes import Push, Pushes, Subscribed
from restock.notification.schemas import (
    Acknowledged,
    Authenticate,
    Subscribe,
    SubscribeVendor,
)
from restock.notification.store import FeedState, Told

PATH = "/socket.io"
READS_AT_ONCE = 4
CHECKED_AT_ONCE = 1_000


class Audience:
    """The sockets of one account in this process, and its pushes."""

    __slots__ = ("connections", "over", "subscribed", "subscribing", "user_id")

    def __init__(self, user_id: UUID) -> None:
        self.user_id = user_id
        self.connections: set[Connection] = set()
        self.subscribed: Subscribed | None = None
        self.subscribing = asyncio.Lock()
        self.over = False

    def hear(self, push: Push) -> None:
        for connection in list(self.connections):
            if push.vendors:
                connection.rooms.update(f"vendor:{vendor_id}" for vendor_id in push.vendors)
            connection.hear(push)


class Sockets:
    """Every socket of this process. The engine's listener, and a Run."""

    def __init__(
        self,
        database: Database,
        verifier: TokenVerifier,
        pushes: Pushes,
        *,
        check_s: float,
        per_account: int,
    ) -> None:
        self.pushes = pushes
        self._database = database
        self._verifier = verifier
        self._check_s = check_s
        self._per_account = per_account
        self._audiences: dict[UUID, Audience] = {}
        self._connections: dict[Link, Connection] = {}
        self._starts: dict[Link, tuple[Start, FeedState]] = {}
        self._reads = asyncio.Semaphore(READS_AT_ONCE)
        self._look = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()

    # -- the engine's listener

    async def connect(self, link: Link, auth: Any) -> str | None:
        who = await self._verify(auth.get("token") if isinstance(auth, dict) else None)
        here = self._audiences.get(who.user_id)
        if here is not None and len(here.connections) >= self._per_account:
            message = "This account has too many sockets open"
            raise Refused(message, "notification.too_many_sockets")
        connection = Connection(link, who, self._read_feed)
        self._connections[link] = connection
        audience = self._join(connection)
        try:
            await self._subscribe([audience])
            async with self._database.tx(single=True, tenant=who.tenant) as tx:
                state = await store.state(tx, who.user_id)
                vendors = await store.vendors_of(tx, who.user_id)
            begin = start(auth, who.user_id, state.head)
        except BadPosition:
            self.disconnected(link)
            message = "lastSeq has to be a whole number from 0"
            raise Refused(message, "notification.bad_last_seq") from None
        except DatabaseAway:
            self.disconnected(link)
            raise Away() from None
        connection.rooms |= {f"user:{who.user_id}", *(f"vendor:{vendor}" for vendor in vendors)}
        self._starts[link] = begin, state
        return begin.pid

    def connected(self, link: Link) -> None:
        begin, state = self._starts.pop(link)
        self._connections[link].open(begin, state)

    async def event(self, link: Link, name: str, args: Sequence[Any]) -> Any:
        connection = self._connections.get(link)
        if connection is None:  # it closed before this was its turn
            return None
        if not connection.may_say():
            link.close("too many events")
            return None
        said = args[0] if args else None
        try:
            if name == "subscribe":
                user_id = msgspec.convert(said, Subscribe).user_id
                return _in_room(connection, f"user:{user_id}")
            if name == "subscribe_vendor":
                vendor_id = msgspec.convert(said, SubscribeVendor).vendor_id
                return _in_room(connection, f"vendor:{vendor_id}")
            if name == "authenticate":
                return await self._renew(connection, msgspec.convert(said, Authenticate).token)
        except msgspec.ValidationError as error:
            return _acknowledge(str(error))
        return _acknowledge("unknown event")

    def disconnected(self, link: Link) -> None:
        self._starts.pop(link, None)
        connection = self._connections.pop(link, None)
        if connection is None:
            return
        connection.end()
        audience = self._audiences[connection.who.user_id]
        audience.connections.discard(connection)
        if not audience.connections:
            audience.over = True
            del self._audiences[audience.user_id]
            self._spawn(self._unsubscribe(audience))

    # -- what happens elsewhere

    def revoked(self, session_id: UUID) -> None:
        """A session was ended: so are its sockets, at once."""
        for link, connection in list(self._connections.items()):
            if connection.who.session_id == session_id:
                link.close("session revoked")

    async def bus_connected(self) -> None:
        """NATS is back: listen for whoever came meanwhile, and look for what was missed."""
        self._look.set()
        await self._subscribe_missing()
        self._look.set()  # what was committed before they were listened to

    async def run(self, stop: asyncio.Event) -> None:
        """Compare with the feeds' heads now and then, until told to stop."""
        while not stop.is_set():
            await unless_stopped(stop, self._time_to_look())
            if not stop.is_set():
                await self.check()

    async def check(self) -> None:
        """Listen for whoever isn't listened to, and let every account know its feed's head."""
        await self._subscribe_missing()
        user_ids = list(self._audiences)
        for first in range(0, len(user_ids), CHECKED_AT_ONCE):
            try:
                some = user_ids[first : first + CHECKED_AT_ONCE]
                watched = Tenant(accounts=tuple(some))
                async with self._reads, self._database.tx(single=True, tenant=watched) as tx:
                    states = await store.states(tx, some)
            except DatabaseAway as error:
                log.warning("sockets.check_failed", why=repr(error))
                return
            for state in states:
                audience = self._audiences.get(state.user_id)
                if audience is not None:
                    audience.hear(Push(state.head, state.unread, state.revision))

    # -- parts

    async def _verify(self, token: Any) -> Principal:
        if not isinstance(token, str):
            raise Refused("An access token is required in auth.token", Unauthenticated.code)
        try:
            return await self._verifier.verify(token)
        except Unauthenticated as fault:
            raise Refused(fault.detail or fault.title, fault.code) from None
        except Unavailable:
            raise Away() from None

    async def _renew(self, connection: Connection, token: str) -> dict[str, Any]:
        try:
            who = await self._verify(token)
        except Refused as refused:
            return _acknowledge(refused.message)
        except Away:
            return _acknowledge("not available at the moment: try again")
        if who.user_id != connection.who.user_id:
            return _acknowledge("the token is another account's")
        connection.renew(who)
        return _acknowledge()

    def _join(self, connection: Connection) -> Audience:
        user_id = connection.who.user_id
        audience = self._audiences.get(user_id)
        if audience is None:
            audience = self._audiences[user_id] = Audience(user_id)
        audience.connections.add(connection)
        return audience

    async def _subscribe(self, audiences: Sequence[Audience]) -> None:
        """Listen for several in one round trip; who isn't heard of then is tried again later."""
        async with AsyncExitStack() as locked:
            for audience in audiences:
                await locked.enter_async_context(audience.subscribing)
            wanting = [a for a in audiences if a.subscribed is None and not a.over]
            if wanting:
                found = await self.pushes.subscribe({a.user_id: a.hear for a in wanting})
                for audience in wanting:
                    audience.subscribed = found.get(audience.user_id)

    async def _subscribe_missing(self) -> None:
        # always in the order they came, so that two of these can't lock each other out
        missing = [a for a in self._audiences.values() if a.subscribed is None]
        for first in range(0, len(missing), CHECKED_AT_ONCE):
            await self._subscribe(missing[first : first + CHECKED_AT_ONCE])

    async def _unsubscribe(self, audience: Audience) -> None:
        async with audience.subscribing:
            if audience.subscribed is not None:
                await audience.subscribed.end()

    async def _time_to_look(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(self._check_s):
                await self._look.wait()
        self._look.clear()

    async def _read_feed(self, user_id: UUID, seq: int, limit: int) -> Told:
        reader = Tenant(accounts=(user_id,))
        async with self._reads, self._database.tx(single=True, tenant=reader) as tx:
            return await store.events_after(tx, user_id, seq, limit)

    def _spawn(self, work: Any) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


class SocketService:
    """What the service holds while it runs: its sockets, their engine, their pushes."""

    def __init__(self, context: Context) -> None:
        self.pushes = Pushes(context.bus)
        self.sockets = Sockets(
            context.database,
            context.verifier,
            self.pushes,
            check_s=context.settings.head_check,
            per_account=context.settings.sockets_per_account,
        )
        self.engine = Engine(self.sockets, worker=context.settings.worker)


@asynccontextmanager
async def open_sockets(context: Context) -> AsyncIterator[SocketService]:
    """Sockets for as long as the service runs.

    They close as soon as it is told to stop: the HTTP server would wait for their long polls.
    """
    service = SocketService(context)

    async def close_when_stopping() -> None:
        await context.stopping.wait()
        await service.engine.shut_down()

    closing = asyncio.create_task(close_when_stopping())
    context.bus.on_connect(service.sockets.bus_connected)
    unlisten = context.verifier.revocations.listen(service.sockets.revoked)
    try:
        yield service
    finally:
        unlisten()
        closing.cancel()
        await service.engine.shut_down()


def mount_sockets(context: Context, app: Asgi) -> Asgi:
    """Serve `/socket.io` by the engine and everything else by `app`."""

    async def mounted(scope: Any, receive: Any, send: Any) -> None:
        is_socket = scope["type"] in ("http", "websocket") and (
            scope["path"] == PATH or scope["path"].startswith(PATH + "/")
        )
        await (context.resources.engine if is_socket else app)(scope, receive, send)

    return mounted


def socket_runs(context: Context) -> list[Run]:
    return [context.resources.pushes, context.resources.sockets]


def _in_room(connection: Connection, room: str) -> dict[str, Any]:
    return _acknowledge(None if room in connection.rooms else "forbidden")


def _acknowledge(error: str | None = None) -> dict[str, Any]:
    answer: dict[str, Any] = msgspec.to_builtins(Acknowledged(ok=error is None, error=error))
    return answer
