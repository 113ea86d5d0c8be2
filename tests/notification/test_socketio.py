"""Socket.IO 5, case by case as its own test suite has it, for what we speak.

https://github.com/socketio/socket.io/tree/main/docs: text, and the namespace "/".
"""

import asyncio
import json

import pytest

from tests.notification.alone import alone, ended


@pytest.fixture
async def server():
    async with alone() as started:
        yield started


async def test_the_namespace_is_joined_and_the_answer_has_a_pid(server):
    ws = await server.opened()
    await ws.send_str('40{"token":"a pid"}')
    answer = await ws.receive_str()
    about = json.loads(answer[2:])
    assert (answer[:2], about["pid"]) == ("40", "a pid")
    assert about["sid"].startswith("1-")
    assert about["sid"] not in server.engine.links
    other = await server.opened()
    await other.send_str("40/,{}")
    assert set(json.loads((await other.receive_str())[2:])) == {"sid"}


async def test_who_is_refused_hears_why_and_may_try_again(server):
    ws = await server.opened()
    await ws.send_str('40{"token":"bad"}')
    said = json.loads((await ws.receive_str()).removeprefix("44"))
    assert said == {"message": "No", "data": {"code": "auth.unauthenticated"}}
    await ws.send_str("40")
    assert (await ws.receive_str()).startswith("40")


async def test_another_namespace_is_refused(server):
    ws = await server.joined()
    await ws.send_str("40/random")
    assert await ws.receive_str() == '44/random,{"message":"Invalid namespace"}'
    await ws.send_str('40/random?a=b,{"token":1}')
    assert await ws.receive_str() == '44/random,{"message":"Invalid namespace"}'
    await ws.send_str('42["say"]')
    assert await ws.receive_str() == '42["said"]'


@pytest.mark.parametrize("token", ["away", "broken"])
async def test_who_cannot_be_judged_is_let_go_without_an_answer(server, token):
    ws = await server.opened()
    await ws.send_str(json.dumps({"token": token}).join(["40", ""]))
    assert await ended(ws) == ([], 1000)
    assert server.echo.known == set()


async def judged(server):
    """The only link, once its CONNECT is looked at."""
    async with asyncio.timeout(20):
        while not any(link.busy for link in server.engine.links.values()):
            await asyncio.sleep(0)
    [link] = server.engine.links.values()
    return link


async def test_the_time_for_a_connect_is_over_when_it_has_come(server):
    server.echo.gate.clear()
    ws = await server.opened()
    await ws.send_str("40")
    link = await judged(server)
    assert link._deadline is None
    server.echo.gate.set()
    assert (await ws.receive_str()).startswith("40")


async def test_nobody_is_let_in_who_left_meanwhile(server):
    server.echo.gate.clear()
    ws = await server.opened()
    await ws.send_str("40")
    link = await judged(server)
    link.close("a test")
    await ended(ws)
    server.echo.gate.set()
    async with asyncio.timeout(20):
        while server.engine.links or server.engine._tasks:
            await asyncio.sleep(0)
    assert (server.echo.entered, server.echo.links, server.echo.known) == (0, [], set())


async def test_who_leaves_the_namespace_keeps_the_transport(server):
    ws = await server.joined()
    await ws.send_str("41")
    await ws.send_str("40")
    assert (await ws.receive_str()).startswith("40")


async def test_an_event_is_taken_and_acknowledged(server):
    ws = await server.joined()
    await ws.send_str('42["say",1,"2",{"3":[true]}]')
    assert await ws.receive_str() == '42["said", 1, "2", {"3": [true]}]'
    await ws.send_str('42456["ask",1,"2",{"3":[false]}]')
    assert await ws.receive_str() == '43456[[1,"2",{"3":[false]}]]'
    await ws.send_str('42/,7["ask"]')
    assert await ws.receive_str() == "437[[]]"
    await ws.send_str("439[1]")  # nobody asked for it
    await ws.send_str('428["ask"]')
    assert await ws.receive_str() == "438[[]]"


async def test_one_event_at_a_time(server):
    ws = await server.joined()
    server.echo.gate.clear()
    for number in range(500):
        await ws.send_str(f'42["tell",{number}]')
    await asyncio.sleep(0)
    async with asyncio.timeout(20):
        while not server.echo.links[0].busy:
            await asyncio.sleep(0)
    assert len(server.engine._tasks) == 1
    server.echo.gate.set()
    await ws.send_str('421["ask"]')
    assert await ws.receive_str() == "431[[]]"
    assert server.echo.told[:-1] == [("tell", number) for number in range(500)]


@pytest.mark.parametrize("early", ['42["say"]', "41", "43[1]", "42/other,[1]", "4", "44{}"])
async def test_before_its_connect_a_client_says_nothing(server, early):
    ws = await server.opened()
    await ws.send_str(early)
    assert await ended(ws) == ([], 1000)


async def test_a_binary_message_ends_the_connection(server):
    ws = await server.joined()
    await ws.send_bytes(b"\x01")
    assert await ended(ws) == ([], 1003)
    assert server.echo.links == []
