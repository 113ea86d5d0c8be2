"""Engine.IO 4, case by case as its own test suite has it, for what we speak.

https://github.com/socketio/socket.io/tree/main/docs: text only.
"""

import asyncio
import json

import aiohttp
import pytest

from restock.notification import engine, links, polling
from tests.notification.alone import alone, ended


@pytest.fixture
async def server():
    async with alone() as started:
        yield started


async def connected(server):
    """A polling session that has had its CONNECT answered."""
    sid = await server.session()
    assert await server.post("40", sid=sid) == (200, "ok")
    status, text = await server.get(sid=sid)
    assert (status, text.count("\x1e")) == (200, 1)
    return sid


async def polled(server, sid):
    """A poll that waits."""
    poll = asyncio.create_task(server.get(sid=sid))
    async with asyncio.timeout(20):
        while not server.engine.links[sid].carrier.polled:
            await asyncio.sleep(0)
    return poll


# -- handshake


async def test_a_session_begins_by_polling(server):
    status, text = await server.get()
    assert (status, text[0]) == (200, "0")
    about = json.loads(text[1:])
    assert about.pop("sid").startswith("1-")
    assert about == {
        "upgrades": ["websocket"],
        "pingInterval": 25_000,
        "pingTimeout": 20_000,
        "maxPayload": 16_384,
    }


async def test_a_session_begins_by_websocket(server):
    ws = await server.websocket()
    about = json.loads((await ws.receive_str())[1:])
    assert about.pop("sid") in server.engine.links
    assert about["upgrades"] == []
    await ws.close()
    async with asyncio.timeout(20):
        while server.engine.links:
            await asyncio.sleep(0)


@pytest.mark.parametrize(
    "query",
    [
        {"EIO": None},
        {"EIO": "abc"},
        {"EIO": "3"},
        {"transport": None},
        {"transport": "abc"},
        {"sid": "1-unknown"},
    ],
)
async def test_a_bad_request_is_refused(server, query):
    assert (await server.get(**query))[0] == 400
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.websocket(**query)
    assert refused.value.status == 400
    assert server.engine.links == {}


async def test_a_session_begins_by_get_only(server):
    assert (await server.post("40"))[0] == 400
    async with server.http.put(server.address()) as answer:
        assert answer.status == 400
    sid = await server.session()
    async with server.http.put(server.address(sid=sid)) as answer:
        assert answer.status == 400
    assert (await server.get(transport="websocket"))[0] == 400
    assert list(server.engine.links) == [sid]


# -- messages by polling


async def test_a_body_may_hold_several_packets(server):
    sid = await connected(server)
    said = "\x1e".join(f'42["say",{number}]' for number in range(3))
    assert await server.post(said, sid=sid) == (200, "ok")
    expected = "\x1e".join(f'42["said", {number}]' for number in range(3))
    assert await server.get(sid=sid) == (200, expected)


