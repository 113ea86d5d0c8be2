"""Many clients at once that are slow, silent or rude: each is cut off in time, nobody else notices.

One slow client, too much of header or body and doubtful HTTP are in test_edge and test_filters.
"""

import asyncio
import statistics
from collections.abc import AsyncIterator, Awaitable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.fixtures.figures import Figures
from tests.gateway.stubs import HOST, Front, front, settled

ITEMS = "/api/inventory/items"
LIMIT_S = 2
SLACK_S = 8.0  # what a busy machine may add
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
DATA, HEADERS, RST_STREAM, SETTINGS, GOAWAY, CONTINUATION = 0, 1, 3, 4, 7, 9
END_STREAM, END_HEADERS = 0x1, 0x4
# HPACK: GET, http, /health, authority x, by the static table and literals that are not kept
HEALTH = b"\x82\x86\x04\x07/health\x01\x01x"


async def slow(edge: Front, head: bytes) -> tuple[bytes, float]:
    """Send the head, then a byte now and then; what was answered, and when it was over."""
    clock = asyncio.get_running_loop().time
    reader, writer = await asyncio.open_connection(HOST, edge.settings.public_port)
    began = clock()
    answer = bytearray()
    reading = asyncio.create_task(read_all(reader, answer))
    try:
        writer.write(head)
        while head and not reading.done():
            await asyncio.wait([reading], timeout=LIMIT_S / 3)
            writer.write(b"x")
        await reading
        return bytes(answer), clock() - began
    finally:
        reading.cancel()
        writer.close()


async def read_all(reader: asyncio.StreamReader, answer: bytearray) -> None:
    """Until the end, or until the connection was reset under what we still sent."""
    with suppress(ConnectionError):
        while part := await reader.read(4096):
            answer += part


@asynccontextmanager
async def asking(edge: Front) -> AsyncIterator[list[tuple[int, float]]]:
    """Somebody who asks one thing after the other during the block: statuses and seconds."""
    answers: list[tuple[int, float]] = []

    async def ask() -> None:
        clock = asyncio.get_running_loop().time
        bearer = edge.bearer()
        while True:
            began = clock()
            async with edge.request("GET", ITEMS, headers=bearer) as answer:
                answers.append((answer.status, clock() - began))
            await asyncio.sleep(0.01)

    task = asyncio.create_task(ask())
    try:
        yield answers
        count = len(answers)

        async def another() -> bool:
            assert not task.done()
            return len(answers) >= count + 10

        await settled(another)
    finally:
        task.cancel()
    assert {status for status, _ in answers} == {200}
    # far under the time for which a slow one is held: they have not waited for these
    assert statistics.median(seconds for _, seconds in answers) < LIMIT_S / 2


@pytest.mark.parametrize("each", [50, pytest.param(500, marks=pytest.mark.long)])
async def test_slow_clients_are_cut_off_and_hold_up_nobody(
    tmp_path: Path, each: int, figures: Figures
) -> None:
    limits = {"headers_timeout": LIMIT_S, "body_timeout": LIMIT_S, "idle_timeout": LIMIT_S}
    heads = {
        "headers": b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ",
        "body": b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n",
        "chunks": b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked"
        b"\r\n\r\n270f\r\n",
        "silence": b"",
    }
    async with front(tmp_path, **limits) as edge, asking(edge):
        ends: list[Awaitable[tuple[bytes, float]]] = [
            slow(edge, head) for _ in range(each) for head in heads.values()
        ]
        async with asyncio.timeout(LIMIT_S * 20):
            ended = await asyncio.gather(*ends)
        assert not edge.services["auth"].seen
    for number, kind in enumerate(heads):
        answers = ended[number :: len(heads)]
        times = [seconds for _, seconds in answers]
        assert max(times) < LIMIT_S + SLACK_S, kind
        assert statistics.median(times) > LIMIT_S / 2, kind  # they were let in
        said = {answer[:13] for answer, _ in answers}
        # in a crowd a reset may overtake the answer; who never began to ask gets none
        assert said - {b""} == (set() if kind == "silence" else {b"HTTP/1.1 408 "}), kind
    figures.add("slow or silent connections cut off", len(ended))


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_slow_bodies_hold_no_connection_to_a_service(tmp_path: Path, method: str) -> None:
    """These are few: whoever asks properly would wait for those who don't."""
    path = "/api/auth/refresh" if method == "POST" else "/.well-known/jwks.json"
    head = f"{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 9999\r\n\r\n".encode()
    async with front(tmp_path, upstream_connections=10, body_timeout=30) as edge:
        crowd = [asyncio.create_task(slow(edge, head)) for _ in range(30)]

        async def all_there() -> bool:
            async with edge.session.get(f"{edge.admin}/stats?filter=edge.downstream_rq_a") as found:
                return f"downstream_rq_active: {len(crowd)}" in await found.text()

        await settled(all_there)
        for _ in range(20):
            async with (
                asyncio.timeout(10),
                edge.request("GET", "/api/auth/verify", headers=edge.bearer()) as answer,
            ):
                assert answer.status == 200
        assert not any(one.done() for one in crowd)
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)


