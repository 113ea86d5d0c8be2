"""The socket: the account's events as they happen, without gap or repetition over reconnects.

    async with gateway.feed() as feed:
        async for heard in feed:
            heard.event, heard.data, heard.seq

The position in the account's feed is the `seq` of the last sequenced event, or the `head` that
`sync` told when there was none yet. Every connection after the first asks to go on from there
(`auth.lastSeq`), and what was heard already is dropped.
"""

import asyncio
import contextlib
import random
from collections.abc import AsyncIterator
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import socketio

from restock.client.identity import Identity
from restock.client.refusals import FeedRefused, GatewayUnreachable
from restock.client.transport import unrepeating_session

FIRST_WAIT = 0.1  # seconds
LONGEST_WAIT = 5.0
CONNECT_TIMEOUT = 10.0
GOODBYE_TIMEOUT = 1.0  # a poll that is open would otherwise be waited for
SEQUENCED = {"new_notification", "vendor_contact_request"}


@dataclass(frozen=True, slots=True)
class Heard:
    """One event of the server; `seq` only where it has a place in the account's feed."""

    event: str
    data: Any
    seq: int | None = None


class Feed:
    """The events of one account. Use it as an async context manager, then iterate."""

    def __init__(
        self,
        url: str,
        identity: Identity,
        *,
        last_seq: int | None = None,
        transports: tuple[str, ...] = ("websocket",),
        patience: float = 30.0,
    ) -> None:
        self.last_seq = last_seq
        self.connections = 0  # made so far
        self._url = url
        self._identity = identity
        self._transports = list(transports)
        self._patience = patience
        self._heard: asyncio.Queue[Heard | BaseException] = asyncio.Queue()
        self._socket: socketio.AsyncClient | None = None
        self._dropped = asyncio.Event()
        self._running: asyncio.Task[None] | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._token: str | None = None
        self._refusal: str | None = None

    async def __aenter__(self) -> Self:
        """Connected. Raises FeedRefused, or GatewayUnreachable when patience has ended."""
        await self._connect_patiently()
        self._running = asyncio.create_task(self._stay_connected())
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for task in (self._running, self._renewing):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task
        await self._hang_up()

    def __aiter__(self) -> AsyncIterator[Heard]:
        return self

    async def __anext__(self) -> Heard:
        """The next event. Raises what ended the feed for good."""
        heard = await self._heard.get()
        if isinstance(heard, BaseException):
            self._heard.put_nowait(heard)  # for whoever asks again
            raise heard
        return heard

    async def next_of(self, *events: str) -> Heard:
        """The next event of these names; others are passed over."""
        async for heard in self:
            if heard.event in events:
                return heard
        raise StopAsyncIteration

    async def ask(self, event: str, content: Any, *, timeout: float = 10.0) -> Any:
        """Emit an event and return what the server acknowledges it with.

        Raises TimeoutError without an acknowledgement in that many seconds.
        """
        if self._socket is None:
            raise RuntimeError("The feed is not connected")
        try:
            return await self._socket.call(event, content, timeout=timeout)
        except socketio.exceptions.TimeoutError as error:
            raise TimeoutError(f"No acknowledgement of {event}") from error

    async def drop(self) -> None:
        """Break the connection as a failing network would; the feed connects again by itself."""
        engine = self._socket.eio if self._socket else None
        broken = (engine.ws or engine.http) if engine is not None else None
        if broken is not None:
            await broken.close()

    async def _stay_connected(self) -> None:
        try:
            while True:
                await self._dropped.wait()
                await self._hang_up()
                await self._connect_patiently()
        except (FeedRefused, GatewayUnreachable) as error:
            self._heard.put_nowait(error)

    async def _connect_patiently(self) -> None:
        """One refusal may be an ended token: the second in a row, with a new one, counts."""
        now = asyncio.get_running_loop().time
        deadline = now() + self._patience
        refusals = 0
        wait = FIRST_WAIT
        while True:
            try:
                await self._connect()
                return
            except FeedRefused:
                refusals += 1
                if refusals > 1 or self._token is None:
                    raise
                if await self._identity.renew(self._token) is None:
                    raise
                continue
            except GatewayUnreachable:
                if now() + wait > deadline:
                    raise
            await asyncio.sleep(wait * random.uniform(0.5, 1.0))  # noqa: S311
            wait = min(LONGEST_WAIT, wait * 2)

    async def _connect(self) -> None:
        """One try, with a client of its own: nothing of a broken connection is kept."""
        self._token = await self._identity.token()
        self._refusal = None
        dropped = asyncio.Event()
        client = socketio.AsyncClient(
            reconnection=False, handle_sigint=False, http_session=unrepeating_session()
        )
        client.on("*", self._hear)
        client.on("connect_error", self._note_refusal)
        client.on("disconnect", lambda *reason: dropped.set())
        auth: dict[str, Any] = {"token": self._token}
        if self.last_seq is not None:
            auth["lastSeq"] = self.last_seq
        try:
            await client.connect(
                self._url, auth=auth, transports=self._transports, wait_timeout=CONNECT_TIMEOUT
            )
        except Exception as error:  # the library lets several kinds of its own mistakes through
            refused = bool(client.failed_namespaces)
            await _close(client)
            if refused:
                raise FeedRefused(self._refusal or "refused") from error
            raise GatewayUnreachable(
                f"{self._url}/socket.io: {error}", may_have_happened=False
            ) from error
        self._socket, self._dropped = client, dropped
        if client.eio.state != "connected":
            dropped.set()  # it broke before the library would have told so
        self.connections += 1

    async def _hang_up(self) -> None:
        client, self._socket = self._socket, None
        if client is not None:
            await _close(client)

    def _hear(self, event: str, *arguments: Any) -> None:
        data = arguments[0] if arguments else None
        members = data if isinstance(data, dict) else {}
        seq = members.get("seq") if event in SEQUENCED else None
        if seq is not None:
            if self.last_seq is not None and seq <= self.last_seq:
                return
            self.last_seq = seq
        elif event == "sync" and self.last_seq is None:
            self.last_seq = members.get("head")
        elif event == "auth_expiring":
            self._renewing = asyncio.ensure_future(self._authenticate())
        self._heard.put_nowait(Heard(event, data, seq))

    def _note_refusal(self, reason: Any = None, *_: Any) -> None:
        message = reason.get("message") if isinstance(reason, dict) else reason
        self._refusal = str(message) if message else None

    async def _authenticate(self) -> None:
        """Renew in place. Where that fails the server ends the connection, and the next one
        brings a token of its own."""
        if self._token is None:
            return
        token = await self._identity.renew(self._token)
        if token is not None:
            self._token = token
            with contextlib.suppress(TimeoutError, socketio.exceptions.SocketIOError):
                await self.ask("authenticate", {"token": token})


async def _close(client: socketio.AsyncClient) -> None:
    """Close whatever is still open; a connection that is broken already has nothing to say."""
    with contextlib.suppress(Exception):
        await asyncio.wait_for(client.disconnect(), GOODBYE_TIMEOUT)
    http = client.eio.http
    if http is not None and not http.closed:
        await http.close()
