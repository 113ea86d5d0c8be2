"""Clients that don't behave: silent ones, ones that stop reading, ones that send nonsense."""

import asyncio
import json
import socket
from base64 import b64encode
from urllib.parse import urlsplit

import aiohttp
import pytest

from restock.notification import connection, links, polling, streams
from tests.notification.happenings import fell_low, happen

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def polled(http, service):
    """A fresh polling session: its URL and what came with the handshake."""
    async with http.get(service.url + POLLING) as answer:
        opened = json.loads((await answer.text())[1:])
    return f"{service.url}{POLLING}&sid={opened['sid']}", opened


async def connected(ws, who):
    """CONNECT on a raw websocket; the packets up to sync are read."""
    assert (await ws.receive_str()).startswith("0{")
    await ws.send_str("40" + json.dumps({"token": who.token}))
    assert (await ws.receive_str()).startswith("40{")
    assert (await ws.receive_str()).startswith('42["sync"')


async def ended(ws):
    """Read until the server has closed; whether it did."""
    async with asyncio.timeout(20):
        while not ws.closed:
            await ws.receive()
    return True


async def test_a_connection_that_never_sends_connect_is_dropped(live, http, ada):
    async with (
        http.ws_connect(live.url + WEBSOCKET) as silent,
        http.ws_connect(live.url + WEBSOCKET) as speaking,
    ):
        await connected(speaking, ada)
        url, _ = await polled(http, live)
        async with http.get(url) as poll:
            assert await poll.text() == "1"
        assert await ended(silent)
        await happen(live, fell_low(ada.user_id))
        assert (await speaking.receive_str()).startswith('42["new_notification"')


async def test_who_leaves_the_namespace_is_dropped_unless_he_comes_back(live, http, ada):
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await connected(ws, ada)
        await ws.send_str("41")
        await ws.send_str("40" + json.dumps({"token": ada.token}))
        assert (await ws.receive_str()).startswith("40{")
        await ws.send_str("41")
        assert await ended(ws)


async def test_a_reader_that_stops_is_dropped_and_costs_little(live, ada, monkeypatch):
    monkeypatch.setattr(connection, "ROOM_WITHIN_S", 0.5)
    sockets = live.context.resources.engine.links
    before = len(sockets)
    reader, writer = await stubborn(live, ada)
    link = list(sockets.values())[before]
    most = 0
    while not link.closing:
        await happen(live, fell_low(ada.user_id, name="…" * 200))
        most = max(most, link.waiting_bytes)
    assert most <= streams.BYTES_MOST == 128 * 1024
    async with asyncio.timeout(20):
        while len(sockets) > before:
            await asyncio.sleep(0.01)
        # what was on its way can be read, then the connection is over
        with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
            await reader.readexactly(64 * 1024 * 1024)
    writer.close()


