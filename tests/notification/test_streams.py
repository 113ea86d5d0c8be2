"""Websockets of clients that don't behave: ones that never upgrade, ones that fill our memory."""

import asyncio
import json
import socket
from base64 import b64encode
from urllib.parse import urlsplit

import aiohttp
import pytest

from restock.notification import engine
from tests.notification.happenings import fell_low, happen
from tests.notification.process import killable

WEBSOCKET = "/socket.io/?EIO=4&transport=websocket"
POLLING = "/socket.io/?EIO=4&transport=polling"
SENT_MOST = 128 * 1024 * 1024
PING = b"\x89\xfd" + bytes(4) + bytes(125)
EMPTY_TEXT, EMPTY_FRAGMENT = b"\x01\x80" + bytes(4), b"\x00\x80" + bytes(4)


@pytest.fixture
async def http():
    async with aiohttp.ClientSession() as session:
        yield session


async def by_hand(url):
    """A websocket that only ever writes."""
    place = urlsplit(url)
    while True:
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        sock.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(sock, (place.hostname, place.port))
            break
        except ConnectionRefusedError:
            sock.close()
            await asyncio.sleep(0.05)
    reader, writer = await asyncio.open_connection(sock=sock, limit=1024)
    key = b64encode(b"0123456789abcdef").decode()
    writer.write(
        f"GET {WEBSOCKET} HTTP/1.1\r\nHost: {place.netloc}\r\nUpgrade: websocket\r\n"
        f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        "\r\n".encode()
    )
    await reader.readuntil(b"\r\n\r\n")
    return writer


async def cut_off(writer, frames):
    """How much could be sent until the server had enough."""
    sent = 0
    try:
        while sent < SENT_MOST:
            writer.write(frames)
            await writer.drain()
            sent += len(frames)
    except ConnectionError:
        pass
    writer.close()
    return sent


async def test_who_pings_and_reads_nothing_is_cut_off(postgres, nats, tmp_path):
    async with killable(postgres, nats, tmp_path) as process:
        await process.start()
        async with asyncio.timeout(60):
            pings = await by_hand(process.url)
            assert await cut_off(pings, PING * 500) < SENT_MOST
            fragments = await by_hand(process.url)
            fragments.write(EMPTY_TEXT)
            assert await cut_off(fragments, EMPTY_FRAGMENT * 5_000) < SENT_MOST


async def session_of(http, service, who):
    """A polling session that has had its sync: its URL and its link."""
    async with http.get(service.url + POLLING) as answer:
        sid = json.loads((await answer.text())[1:])["sid"]
    url = f"{service.url}{POLLING}&sid={sid}"
    async with http.post(url, data="40" + json.dumps({"token": who.token})) as answer:
        assert answer.status == 200
    async with http.get(url) as answer:
        assert "sync" in await answer.text()
    return url, service.context.resources.engine.links[sid]


async def text(http, url):
    async with http.get(url) as answer:
        return await answer.text()


async def waiting(link, polls):
    async with asyncio.timeout(20):
        while not link.carrier.polled:
            assert not any(poll.done() for poll in polls), [poll.result() for poll in polls]
            await asyncio.sleep(0.01)


def upgrading(http, url):
    return http.ws_connect(url.replace("transport=polling", "transport=websocket"))


async def test_an_upgrade_that_never_probes_leaves_polling_alone(live, http, ada):
    url, link = await session_of(http, live, ada)
    async with upgrading(http, url):
        poll = asyncio.create_task(text(http, url))
        await waiting(link, [poll])
        await happen(live, fell_low(ada.user_id))
        assert "new_notification" in await poll


async def test_an_upgrade_that_stops_half_way_is_given_up(live, http, ada, monkeypatch):
    monkeypatch.setattr(engine, "UPGRADE_STEP_WITHIN_S", 0.3)
    url, link = await session_of(http, live, ada)
    for said in ([], ["2probe"]):
        async with upgrading(http, url) as ws, asyncio.timeout(20):
            for frame in said:
                await ws.send_str(frame)
            while not ws.closed:
                await ws.receive()
        poll = asyncio.create_task(text(http, url))
        await waiting(link, [poll])
        await happen(live, fell_low(ada.user_id))
        assert "new_notification" in await poll


@pytest.mark.parametrize("nonsense", ["2" + "x" * 17_000, "2", "4", "b", ""])
async def test_an_upgrade_by_nonsense_is_given_up(live, http, ada, nonsense):
    url, link = await session_of(http, live, ada)
    async with upgrading(http, url) as ws, asyncio.timeout(20):
        await ws.send_str(nonsense)
        while not ws.closed:
            await ws.receive()
    poll = asyncio.create_task(text(http, url))
    await waiting(link, [poll])
    await happen(live, fell_low(ada.user_id))
    assert "new_notification" in await poll


async def test_of_two_upgrades_the_later_counts(live, http, ada):
    url, _link = await session_of(http, live, ada)
    async with upgrading(http, url) as early, upgrading(http, url) as late, asyncio.timeout(20):
        for frame in ("2probe", "5"):
            await late.send_str(frame)
        assert await late.receive_str() == "3probe"
        await early.send_str("2probe")
        while not early.closed:
            await early.receive()
        await happen(live, fell_low(ada.user_id))
        while "new_notification" not in await late.receive_str():
            pass
