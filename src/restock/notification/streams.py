"""The websockets under the Socket.IO core, with what its parts leave open closed.

uvicorn answers a PING although its peer reads nothing, and python-engineio waits without end for
the probe of an upgrade, while it answers every poll with nothing.
"""

import asyncio
from typing import Any

from engineio.async_drivers.asgi import WebSocket
from engineio.async_socket import AsyncSocket
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame

UNREAD_BYTES_MOST = 64 * 1024
FRAGMENTS_MOST = 1_000
UPGRADE_STEP_WITHIN_S = 10.0
PACKETS = tuple("0123456")


class Protocol(WebSocketsSansIOProtocol):
    """A websocket whose peer can't fill our memory by frames that no application sees."""

    def handle_ping(self) -> None:
        super().handle_ping()
        if self.transport.get_write_buffer_size() > UNREAD_BYTES_MOST:
            self.transport.abort()

    def handle_cont(self, event: Frame) -> None:
        super().handle_cont(event)
        if len(self.frames) > FRAGMENTS_MOST:
            self.transport.abort()


class Stream(WebSocket):  # type: ignore[misc]  # python-engineio has no types
    """A websocket of one session: from its beginning, or instead of its polling."""

    def __init__(self, handler: Any, server: Any) -> None:
        super().__init__(handler, server)
        self._socket: AsyncSocket = handler.__self__
        self._socket.stream = self
        self._transport: asyncio.WriteTransport | None = None
        self._probed = False

    async def __call__(self, environ: Any) -> Any:
        # ASGI can only close politely, which waits for the peer; `receive` is a method of
        # uvicorn's protocol, which knows the transport
        protocol = getattr(environ["asgi.receive"], "__self__", None)
        self._transport = getattr(protocol, "transport", None)
        try:
            return await super().__call__(environ)
        finally:
            if self._newest and not self._socket.upgraded:
                self._socket.upgrading = False

    async def wait(self) -> Any:
        """The next packet. Raises OSError when there is none, or none that may come here."""
        if self._socket.upgraded and self._newest:
            frame = await super().wait()
        else:
            frame = await self._step_of_upgrade()
        if not isinstance(frame, str) or frame[:1] not in PACKETS:
            raise OSError("not a packet of Engine.IO")
        return frame

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    @property
    def _newest(self) -> bool:
        return self._socket.stream is self

    async def _step_of_upgrade(self) -> Any:
        """Polls go on until the probe is here: nobody knows whether it ever comes."""
        if self._newest and not self._socket.upgraded:
            self._socket.upgrading = self._probed
        async with asyncio.timeout(UPGRADE_STEP_WITHIN_S):
            frame = await super().wait()
        if not self._newest or self._socket.upgraded:
            raise OSError("another upgrade came after this one")
        self._probed = self._socket.upgrading = True
        return frame
