"""uvicorn's protocol, but an answer's head leaves together with its body.

uvicorn writes them one after the other. A process that is stopped or killed between the two has
told the gateway a status, which passes it on and can neither ask again nor say 503 afterwards: the
client gets a broken answer. Written at once, what fits the socket's buffer is there or it isn't
(decision 0026).
"""

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_CONTINUE = b"HTTP/1.1 100 "


class WholeAnswers(HttpToolsProtocol):
    """HTTP/1.1 of one connection."""

    def on_headers_complete(self) -> None:
        before = self.cycle
        super().on_headers_complete()
        # what opens a websocket is no cycle; after the head of a HEAD nothing is written
        if self.cycle is not before and self.scope["method"] != "HEAD":
            self.cycle.transport = _HeadWithBody(self.transport)  # type: ignore[assignment]


class _HeadWithBody:
    """What the answer to one request is written to: as much of a transport as uvicorn uses there.

    A head that gets no body never leaves: the connection is closed without a word.
    """

    __slots__ = ("_begun", "_head", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._begun = False
        self._head = b""

    def write(self, data: bytes) -> None:
        if self._begun:
            self._transport.write(self._head + data if self._head else data)
            self._head = b""
        elif data.startswith(_CONTINUE):
            self._transport.write(data)
        else:
            self._begun, self._head = True, data

    def is_closing(self) -> bool:
        return self._transport.is_closing()

    def close(self) -> None:
        self._transport.close()
