"""Forged tokens × every place that takes one: refused, and the genuine one works in between."""

import asyncio
from typing import Any

import aiohttp
import pytest

from tests.fixtures.figures import Figures
from tests.fixtures.whole_system import WholeSystem
from tests.tokens.conftest import WORKERS
from tests.tokens.forgeries import BY_STRANGERS, OF_AUTHS_OWN_KEY, ORDER, Forge, Genuine
from tests.tokens.places import (
    CLOSED,
    CONNECT,
    REFUSED,
    SOCKET_READS,
    Headers,
    bearer,
    connect,
    doors,
    sockets,
    status,
)

FORGERIES = {f"a stranger: {name}": forge for name, forge in BY_STRANGERS.items()} | {
    f"auth's own key: {name}": forge for name, forge in OF_AUTHS_OWN_KEY.items()
}


class Tried:
    """What a token or a header was answered with, by place."""

    def __init__(self, system: WholeSystem, http: aiohttp.ClientSession) -> None:
        self._system = system
        self._http = http

    async def header(self, headers: Headers, query: str = "") -> dict[str, int]:
        places = doors(self._system)
        answers = await asyncio.gather(
            *(status(self._http, place.url + query, headers) for place in places)
        )
        return {place.name: answer for place, answer in zip(places, answers, strict=True)}

    async def socket(self, token: Any) -> dict[str, str]:
        places = sockets(self._system, WORKERS)
        answers = await asyncio.gather(*(connect(self._http, place, token) for place in places))
        return {place: answer[:2] for place, answer in zip(places, answers, strict=True)}


@pytest.fixture
def tried(system: WholeSystem, http: aiohttp.ClientSession) -> Tried:
    return Tried(system, http)


async def works(tried: Tried, token: str) -> None:
    assert set((await tried.header(bearer(token))).values()) == {200}
    assert set((await tried.socket(token)).values()) == {CONNECT}


@pytest.mark.counted
@pytest.mark.parametrize("forge", FORGERIES.values(), ids=FORGERIES)
async def test_a_forged_token_is_refused_everywhere(
    tried: Tried, genuine: Genuine, figures: Figures, forge: Forge
) -> None:
    token = forge(genuine)
    answers = await tried.header(bearer(token))
    assert set(answers.values()) <= {401, 403}, answers
    refusals = await tried.socket(token)
    expected = REFUSED if len(token) < SOCKET_READS else CLOSED
    assert set(refusals.values()) == {expected}, refusals
    figures.add("forged tokens tried", len(answers) + len(refusals))
    figures.tell("kinds of forged tokens", str(len(FORGERIES)))
    assert set((await tried.header(bearer(genuine.token))).values()) == {200}


async def test_what_the_forgeries_begin_with_is_good(tried: Tried, genuine: Genuine) -> None:
    """Else they might be refused for another reason."""
    await works(tried, genuine.token)
    await works(tried, genuine.signed())
    # whoever has a token can give it the other signature that ECDSA knows: it says the same
    await works(tried, genuine.with_signature(other_signature(genuine.signature)))


def other_signature(signature: bytes) -> bytes:
    s = ORDER - int.from_bytes(signature[32:], "big")
    return signature[:32] + s.to_bytes(32, "big")


HEADERS: dict[str, Any] = {
    "none": lambda token: [],
    "nothing in it": lambda token: [("Authorization", "")],
    "a scheme alone": lambda token: [("Authorization", "Bearer")],
    "another scheme": lambda token: [("Authorization", f"Token {token}")],
    "a password": lambda token: [("Authorization", "Basic YWRhOnBhc3N3b3Jk")],
    "no scheme": lambda token: [("Authorization", token)],
    "the scheme twice": lambda token: [("Authorization", f"Bearer Bearer {token}")],
    "two headers": lambda token: bearer(token) + bearer(token),
    "a bad one, then a good one": lambda token: bearer("a.b.c") + bearer(token),
    "a good one, then a bad one": lambda token: bearer(token) + bearer("a.b.c"),
    "two with a comma": lambda token: [("Authorization", f"Bearer {token}, Bearer {token}")],
    "something behind it": lambda token: [("Authorization", f"Bearer {token} x")],
    "a cookie": lambda token: [("Cookie", f"token={token}; access_token={token}")],
    "a header of another name": lambda token: [
        ("X-Authorization", f"Bearer {token}"),
        ("X-Access-Token", token),
        ("Proxy-Authorization", f"Bearer {token}"),
    ],
    "what the gateway itself says": lambda token: [
        ("X-Restock-Account", "0198f000-0000-7000-8000-000000000001"),
        ("X-User-Id", "0198f000-0000-7000-8000-000000000001"),
        ("X-Forwarded-User", "ada"),
    ],
}


@pytest.mark.parametrize("headers", HEADERS.values(), ids=HEADERS)
async def test_a_token_counts_in_one_authorization_header_alone(
    tried: Tried, genuine: Genuine, figures: Figures, headers: Any
) -> None:
    answers = await tried.header(headers(genuine.token))
    assert set(answers.values()) <= {401, 403}, answers
    figures.add("forged tokens tried", len(answers))


async def test_a_token_in_the_query_is_none(tried: Tried, genuine: Genuine) -> None:
    for name in ("token", "access_token", "jwt", "authorization"):
        answers = await tried.header([], f"?{name}={genuine.token}")
        assert set(answers.values()) == {401}, answers


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_the_scheme_may_be_written_small(tried: Tried, genuine: Genuine, scheme: str) -> None:
    answers = await tried.header([("Authorization", f"{scheme} {genuine.token}")])
    assert set(answers.values()) == {200}, answers


TOKENS_OF_OTHER_KINDS = [None, True, 7, 1.5, [], ["x"], {}, {"token": "x"}, "", " ", "é", "\0"]


@pytest.mark.parametrize("token", TOKENS_OF_OTHER_KINDS, ids=repr)
async def test_a_socket_takes_nothing_else(tried: Tried, genuine: Genuine, token: Any) -> None:
    answers = await tried.socket(token)
    assert set(answers.values()) == {REFUSED}, answers
    assert set((await tried.socket(genuine.token)).values()) == {CONNECT}


async def test_half_a_character_is_no_packet(tried: Tried) -> None:
    assert set((await tried.socket("\ud800")).values()) == {CLOSED}


async def test_a_public_route_does_not_look_at_a_token(
    system: WholeSystem, http: aiohttp.ClientSession, genuine: Genuine
) -> None:
    for base in (system.url, f"http://127.0.0.1:{3100 + system.offset}"):
        for headers in ([], bearer("a.b.c"), bearer(genuine.signed(exp=1)), bearer(genuine.token)):
            assert await status(http, f"{base}/.well-known/jwks.json", headers) == 200
