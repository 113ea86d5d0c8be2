"""An answer leaves whole: whoever stops or dies in the middle of it has said nothing."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from restock.kernel.answering import WholeAnswers
from restock.kernel.runner import HttpServer, bind
from tests.fixtures.ports import free_port

HEADERS = [(b"content-type", b"text/plain"), (b"content-length", b"4")]
HEAD: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": HEADERS}
WHOLE = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 4\r\n\r\nwell"

Send = Callable[[Any], Awaitable[None]]
Application = Callable[[Any, Any, Send], Awaitable[None]]


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


@asynccontextmanager
async def serving(app: Application) -> AsyncIterator[int]:
    """The application on a port, served as every service is."""
    stop, port = asyncio.Event(), free_port()
    server = HttpServer(app, [bind("127.0.0.1", port)])
    running = asyncio.create_task(server.run(stop))
    await server.started.wait()
    try:
        yield port
    finally:
        stop.set()
        await running


async def said(port: int, request: bytes) -> bytes:
    """What comes until the connection is closed."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(request)
        return await reader.read()
    finally:
        writer.close()


def asking(method: str, *more: str) -> bytes:
    return "\r\n".join([f"{method} / HTTP/1.1", "host: x", *more, "", ""]).encode()


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_who_dies_between_head_and_body_has_said_nothing(method: str) -> None:
    async def dying(_scope: Any, _receive: Any, send: Send) -> None:
        await send(HEAD)
        raise RuntimeError("struck down")

    async with serving(dying) as port:
        assert await said(port, asking(method)) == b""


async def test_head_and_body_leave_in_one_write() -> None:
    """Also where several requests came at once."""
    writes: list[bytes] = []
    written = asyncio.Event()

    class Noting(asyncio.Transport):
        def write(self, data: Any) -> None:
            writes.append(bytes(data))
            written.set()

        def is_closing(self) -> bool:
            return False

        def pause_reading(self) -> None: ...

        def resume_reading(self) -> None: ...

    async def well(_scope: Any, _receive: Any, send: Send) -> None:
        await send(HEAD)
        await asyncio.sleep(0)
        await send(body(b"well"))

    protocol = WholeAnswers(uvicorn.Config(well, log_config=None), ServerState(), {})
    protocol.connection_made(Noting())
    protocol.data_received(asking("GET") * 3)
    while len(writes) < 3:
        written.clear()
        await written.wait()
    assert writes == [WHOLE] * 3


async def test_what_comes_in_parts_leaves_in_parts() -> None:
    parts = asyncio.Event()

    async def slow(_scope: Any, _receive: Any, send: Send) -> None:
        await send(HEAD)
        await send(body(b"we", more=True))
        await parts.wait()
        await send(body(b"ll"))

    async with serving(slow) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("GET"))
        assert await reader.readexactly(len(WHOLE) - 2) == WHOLE[:-2]
        parts.set()
        assert await reader.readexactly(2) == b"ll"
        writer.close()


async def test_who_waits_to_be_asked_for_a_body_is_asked() -> None:
    async def reading(_scope: Any, receive: Any, send: Send) -> None:
        message = await receive()
        await send(HEAD)
        await send(body(message["body"]))

    async with serving(reading) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(asking("POST", "content-length: 4", "expect: 100-continue"))
        assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
        writer.write(b"well")
        assert await reader.readexactly(len(WHOLE)) == WHOLE
        writer.close()


@pytest.mark.parametrize(("method", "status"), [("HEAD", 200), ("DELETE", 204)])
async def test_an_answer_without_a_body_leaves(method: str, status: int) -> None:
    async def empty(_scope: Any, _receive: Any, send: Send) -> None:
        headers = HEADERS if status == 200 else []
        await send(HEAD | {"status": status, "headers": headers})
        await send(body(b""))

    async with serving(empty) as port:
        answer = await said(port, asking(method, "connection: close"))
        assert answer.startswith(f"HTTP/1.1 {status} ".encode())
        assert answer.endswith(b"connection: close\r\n\r\n")
