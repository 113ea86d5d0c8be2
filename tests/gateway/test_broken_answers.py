"""A service that breaks off: what the client of the gateway gets for it, and when."""

import asyncio
import re
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio

from tests.fixtures.figures import Figures
from tests.gateway.stubs import HOST, Front, front

AT = "/api/inventory/"
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 20\r\n\r\n"
BODY = b'"twenty characters"\n'
KINDS: dict[str, tuple[str, dict[str, str]]] = {
    "read": ("GET", {}),
    "write": ("POST", {}),
    "write under a key": ("POST", {"idempotency-key": "k"}),
}
# What the service says before it breaks off, and how it does; the status that the client gets.
BEFORE_AN_ANSWER = {
    "unread/close": (b"", 503),
    "unread/reset": (b"", 503),
    "read/close": (b"", 503),
    "read/reset": (b"", 503),
    "read/hang": (b"", 504),
    "half-a-head/close": (HEAD[:30], 502),
    "half-a-head/hang": (HEAD[:30], 504),
    "nonsense/hang": (b"nonsense\r\n\r\n", 502),
}
IN_AN_ANSWER = {
    "head/close": HEAD,
    "head/hang": HEAD,
    "part/close": HEAD + BODY[:5],
    "part/reset": HEAD + BODY[:5],
    "part/hang": HEAD + BODY[:5],
}
SAID = {way: said for way, (said, _) in BEFORE_AN_ANSWER.items()} | IN_AN_ANSWER
WAIT_S = 1


class Breaking:
    """Breaks off in the way that the path says; `stale` only on its second request."""

    def __init__(self) -> None:
        self.over = asyncio.Event()
        self.asked: list[str] = []

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            way = await self._asked(reader)
            if way == "stale":
                writer.write(HEAD + BODY)
                await self._asked(reader)
                way = "read/reset"
            writer.write(SAID[way])
            await writer.drain()
            if way.endswith("hang"):
                await self.over.wait()
            if way.endswith("reset"):
                sock: socket.socket = writer.get_extra_info("socket")
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        except (asyncio.IncompleteReadError, ConnectionError):
            pass  # who asked has gone
        finally:
            writer.close()

    async def _asked(self, reader: asyncio.StreamReader) -> str:
        head = await reader.readuntil(b"\r\n\r\n")
        way = head.split(b" ", 2)[1].decode().removeprefix(AT)
        self.asked.append(way)
        length = re.search(rb"content-length: (\d+)", head)
        if length and not way.startswith("unread"):
            await reader.readexactly(int(length[1]))
        return way


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def broken(
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[tuple[Front, Breaking]]:
    directory = tmp_path_factory.mktemp("broken")
    async with (
        front(directory, read_timeout=WAIT_S, write_timeout=WAIT_S) as edge,
        breaking(edge) as service,
    ):
        yield edge, service


@asynccontextmanager
async def breaking(edge: Front) -> AsyncIterator[Breaking]:
    """In the place of inventory."""
    await edge.services["inventory"].stop()
    service = Breaking()
    server = await asyncio.start_server(service, HOST, edge.services["inventory"].port)
    try:
        yield service
    finally:
        service.over.set()
        server.close()
        await server.wait_closed()


async def ask(edge: Front, kind: str, way: str) -> aiohttp.ClientResponse:
    """The whole answer. Raises ClientError where none came whole."""
    method, headers = KINDS[kind]
    data = b"{}" if method == "POST" else None
    path = AT + way
    async with edge.request(method, path, headers=edge.bearer() | headers, data=data) as answer:
        await answer.read()
        found: aiohttp.ClientResponse = answer
        return found


async def test_who_gets_no_answer_is_told_so(
    broken: tuple[Front, Breaking], figures: Figures
) -> None:
    """Whatever he asked, and however the service broke off."""
    edge, _ = broken
    asked = [(way, kind) for way in BEFORE_AN_ANSWER for kind in KINDS]
    answers = await asyncio.gather(*(ask(edge, kind, way) for way, kind in asked))
    for (way, kind), answer in zip(asked, answers, strict=True):
        assert answer.status == BEFORE_AN_ANSWER[way][1], (way, kind)
        problem = await answer.json(content_type="application/problem+json")
        assert problem["code"].startswith("gateway.service_")
        assert answer.headers["retry-after"] == "1", (way, kind)
    figures.add("answers that a service broke off", len(asked))


async def test_half_an_answer_is_never_taken_for_a_whole(
    broken: tuple[Front, Breaking], figures: Figures
) -> None:
    """Its status has been passed on, so that nothing can be said any more: the connection ends."""
    edge, _ = broken
    asked = [(way, kind) for way in IN_AN_ANSWER for kind in KINDS]
    ends = await asyncio.gather(
        *(ask(edge, kind, way) for way, kind in asked), return_exceptions=True
    )
    for which, end in zip(asked, ends, strict=True):
        assert isinstance(end, aiohttp.ClientPayloadError), (which, end)
    figures.add("answers that a service broke off", len(asked))


async def test_a_connection_that_has_just_ended_is_no_clients_concern(tmp_path: Path) -> None:
    """A request met the end of an unused one: it is repeated where that may be, else refused."""
    async with front(tmp_path) as edge, breaking(edge) as service:
        for kind, status, connections in (
            ("read", 200, 2), ("write under a key", 200, 2), ("write", 503, 1),
        ):  # fmt: skip
            assert (await ask(edge, "read", "stale")).status == 200
            service.asked.clear()
            answer = await ask(edge, kind, "stale")
            assert answer.status == status, kind
            assert len(service.asked) == connections
            if status == 503:
                assert answer.headers["retry-after"] == "1"
            else:  # the connection of the second try is open; it ends with the next request
                assert (await ask(edge, "read", "stale")).status == 200