async def test_a_poll_waits_for_something_to_say(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    server.echo.links[0].send(b'2["late"]')
    assert await poll == (200, '42["late"]')


@pytest.mark.parametrize(
    "body",
    [
        "abc",
        "",
        "4abc",
        "2",
        "b4AQIDBA==",
        b"4\xff",
        f'42["tell","{"x" * 16_380}"]',
        "\x1e".join("6" * 1_001),
    ],
)
async def test_a_body_that_is_none_ends_the_session(server, body):
    sid = await connected(server)
    assert (await server.post(body, sid=sid))[0] == 400
    assert (await server.get(sid=sid))[0] == 400
    assert server.echo.links == []


async def test_two_polls_at_once_end_the_session(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    assert (await server.get(sid=sid))[0] == 400
    assert await poll == (200, "1")
    assert (await server.get(sid=sid))[0] == 400


async def test_two_posts_at_once_end_the_session(server):
    sid = await connected(server)
    server.echo.gate.clear()
    async with asyncio.TaskGroup() as tasks:
        early = tasks.create_task(server.post('42["say"]', sid=sid))
        async with asyncio.timeout(20):
            while not server.engine.links[sid].busy:
                await asyncio.sleep(0)
        assert (await server.post('42["say"]', sid=sid))[0] == 400
    assert early.result()[0] == 400
    server.echo.gate.set()
    assert (await server.get(sid=sid))[0] == 400


async def test_a_poll_that_is_given_up_ends_the_session(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    poll.cancel()
    async with asyncio.timeout(20):
        while sid in server.engine.links:
            await asyncio.sleep(0)
    assert server.echo.links == []


async def test_what_waits_for_a_poll_is_bounded(server):
    sid = await connected(server)
    [link] = server.echo.links
    while not link.closing:
        link.send(b"2" + b"x" * 1000)
        assert link.waiting_bytes <= polling.BYTES_MOST
    assert (await server.get(sid=sid))[0] == 400


async def test_an_answer_to_connect_without_room_ends_the_session(server):
    sid = await connected(server)
    [link] = server.echo.links
    while link.waiting_bytes + 70 < polling.BYTES_MOST:
        link.send(b"2")
    assert (await server.post("41\x1e40", sid=sid))[0] == 400
    assert (server.echo.entered, server.echo.known) == (1, set())


async def test_a_link_has_room_again_when_it_was_polled(server):
    sid = await connected(server)
    [link] = server.echo.links
    while link.has_room:
        link.send(b"2" + b"x" * 1000)
    room = asyncio.create_task(link.room())
    await asyncio.sleep(0)
    assert not room.done()
    await server.get(sid=sid)
    await room
    assert link.has_room


# -- heartbeat


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(links, "PING_INTERVAL_S", 0.05)
    monkeypatch.setattr(links, "CONNECT_WITHIN_S", 600.0)


async def test_polls_bring_pings_until_no_pong_comes(server, quick, monkeypatch):
    sid = await server.session()
    for _ in range(3):
        assert await server.get(sid=sid) == (200, "2")
        assert await server.post("3", sid=sid) == (200, "ok")
    monkeypatch.setattr(links, "PING_TIMEOUT_S", 0.05)
    assert await server.get(sid=sid) == (200, "2")
    async with asyncio.timeout(20):
        while sid in server.engine.links:
            await asyncio.sleep(0.01)


async def test_a_websocket_brings_pings_until_no_pong_comes(server, quick, monkeypatch):
    ws = await server.opened()
    for _ in range(3):
        assert await ws.receive_str() == "2"
        await ws.send_str("3")
    monkeypatch.setattr(links, "PING_TIMEOUT_S", 0.05)
    assert (await ended(ws))[0][-1] == "2"


# -- close


async def test_who_says_so_has_left(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    assert await server.post("1", sid=sid) == (200, "ok")
    assert await poll == (200, "6")
    assert (await server.get(sid=sid))[0] == 400
    ws = await server.joined()
    await ws.send_str("1")
    await ended(ws)
    assert server.echo.links == []


async def test_a_link_that_is_closed_says_no_disconnect(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    ws = await server.joined()
    for link in list(server.echo.links):
        link.close("a test")
        link.close("a test")
        link.send(b'2["late"]')
    assert await poll == (200, "1")
    assert await ended(ws) == ([], 1000)


async def test_an_end_closes_everything_and_takes_nobody(server):
    sid = await connected(server)
    poll = await polled(server, sid)
    ws = await server.joined()
    silent = await server.joined()
    async with asyncio.timeout(20), asyncio.TaskGroup() as tasks:
        tasks.create_task(server.engine.shut_down())
        assert await ended(ws) == ([], 1000)
        assert await poll == (200, "1")
        # who doesn't answer the farewell isn't waited for long
        tasks.create_task(asyncio.wait_for(server.engine.shut_down(), 10))
    assert (server.engine.links, server.echo.links) == ({}, [])
    await ended(silent)
    assert (await server.get())[0] == 503
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await server.websocket()
    assert refused.value.status == 503


# -- upgrade


async def test_polling_goes_over_to_a_websocket(server):
    sid = await connected(server)
    [link] = server.echo.links
    poll = await polled(server, sid)
    ws = await server.websocket(sid=sid)
    await ws.send_str("2probe")
    assert await ws.receive_str() == "3probe"
    assert await poll == (200, "6")
    assert await server.get(sid=sid) == (200, "6")
    link.send(b'2["before"]')
    assert await server.get(sid=sid) == (200, '42["before"]')
    link.send(b'2["between"]')
    await ws.send_str("5")
    assert await ws.receive_str() == '42["between"]'
    await ws.send_str('42["say",1]')
    assert await ws.receive_str() == '42["said", 1]'
    assert (await server.get(sid=sid))[0] == 400
    assert (await server.post("3", sid=sid))[0] == 400
    late = await server.websocket(sid=sid)
    await ended(late)
    await ws.send_str('42["say",2]')
    assert await ws.receive_str() == '42["said", 2]'


async def test_a_poll_may_wait_until_the_very_upgrade(server):
    sid = await connected(server)
    ws = await server.websocket(sid=sid)
    poll = await polled(server, sid)
    for said in ("2probe", "5"):
        await ws.send_str(said)
    assert await poll == (200, "6")
    assert await ws.receive_str() == "3probe"


@pytest.mark.parametrize(
    "said", [["2"], ["5"], ["2probe", "2probe"], ["2probe", "4"], ["4", "2probe"]]
)
async def test_an_upgrade_out_of_turn_is_given_up(server, said):
    sid = await connected(server)
    ws = await server.websocket(sid=sid)
    for frame in said:
        await ws.send_str(frame)
    await ended(ws)
    poll = await polled(server, sid)
    server.echo.links[0].send(b'2["late"]')
    assert await poll == (200, '42["late"]')


async def test_an_upgrade_ends_with_its_session(server, monkeypatch):
    monkeypatch.setattr(engine, "UPGRADE_STEP_WITHIN_S", 600.0)
    sid = await connected(server)
    ws = await server.websocket(sid=sid)
    server.echo.links[0].close("a test")
    await ended(ws)
    assert server.engine._upgrades == {}


async def test_who_goes_over_before_his_post_was_answered_ends_the_session(server):
    sid = await server.session()
    server.echo.gate.clear()
    post = asyncio.create_task(server.post("40\x1e40", sid=sid))
    async with asyncio.timeout(20):
        while not server.engine.links[sid].busy:
            await asyncio.sleep(0)
    ws = await server.websocket(sid=sid)
    await ws.send_str("2probe")
    assert await ws.receive_str() == "3probe"
    await ws.send_str("5")
    await ended(ws)
    assert (await post)[0] == 400
    assert len(server.engine._tasks) == 1
    server.echo.gate.set()
    async with asyncio.timeout(20):
        while server.engine.links or server.engine._tasks:
            await asyncio.sleep(0)
    assert (server.echo.entered, server.echo.known) == (0, set())
