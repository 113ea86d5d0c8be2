"""A secret of one kind opens nothing that takes another."""

import base64
import json
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any
from uuid import uuid4

import aiohttp
import asyncpg
import jwt
import pytest
import pytest_asyncio

from restock.engines.local import environment_of
from tests.fixtures.figures import Figures
from tests.fixtures.whole_system import WholeSystem
from tests.tokens.conftest import WORKERS
from tests.tokens.people import PASSWORD
from tests.tokens.places import (
    CONNECT,
    REFUSED,
    OpenSocket,
    bearer,
    connect,
    doors,
    sockets,
    status,
)

KINDS = (
    "access token",
    "refresh token",
    "sid of Engine.IO",
    "sid of Socket.IO",
    "pid of a feed",
    "idempotency key",
    "id of the key",
    "id of the session",
    "id of the account",
    "password",
    "secret of refresh tokens",
    "private key",
    "secrets of the data directory",
)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def held(system: WholeSystem, http: aiohttp.ClientSession) -> AsyncIterator[dict[str, Any]]:
    """One account and every secret that has to do with it, by its kind; each kind a list."""
    body = {"email": f"{uuid4().hex}@example.org", "name": "Ada", "password": PASSWORD}
    async with http.post(f"{system.url}/api/auth/register", json=body) as answer:
        signed = await answer.json()
    token, key = signed["token"], uuid4().hex
    item = {"name": "Flour", "quantity": 1, "minThreshold": None, "unit": "kg", "category": "Dry"}
    headers = dict(bearer(token)) | {"Idempotency-Key": key}
    url = f"{system.url}/api/inventory/items"
    async with http.post(url, json=item, headers=headers) as answer:
        assert answer.status == 201
    claims = jwt.decode(token, options={"verify_signature": False})
    async with http.ws_connect(sockets(system, WORKERS)[0]) as ws:
        opened = json.loads((await ws.receive_str())[1:])
        await ws.send_str(CONNECT + json.dumps({"token": token}))
        connected = json.loads((await ws.receive_str()).removeprefix(CONNECT))
        yield {
            "access token": [token],
            "refresh token": [signed["refreshToken"]],
            "sid of Engine.IO": [opened["sid"]],
            "sid of Socket.IO": [connected["sid"]],
            "pid of a feed": [connected["pid"]],
            "idempotency key": [key],
            "id of the key": [jwt.get_unverified_header(token)["kid"]],
            "id of the session": [claims["sid"]],
            "id of the account": [claims["sub"]],
            "password": [PASSWORD],
            **await _of_the_system(system),
        }


async def _of_the_system(system: WholeSystem) -> dict[str, list[str]]:
    auth = await asyncpg.connect(environment_of(system.root, "auth")["RESTOCK_AUTH_DATABASE_URL"])
    secret = await auth.fetchval("SELECT value FROM secrets")
    pem = await auth.fetchval("SELECT private_pem FROM signing_keys WHERE state = 'active'")
    await auth.close()
    kept = json.loads((system.root / "secrets.json").read_text())
    return {
        "secret of refresh tokens": [secret.hex(), base64.urlsafe_b64encode(secret).decode()],
        "private key": ["".join(pem.splitlines()[1:-1])],
        "secrets of the data directory": list(kept.values()),
    }


def _others(held: dict[str, Any], *own: str) -> list[tuple[str, str]]:
    assert set(held) == set(KINDS)
    return [(kind, value) for kind in KINDS if kind not in own for value in held[kind]]


async def test_nothing_else_is_an_access_token(
    system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any], figures: Figures
) -> None:
    """In the header by every door, in a CONNECT, and in the renewal of an open socket."""
    for kind, value in _others(held, "access token"):
        for door in doors(system):
            assert await status(http, door.url, bearer(value)) == 401, (kind, door)
        for place in sockets(system, WORKERS):
            assert (await connect(http, place, value)).startswith(REFUSED), (kind, place)
        figures.add("secrets tried for another purpose", len(doors(system)) + WORKERS + 2)
    async with aclosing(await _open(system, http, held)) as socket:
        for kind, value in _others(held, "access token"):
            assert not (await socket.authenticate(value))["ok"], kind
            figures.add("secrets tried for another purpose")
        assert (await socket.authenticate(held["access token"][0]))["ok"]


async def _open(system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any]) -> Any:
    return await OpenSocket.open(http, sockets(system, WORKERS)[0], held["access token"][0])


async def test_nothing_else_is_a_refresh_token(
    system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any], figures: Figures
) -> None:
    for kind, value in _others(held, "refresh token"):
        for base in (system.url, f"http://127.0.0.1:{3100 + system.offset}"):
            url = f"{base}/api/auth/refresh"
            async with http.post(url, json={"refreshToken": value}) as answer:
                assert answer.status in (401, 422), kind
            figures.add("secrets tried for another purpose")


async def test_nothing_else_is_the_sid_of_a_connection(
    system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any], figures: Figures
) -> None:
    """And that of a websocket lets nobody poll it."""
    for kind, value in _others(held):
        url = f"{system.url}/socket.io/"
        asked = {"EIO": "4", "transport": "polling", "sid": value}
        async with http.get(url, params=asked) as answer:
            assert answer.status == 400, kind
        async with http.post(url, params=asked, data="40") as answer:
            assert answer.status == 400, kind
        figures.add("secrets tried for another purpose", 2)


async def test_nothing_but_an_id_names_a_session_to_end(
    system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any], figures: Figures
) -> None:
    headers = dict(bearer(held["access token"][0]))
    for kind, value in _others(held, "id of the session"):
        path = aiohttp.helpers.quote(value, safe="")
        async with http.delete(f"{system.url}/api/auth/sessions/{path}", headers=headers) as answer:
            assert answer.status in (400, 404), kind
        figures.add("secrets tried for another purpose")


@pytest.mark.parametrize("kind", ["pid of a feed", "refresh token", "access token"])
async def test_a_position_gives_no_access(
    system: WholeSystem, http: aiohttp.ClientSession, held: dict[str, Any], kind: str
) -> None:
    """A CONNECT that brings it as its `pid`, but no token."""
    async with http.ws_connect(sockets(system, WORKERS)[0]) as ws:
        await ws.receive_str()
        await ws.send_str(CONNECT + json.dumps({"pid": held[kind][0], "offset": "1"}))
        assert (await ws.receive_str()).startswith(REFUSED)