async def stubborn(service, who):
    """A websocket by hand that reads up to its CONNECT answer and nothing after it."""
    place = urlsplit(service.url)
    sock = socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    sock.setblocking(False)
    await asyncio.get_running_loop().sock_connect(sock, (place.hostname, place.port))
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    key = b64encode(b"0123456789abcdef").decode()
    writer.write(
        f"GET {WEBSOCKET} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    said = ("40" + json.dumps({"token": who.token})).encode()
    # a masked text frame; a mask of zeros leaves the text as it is
    writer.write(b"\x81\xfe" + len(said).to_bytes(2, "big") + bytes(4) + said)
    await reader.readuntil(b'"sync"')
    return reader, writer


async def test_a_poller_that_stops_is_dropped(live, http, ada, monkeypatch):
    monkeypatch.setattr(connection, "ROOM_WITHIN_S", 0.5)
    url, opened = await polled(http, live)
    async with http.post(url, data="40" + json.dumps({"token": ada.token})) as answer:
        assert answer.status == 200
    link = live.context.resources.engine.links[opened["sid"]]
    while not link.closing:
        await happen(live, fell_low(ada.user_id, name="…" * 200))
        assert link.waiting_bytes <= polling.BYTES_MOST
    async with http.get(url) as answer:
        assert answer.status == 400


async def test_a_poll_of_a_client_that_leaves_is_answered(live, http, ada):
    url, opened = await polled(http, live)
    async with http.post(url, data="40" + json.dumps({"token": ada.token})) as answer:
        assert answer.status == 200
    async with http.get(url) as answer:
        assert "sync" in await answer.text()
    carrier = live.context.resources.engine.links[opened["sid"]].carrier
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        poll = tasks.create_task(_text(http, url))
        while not carrier.polled:
            await asyncio.sleep(0.01)
        async with http.post(url, data="1") as answer:
            assert answer.status == 200
    assert poll.result() in ("", "6", "1")


async def _text(http, url):
    async with http.get(url) as answer:
        return await answer.text()


@pytest.mark.parametrize(
    "nonsense",
    [
        "4",
        "4x",
        "49",
        "42",
        '42["subscribe"',
        "42{}",
        "451-[]",
        "40{",
        "4" + "[" * 9000,
        "9",
        "é",
        "",
    ],
)
async def test_what_is_not_socket_io_ends_the_connection_and_nothing_else(
    live, http, ada, nonsense
):
    async with (
        http.ws_connect(live.url + WEBSOCKET) as good,
        http.ws_connect(live.url + WEBSOCKET) as bad,
    ):
        await connected(good, ada)
        await connected(bad, ada)
        await bad.send_str(nonsense)
        assert await ended(bad)
        await happen(live, fell_low(ada.user_id))
        assert (await good.receive_str()).startswith('42["new_notification"')


async def test_a_second_connect_is_refused_and_the_first_goes_on(live, http, ada):
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await connected(ws, ada)
        await ws.send_str("40" + json.dumps({"token": ada.token}))
        assert (await ws.receive_str()).startswith("44")
        await happen(live, fell_low(ada.user_id))
        assert (await ws.receive_str()).startswith('42["new_notification"')


async def test_a_frame_or_body_too_large_ends_the_connection(live, http, ada):
    large = "42" + json.dumps(["subscribe", {"userId": "x" * polling.BODY_BYTES_MOST}])
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await connected(ws, ada)
        await ws.send_str(large)
        assert await ended(ws)
    url, opened = await polled(http, live)
    assert opened["maxPayload"] == polling.BODY_BYTES_MOST
    async with http.post(url, data=large) as answer:
        assert answer.status == 400
    async with http.get(url) as answer:
        assert answer.status == 400


async def test_who_says_too_much_is_cut_off(live, http, ada):
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await connected(ws, ada)
        for _ in range(connection.SAID_MOST + 1):
            await ws.send_str('42["subscribe",{}]')
        assert await ended(ws)


async def test_who_is_refused_hears_why_and_is_let_go(live, http, monkeypatch):
    monkeypatch.setattr(links, "CONNECT_WITHIN_S", 600.0)
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await ws.receive_str()
        await ws.send_str('40{"token":"x"}')
        assert "auth.unauthenticated" in await ws.receive_str()
        assert await ended(ws)


@pytest.mark.parametrize("connect", ['40{"token":"x"}', '40/admin,{"token":"x"}'])
async def test_connects_are_counted(live, http, monkeypatch, connect):
    monkeypatch.setattr(links, "CONNECT_WITHIN_S", 600.0)
    monkeypatch.setattr(links, "REFUSED_FOR_S", 600.0)
    refusals = 0
    async with http.ws_connect(live.url + WEBSOCKET) as ws, asyncio.timeout(20):
        await ws.receive_str()
        for _ in range(links.CONNECTS_MOST + 10):
            await ws.send_str(connect)
        while not ws.closed:
            message = await ws.receive()
            refusals += message.type == aiohttp.WSMsgType.TEXT and message.data.startswith("44")
    assert refusals <= links.CONNECTS_MOST


async def test_an_account_has_so_many_sockets_and_no_more(
    make_service, nats, http, ada, bob, port_offset
):
    service = await make_service(
        "notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset, sockets_per_account="2"
    )
    async with (
        http.ws_connect(service.url + WEBSOCKET) as first,
        http.ws_connect(service.url + WEBSOCKET) as second,
        http.ws_connect(service.url + WEBSOCKET) as third,
        http.ws_connect(service.url + WEBSOCKET) as others,
    ):
        await connected(first, ada)
        await connected(second, ada)
        await third.receive_str()
        await third.send_str("40" + json.dumps({"token": ada.token}))
        assert '"notification.too_many_sockets"' in await third.receive_str()
        await connected(others, bob)
        await happen(service, fell_low(ada.user_id))
        assert (await second.receive_str()).startswith('42["new_notification"')
        await first.send_str("41")
        async with asyncio.timeout(20):
            while len(service.context.resources.sockets._audiences[ada.user_id].connections) > 1:
                await asyncio.sleep(0.01)
        async with http.ws_connect(service.url + WEBSOCKET) as again:
            await connected(again, ada)


async def test_while_it_stops_it_says_when_to_come_back(make_service, nats, http, port_offset):
    service = await make_service("notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset)
    await service.context.resources.engine.shut_down()
    async with http.get(service.url + POLLING) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (503, "1")
        assert answer.content_type == "application/problem+json"
        assert (await answer.json())["code"] == "request.unavailable"


async def test_another_namespace_is_refused(live, http, ada):
    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await ws.receive_str()
        await ws.send_str("40/admin," + json.dumps({"token": ada.token}))
        assert (await ws.receive_str()).startswith("44/admin,")


async def test_nothing_is_left_of_connections_that_ended(live, http, ada):
    service = live.context.resources
    for number in range(20):
        async with http.ws_connect(live.url + WEBSOCKET) as ws:
            if number % 4 == 0:
                await ws.receive_str()
            elif number % 4 == 1:
                await ws.receive_str()
                await ws.send_str("40" + json.dumps({"token": ada.token}))
            else:
                await connected(ws, ada)
    async with asyncio.timeout(20):
        while ada.user_id in service.sockets._audiences:
            await asyncio.sleep(0.01)
    gone = service.sockets._connections.values()
    assert all(connection.who.user_id != ada.user_id for connection in gone)
    assert len(service.sockets._starts) == 0
