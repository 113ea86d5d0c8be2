"""Crowds that don't behave: many who say nothing, many who stop reading, many forged sessions.

One of each, floods of frames and of words are in test_engine, test_engineio and test_frames.
"""

import asyncio
import json

import aiohttp
import pytest
import pytest_asyncio

from restock.events.vendor import RequestOpened
from restock.kernel.ids import new_id
from restock.notification import connection, links, streams
from tests.notification.happenings import account, fell_low, happen, request_event
from tests.notification.test_engine import (
    POLLING,
    WEBSOCKET,
    connected,
    ended,
    polled,
    stubborn,
)

CROWD = pytest.mark.parametrize(
    "crowd", [30, pytest.param(1_000, marks=[pytest.mark.long, pytest.mark.timeout(400)])]
)
LONG = "…" * 2_000
AN_ACCOUNTS = 40  # sockets; it may have fifty


@pytest_asyncio.fixture(loop_scope="session")
async def http():
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        yield session


@pytest_asyncio.fixture(loop_scope="session")
async def listener(live, http, ada):
    """What somebody hears who behaves: a websocket, connected, read and answering pings."""
    heard = asyncio.Queue()

    async def listen():
        async for message in ws:
            if message.data == "2":
                await ws.send_str("3")
            else:
                heard.put_nowait(message.data)
        heard.put_nowait(None)  # closed

    async with http.ws_connect(live.url + WEBSOCKET) as ws:
        await connected(ws, ada)
        listening = asyncio.create_task(listen())
        yield heard
        listening.cancel()


async def hears(listener, live, ada, name):
    """Ada's alert reaches her."""
    await happen(live, fell_low(ada.user_id, name=name))
    async with asyncio.timeout(20):
        while name not in await listener.get():  # None once it is closed, in which nothing is
            pass


async def gone(live, most):
    """Wait until no more links than that are open."""
    async with asyncio.timeout(60):
        while len(live.context.resources.engine.links) > most:
            await asyncio.sleep(0.02)


@CROWD
async def test_a_crowd_that_says_nothing_is_dropped(
    live, http, ada, listener, crowd, monkeypatch, figures
):
    monkeypatch.setattr(links, "CONNECT_WITHIN_S", 1.0)
    before = len(live.context.resources.engine.links)
    silent = [await http.ws_connect(live.url + WEBSOCKET) for _ in range(crowd // 2)]
    for _ in range(crowd // 2):
        await polled(http, live)
    await hears(listener, live, ada, "while they are there")
    await gone(live, before)
    await hears(listener, live, ada, "when they are gone")
    for ws in silent:
        assert await ended(ws)
    figures.add("sockets that said nothing dropped", crowd)


@CROWD
async def test_a_crowd_that_stops_reading_is_dropped_and_delays_nobody(
    live, ada, listener, token_for, crowd, monkeypatch, figures
):
    monkeypatch.setattr(connection, "ROOM_WITHIN_S", 1.0)
    engine = live.context.resources.engine
    before = set(engine.links.values())
    people = [account(token_for) for _ in range(-(-crowd // AN_ACCOUNTS))]
    everyone = [person.user_id for person in people]
    writers = [(await stubborn(live, people[n % len(people)]))[1] for n in range(crowd)]
    stopped = set(engine.links.values()) - before
    assert len(stopped) == crowd
    most, rounds = 0, 0
    while any(not link.closing for link in stopped):
        await happen(
            live, request_event(RequestOpened, buyer=new_id(), people=everyone, message=LONG)
        )
        most = max(most, sum(link.waiting_bytes for link in stopped))
        rounds += 1
        if rounds % 10 == 0:
            await hears(listener, live, ada, f"round {rounds}")
    await gone(live, len(before))
    # beyond the first part of a backlog nothing is queued: the rest stays in the database
    assert most < crowd * 2 * streams.BYTES_LOW
    await hears(listener, live, ada, "when they are gone")
    for writer in writers:
        writer.close()
    figures.add("readers that stopped dropped", crowd)
    figures.tell("most that waited for one of them", f"{most // crowd // 1024} KiB")


FORGED = [
    *("0-", "0-AAAAAAAAAAAAAAAAAAAA", "1-AAAAAAAAAAAAAAAAAAAA", "%00", "..%2f0-x", "x" * 8_000),
    *("0-%ff%fe", "'%20OR%201=1--", "%F0%9F%92%A9", "null", "-1", "0"),
]


async def test_forged_sessions_are_refused_and_leave_nothing(live, http, ada, listener):
    before = len(live.context.resources.engine.links)
    token = json.dumps({"token": ada.token})
    for sid in FORGED:
        url = f"{live.url}{POLLING}&sid={sid}"
        async with http.get(url) as answer:
            assert answer.status == 400
        async with http.post(url, data=f"40{token}") as answer:
            assert answer.status == 400
        with pytest.raises(aiohttp.WSServerHandshakeError) as refusal:
            await http.ws_connect(f"{live.url}{WEBSOCKET}&sid={sid}")
        assert refusal.value.status == 400
    assert len(live.context.resources.engine.links) == before
    await hears(listener, live, ada, "the genuine one goes on")
