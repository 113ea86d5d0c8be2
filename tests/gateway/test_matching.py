"""Routing: sockets to their worker, retries only where a repetition does no harm."""

import asyncio
from collections import Counter
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.gateway.conftest import ORIGIN
from tests.gateway.stubs import Behaviour, Front, Stub, front, settled

ITEMS = "/api/inventory/items"
KEY = {"idempotency-key": "k-1"}


def failing(times: int, how: str) -> Behaviour:
    """Fail the first requests, then answer 200."""
    left = times

    async def behave(request: web.Request) -> web.StreamResponse:
        nonlocal left
        if left == 0:
            return web.json_response({"after": times})
        left -= 1
        if how == "503":
            return web.Response(status=503, headers={"retry-after": "7"})
        if how == "500":
            return web.Response(status=500)
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    return behave


@pytest.mark.parametrize("how", ["reset", "503"])
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", ITEMS, {}),
        ("HEAD", ITEMS, {}),
        ("POST", ITEMS, KEY),
        ("PATCH", ITEMS, KEY),
        ("POST", "/api/vendors", KEY),
        ("POST", "/api/notifications/read-all", KEY),
        ("GET", "/api/auth/verify", {}),
    ],
)
async def test_what_may_be_repeated_is(
    edge: Front, method: str, path: str, headers: dict[str, str], how: str
) -> None:
    service = edge.services[service_of(path)]
    service.behave = failing(2, how)
    data = b'{"a": 1}' if method in ("POST", "PATCH") else None
    async with edge.request(method, path, headers=edge.bearer() | headers, data=data) as answer:
        assert answer.status == 200
    assert len(service.seen) == 3
    assert len({seen.body for seen in service.seen}) == 1
    assert len({seen.values("x-request-id")[0] for seen in service.seen}) == 1


@pytest.mark.parametrize("how", ["reset", "503"])
@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("POST", ITEMS, {}),
        ("PATCH", ITEMS, {}),
        ("DELETE", ITEMS, KEY),
        ("PUT", ITEMS, KEY),
        ("POST", "/api/auth/login", KEY),
        ("POST", "/api/auth/refresh", KEY),
        ("POST", "/api/auth/logout", KEY),
        ("POST", "/socket.io/", KEY),
    ],
)
async def test_what_may_not_be_repeated_is_not(
    edge: Front, method: str, path: str, headers: dict[str, str], how: str
) -> None:
    for stub in (*edge.services.values(), *edge.workers):
        stub.behave = failing(2, how)
    async with edge.request(method, path, headers=edge.bearer() | headers, data=b"{}") as answer:
        assert answer.status == 503
        assert answer.headers["retry-after"] == ("7" if how == "503" else "1")
    reached = [seen for stub in (*edge.services.values(), *edge.workers) for seen in stub.seen]
    assert len(reached) == 1


async def test_that_it_is_unwell_is_asked_once(edge: Front) -> None:
    """A 503 of /health is its answer: asked again it comes later, and is the same."""
    edge.services["gateway"].behave = failing(2, "503")
    async with edge.request("GET", "/health") as answer:
        assert answer.status == 503
    assert len(edge.services["gateway"].seen) == 1


async def test_an_error_of_the_service_is_not_repeated(edge: Front) -> None:
    edge.services["inventory"].behave = failing(1, "500")
    async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
        assert answer.status == 500
    assert len(edge.services["inventory"].seen) == 1


def service_of(path: str) -> str:
    return {"auth": "auth", "inventory": "inventory", "vendors": "vendor"}.get(
        path.split("/")[2], "notification"
    )


@pytest.mark.parametrize("worker", [0, 1, 2])
async def test_a_session_stays_with_its_worker(edge: Front, worker: int) -> None:
    for query in (f"sid={worker}-Zm9v", f"EIO=4&transport=polling&sid={worker}-x&t=1"):
        for method in ("GET", "POST"):
            async with edge.request(method, f"/socket.io/?{query}") as answer:
                assert (await answer.json())["service"] == f"worker-{worker}"
    assert [len(stub.seen) for stub in edge.workers] == [4 * (i == worker) for i in range(3)]


async def test_worker_10_is_not_taken_for_worker_1(tmp_path: Path) -> None:
    async with front(tmp_path, workers=11) as edge:
        for worker in (1, 10):
            assert f'"worker-{worker}"' in await _text(edge, f"/socket.io/?sid={worker}-Zm9v")


async def test_handshakes_are_shared_by_all_workers(edge: Front) -> None:
    for _ in range(60):
        async with edge.request("GET", "/socket.io/?EIO=4&transport=polling") as answer:
            assert answer.status == 200
    assert set(Counter(stub.name for stub in edge.workers for _ in stub.seen)) == {
        *("worker-0", "worker-1", "worker-2")
    }


@pytest.mark.parametrize("sid", ["7-abc", "00-abc", "abc", "", "10-abc"])
async def test_an_unknown_session_is_told_so_by_a_worker(edge: Front, sid: str) -> None:
    async with edge.request("GET", f"/socket.io/?EIO=4&sid={sid}") as answer:
        assert (await answer.json())["service"].startswith("worker-")


