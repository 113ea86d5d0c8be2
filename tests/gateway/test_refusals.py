"""Whatever Envoy itself refuses has the shape of every other refusal."""

import asyncio
from pathlib import Path
from uuid import UUID

import pytest
from aiohttp import web

from restock.gateway.refusals import REFUSALS
from tests.gateway.stubs import Front, front, settled

SHAPE = {"type", "code", "title", "status", "requestId"}
ITEMS = "/api/inventory/items"


@pytest.mark.parametrize(
    ("method", "path", "token", "status", "code"),
    [
        ("GET", "/nothing", True, 404, "gateway.route_not_found"),
        ("GET", ITEMS, False, 401, "gateway.token_invalid"),
        ("GET", "/api/inventory/a%2fb", True, 400, "gateway.request_malformed"),
    ],
)
async def test_a_refusal_is_a_problem_document(
    edge: Front, method: str, path: str, token: bool, status: int, code: str
) -> None:
    headers = edge.bearer() if token else {}
    async with edge.session.request(method, edge.url + path, headers=headers) as answer:
        problem = await answer.json(content_type="application/problem+json")
        assert answer.status == status
        assert set(problem) == SHAPE
        assert (problem["status"], problem["code"]) == (status, code)
        assert UUID(problem["requestId"])
        if status == 404:
            assert problem["requestId"] == answer.headers["x-request-id"]


async def test_a_service_that_is_down_is_said_to_be(tmp_path: Path) -> None:
    async with front(tmp_path) as edge:
        await edge.services["inventory"].stop()
        for method in ("GET", "POST"):
            async with edge.request(method, ITEMS, headers=edge.bearer()) as answer:
                assert answer.status == 503
                assert answer.headers["retry-after"] == "1"
                problem = await answer.json(content_type="application/problem+json")
                assert problem["code"] == "gateway.service_unavailable"
                assert set(problem) == SHAPE
        async with edge.request("GET", "/api/vendors", headers=edge.bearer()) as answer:
            assert answer.status == 200  # the others go on

        await edge.services["inventory"].start()
        async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
            assert answer.status == 200  # and it is back at once


async def test_a_service_that_hangs_holds_up_only_its_own(tmp_path: Path) -> None:
    """Beyond what may be under way at one service, more is refused at once."""
    release = asyncio.Event()

    async def held(_request: web.Request) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    async with front(tmp_path, max_requests=3, upstream_connections=3) as edge:
        edge.services["inventory"].behave = held

        async def ask() -> tuple[int, str]:
            async with edge.request("POST", ITEMS, headers=edge.bearer()) as answer:
                return answer.status, await answer.text()

        asking = [asyncio.create_task(ask()) for _ in range(8)]

        async def the_rest_is_refused() -> bool:
            # three under way; up to three more wait, if a connection stood before they came
            return sum(task.done() for task in asking) >= 2

        await settled(the_rest_is_refused)
        for status, text in [task.result() for task in asking if task.done()]:
            assert status == 503
            assert "gateway.service_unavailable" in text
        async with edge.request("POST", "/api/vendors", headers=edge.bearer()) as answer:
            assert answer.status == 200
        release.set()
        assert sorted(status for status, _ in await asyncio.gather(*asking))[:3] == [200] * 3


async def test_tokens_are_still_checked_while_auth_is_away(tmp_path: Path) -> None:
    async with front(tmp_path, keys_seconds=1) as edge:
        await edge.services["auth"].stop()
        for headers, status in ((edge.bearer(), 200), ({}, 401)):
            async with edge.request("GET", ITEMS, headers=headers) as answer:
                assert answer.status == status


async def test_without_any_key_nobody_comes_in_and_nobody_is_blamed(tmp_path: Path) -> None:
    nowhere = "http://127.0.0.1:9/.well-known/jwks.json"
    async with front(tmp_path, jwks_url=nowhere) as edge:
        async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
            assert answer.status == 503
            assert (await answer.json())["code"] == "gateway.keys_unavailable"
            assert answer.headers["retry-after"] == "1"
        assert not edge.services["inventory"].seen


async def test_new_keys_are_learned(tmp_path: Path) -> None:
    async with front(tmp_path, keys_seconds=1) as edge:
        edge.signer.__init__("key-2")  # type: ignore[misc]
        edge.services["auth"].jwks = edge.signer.jwks

        async def accepted() -> bool:
            async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
                return bool(answer.status == 200)

        await settled(accepted)


async def test_a_refusal_of_a_service_passes_as_it_is(edge: Front) -> None:
    async def refuse(_request: web.Request) -> web.StreamResponse:
        return web.json_response({"code": "inventory.item_not_found"}, status=404)

    edge.services["inventory"].behave = refuse
    async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
        assert answer.status == 404
        assert await answer.json() == {"code": "inventory.item_not_found"}


def test_codes_are_the_gateways_own() -> None:
    for refusal in REFUSALS:
        assert refusal.code.startswith("gateway.")
        assert refusal.title