async def test_bodies_take_so_much_memory_and_no_more(tmp_path: Path) -> None:
    """Whole but for a byte, of people with a token: beyond it everybody is told to come again."""
    async with front(tmp_path, max_heap=64 << 20, body_timeout=60) as edge:
        bearer = edge.bearer()["authorization"]
        head = f"POST /api/vendors HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n"
        most = f"{head}content-length: {1 << 20}\r\n\r\n".encode() + b"x" * ((1 << 20) - 1)
        crowd = [asyncio.create_task(hold(edge, most)) for _ in range(100)]

        async def answered(status: int, code: str | None) -> bool:
            async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
                assert answer.status == 200 or answer.headers["retry-after"] == "1"
                return bool(answer.status == status and (await answer.json()).get("code") == code)

        await settled(lambda: answered(503, "gateway.service_unavailable"))
        for one in crowd:
            one.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        await settled(lambda: answered(200, None))


async def hold(edge: Front, data: bytes) -> None:
    """Send it, and stay."""
    _, writer = await asyncio.open_connection(HOST, edge.settings.public_port)
    try:
        writer.write(data)
        await asyncio.Event().wait()
    finally:
        writer.transport.abort()


def frame(kind: int, flags: int, stream: int, payload: bytes = b"") -> bytes:
    """RFC 9113, section 4.1."""
    return (
        len(payload).to_bytes(3, "big") + bytes((kind, flags)) + stream.to_bytes(4, "big") + payload
    )


async def flooded(edge: Front, frames: list[bytes]) -> list[int]:
    """Send HTTP/2 frames for as long as they are taken; the kinds that came back until the end."""
    reader, writer = await asyncio.open_connection(HOST, edge.settings.public_port)

    async def write() -> None:
        with suppress(ConnectionError):
            writer.write(PREFACE + frame(SETTINGS, 0, 0))
            for one in frames:
                writer.write(one)
                await writer.drain()

    writing = asyncio.create_task(write())
    kinds = []
    try:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while True:
                head = await reader.readexactly(9)
                await reader.readexactly(int.from_bytes(head[:3], "big"))
                kinds.append(head[3])
        await writing
    finally:
        writing.cancel()
        writer.close()
    return kinds


async def test_streams_that_are_reset_at_once_end_the_connection(tmp_path: Path) -> None:
    """HTTP/2 rapid reset (CVE-2023-44487): a request that costs its sender nothing."""
    often = 20_000
    frames = [
        frame(HEADERS, END_STREAM | END_HEADERS, stream, HEALTH)
        + frame(RST_STREAM, 0, stream, (8).to_bytes(4, "big"))
        for stream in range(1, 2 * often, 2)
    ]
    async with front(tmp_path, body_timeout=60) as edge, asking(edge):
        async with asyncio.timeout(30):
            assert DATA not in await flooded(edge, frames)
        assert len(edge.services["gateway"].seen) < often / 10


async def test_headers_that_never_end_end_the_connection(tmp_path: Path) -> None:
    """A flood of CONTINUATION frames (CVE-2024-30255)."""
    more = frame(CONTINUATION, 0, 1, b"\x00\x03x-a" + b"\x7f\x00" + b"y" * 127)
    frames = [frame(HEADERS, END_STREAM, 1, HEALTH), *[more] * 20_000]
    async with front(tmp_path, headers_timeout=60) as edge, asking(edge):
        async with asyncio.timeout(30):
            assert DATA not in await flooded(edge, frames)
        assert not edge.services["gateway"].seen


async def test_one_stream_is_answered_over_http_2(edge: Front) -> None:
    """What the floods are made of is a request that is good on its own."""
    reader, writer = await asyncio.open_connection(HOST, edge.settings.public_port)
    writer.write(PREFACE + frame(SETTINGS, 0, 0))
    writer.write(frame(HEADERS, END_STREAM | END_HEADERS, 1, HEALTH))
    async with asyncio.timeout(20):
        while (head := await reader.readexactly(9))[3] != DATA:
            await reader.readexactly(int.from_bytes(head[:3], "big"))
    writer.close()
    assert len(edge.services["gateway"].seen) == 1