async def test_a_websocket_opens_on_the_socket_path_only(edge: Front) -> None:
    for worker in edge.workers:
        worker.behave = echo
    edge.services["vendor"].behave = echo
    for query, name in (("", "worker-"), ("&sid=1-x", "worker-1"), ("&sid=2-x", "worker-2")):
        url = f"{edge.url}/socket.io/?EIO=4&transport=websocket{query}"
        async with edge.session.ws_connect(url) as socket:
            # more than a body may hold: frames are no body
            for _ in range(3):
                await socket.send_bytes(b"x" * 700_000)
                assert len(await socket.receive_bytes()) == 700_000
        seen = [stub.name for stub in edge.workers if stub.seen]
        assert seen[-1].startswith(name)
        for stub in edge.workers:
            stub.seen.clear()
    for path in ("/api/vendors", "/docs", "/nothing"):
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await edge.session.ws_connect(f"{edge.url}{path}", headers=edge.bearer())
        assert refusal.value.status in (403, 404)
    assert not edge.services["vendor"].seen


async def echo(request: web.Request) -> web.StreamResponse:
    socket = web.WebSocketResponse()
    await socket.prepare(request)
    async for message in socket:
        await socket.send_bytes(message.data)
    return socket


async def test_a_poll_cannot_pass_for_a_websocket_to_send_a_huge_body(edge: Front) -> None:
    huge = b"x" * 2_000_000
    disguises = ({}, {"upgrade": "websocket"}, {"connection": "upgrade", "upgrade": "websocket"})
    for method, headers in (*(("POST", disguise) for disguise in disguises), ("GET", disguises[1])):
        async with edge.request(method, "/socket.io/", headers=headers, data=huge) as answer:
            assert answer.status in (403, 413)
    assert all(not stub.seen for stub in edge.workers)


async def test_a_foreign_page_may_not_open_a_socket(edge: Front) -> None:
    foreign = [f"{ORIGIN}.evil.example", "http://evil.example", "null", edge.url + "1", "x"]
    own = [ORIGIN, edge.url]
    for origin in (*foreign, *own, None):
        headers = {"origin": origin} if origin else {}
        async with edge.request("GET", "/socket.io/?EIO=4", headers=headers) as answer:
            assert answer.status == (403 if origin in foreign else 200)
            if answer.status == 403:
                assert (await answer.json())["code"] == "gateway.origin_refused"
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await edge.session.ws_connect(f"{edge.url}/socket.io/", headers={"origin": foreign[0]})


async def test_without_listed_origins_only_the_own_page_may(tmp_path: Path) -> None:
    """What a token opens must not be opened by any page that got hold of one."""
    async with front(tmp_path, trusted_hops=1) as edge:
        secure = edge.url.replace("http:", "https:")
        behind_tls = {"x-forwarded-proto": "https"}
        for origin, headers, wanted in (
            *((edge.url, {}, 200), (None, {}, 200), (secure, behind_tls, 200), (secure, {}, 403)),
            *(("http://evil.example", {}, 403), ("null", {}, 403), (ORIGIN, {}, 403)),
        ):
            own = {"origin": origin} if origin else {}
            for query in ("EIO=4", "EIO=4&sid=0-x"):
                path = f"/socket.io/?{query}"
                async with edge.request("GET", path, headers=own | headers) as answer:
                    assert answer.status == wanted, origin
        foreign = {"origin": "http://evil.example"}
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await edge.session.ws_connect(f"{edge.url}/socket.io/", headers=foreign)
        assert refusal.value.status == 403


async def test_a_read_has_all_its_time_for_one_try(tmp_path: Path) -> None:
    """It isn't cut at a part of it, to be asked for again."""

    async def never(_request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        return web.Response()

    async with front(tmp_path, read_timeout=2) as edge:
        edge.services["inventory"].behave = never
        async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
            assert answer.status == 504
        assert len(edge.services["inventory"].seen) == 1


async def test_a_poll_may_wait_longer_than_a_read(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def held(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    async with front(tmp_path, read_timeout=1) as edge:
        edge.workers[0].behave = edge.services["inventory"].behave = held
        poll = asyncio.create_task(_text(edge, "/socket.io/?sid=0-x"))
        for worker in edge.workers:
            await settled(lambda worker=worker: _reached(worker))
        async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
            assert answer.status == 504
            assert (await answer.json())["code"] == "gateway.service_too_slow"
        assert not poll.done()
        release.set()
        assert await poll == "late"


async def test_a_worker_that_is_away_gets_no_handshake(tmp_path: Path) -> None:
    async with front(tmp_path, workers=2) as edge:
        await edge.workers[0].stop()
        for _ in range(20):
            assert "worker-1" in await _text(edge, "/socket.io/?EIO=4")
        async with edge.request("GET", "/socket.io/?EIO=4&sid=0-x") as answer:
            assert answer.status == 503


async def _reached(stub: Stub) -> bool:
    return bool(stub.seen)


async def _text(edge: Front, path: str) -> str:
    async with edge.request("GET", path) as answer:
        return str(await answer.text())
