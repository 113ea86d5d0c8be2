"""How HTTP is read: strictly, in time, under one request id; and what is logged of it."""

import asyncio
import json
from pathlib import Path
from uuid import UUID

import pytest

from tests.gateway.stubs import Front, front, settled

ITEMS = "/api/inventory/items"


def get(edge: Front, path: str, *more: str) -> bytes:
    lines = [f"GET {path} HTTP/1.1", "host: restock", *more, "connection: close"]
    token = edge.bearer()["authorization"]
    return "\r\n".join([*lines, f"authorization: {token}", "", ""]).encode()


@pytest.mark.parametrize(
    "path",
    [
        *("/api/inventory/..%2fauth", "/api/inventory/%2e%2e%2Fauth", "/api%2finventory/items"),
        *("/api/inventory/..%5cauth", "/api/inventory/a%00b", "/api/inventory/%zz/../../auth%2f"),
    ],
)
async def test_an_escaped_slash_is_refused(edge: Front, path: str) -> None:
    answer = await edge.raw(get(edge, path))
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert problem(answer)["code"] == "gateway.request_malformed"
    assert all(not stub.seen for stub in edge.services.values())


@pytest.mark.parametrize(
    ("path", "service", "arrives"),
    [
        ("/api/inventory/../auth/sessions", "auth", "/api/auth/sessions"),
        ("/api/inventory/%2e%2e/auth/sessions", "auth", "/api/auth/sessions"),
        ("/api/./vendors//x", "vendor", "/api/vendors/x"),
        ("//api/vendors", "vendor", "/api/vendors"),
        ("/api/%76endors", "vendor", "/api/vendors"),
        ("/api\\vendors", "vendor", "/api/vendors"),
    ],
)
async def test_the_service_gets_the_path_that_was_matched(
    edge: Front, path: str, service: str, arrives: str
) -> None:
    assert (await edge.raw(get(edge, path))).startswith(b"HTTP/1.1 200 ")
    assert [seen.path for seen in edge.services[service].seen] == [arrives]


@pytest.mark.parametrize("path", ["/api/auth/%6cogin", "/api/x/../auth/login", "//api/auth/login"])
async def test_another_spelling_of_login_is_login(tmp_path: Path, path: str) -> None:
    """Otherwise the narrow limit on it would be one spelling wide."""
    async with front(tmp_path, rate_login=0.001) as edge:
        statuses = [(await edge.raw(get(edge, path)))[9:12] for _ in range(11)]
    assert statuses == [b"200"] * 10 + [b"429"]


@pytest.mark.parametrize(
    "head",
    [
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\n"
        "transfer-encoding: chunked",
        "POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 3\r\ncontent-length: 4",
        "GET /api/auth/login HTTP/1.1\r\nhost: x\r\nx_user_id: 1",
        "GET /api/auth/login HTTP/1.1",
        "no http at all",
    ],
)
async def test_doubtful_http_is_refused(edge: Front, head: str) -> None:
    answer = await edge.raw(f"{head}\r\n\r\n0\r\n\r\n".encode())
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert problem(answer)["code"] == "gateway.request_malformed"
    assert not edge.services["auth"].seen


@pytest.mark.parametrize(
    "headers", [{"x-long": "y" * 40_000}, {f"x-many-{n}": "y" for n in range(70)}], ids=len
)
async def test_too_much_header_is_refused(edge: Front, headers: dict[str, str]) -> None:
    async with edge.request("GET", ITEMS, headers=edge.bearer() | headers) as answer:
        assert answer.status == 431
        assert (await answer.json())["code"] == "gateway.headers_too_large"


async def test_headers_that_do_not_come_are_not_waited_for(tmp_path: Path) -> None:
    async with front(tmp_path, headers_timeout=1, body_timeout=3600) as edge:
        async with asyncio.timeout(20):  # the other limits are longer
            answer = await edge.raw(b"GET /health HTTP/1.1\r\nhost: x\r\nx-slow: ")
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert problem(answer)["code"] == "gateway.request_too_slow"


async def test_a_body_that_does_not_come_is_not_waited_for(tmp_path: Path) -> None:
    async with front(tmp_path, body_timeout=1) as edge:
        head = b"POST /api/auth/login HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n{"
        async with asyncio.timeout(20):
            answer = await edge.raw(head)
        assert answer.startswith(b"HTTP/1.1 408 ")
        assert problem(answer)["code"] == "gateway.request_too_slow"


@pytest.mark.parametrize("own", ["11111111-1111-4111-8111-111111111111", "x", None])
async def test_one_id_made_here_follows_the_request(edge: Front, own: str | None) -> None:
    headers = edge.bearer() | ({"x-request-id": own} if own else {})
    async with edge.request("GET", ITEMS, headers=headers) as answer:
        (given,) = answer.headers.getall("x-request-id")
    assert UUID(given)
    assert given != own
    (seen,) = edge.services["inventory"].seen
    assert seen.values("x-request-id") == [given]


async def test_an_id_from_a_proxy_of_ours_is_kept(tmp_path: Path) -> None:
    own = "11111111-1111-4111-8111-111111111111"
    async with (
        front(tmp_path, trust_request_id=True) as edge,
        edge.request("GET", "/health", headers={"x-request-id": own}) as answer,
    ):
        assert answer.headers["x-request-id"] == own


async def test_a_trusted_proxy_tells_the_address(tmp_path: Path) -> None:
    """The last `trusted_hops` entries are our proxies' word, the rest is the client's own."""
    async with front(tmp_path, trusted_hops=1) as edge:
        headers = {"x-forwarded-for": "1.2.3.4, 5.6.7.8"}
        async with edge.request("GET", "/health", headers=headers):
            pass
        (seen,) = edge.services["gateway"].seen
        assert seen.values("x-forwarded-for") == ["5.6.7.8"]


async def test_each_request_is_logged_without_its_query(tmp_path: Path) -> None:
    async with front(tmp_path) as edge:
        bearer = edge.bearer(sub="0192f0c4-0000-7000-8000-000000000001")
        async with edge.request("GET", f"{ITEMS}?search=secret-word", headers=bearer) as answer:
            request_id = answer.headers["x-request-id"]
        async with edge.request("POST", "/api/auth/login?secret-word", data=b"x" * 1100000):
            pass

        async def written() -> bool:
            return len(edge.access_lines()) == 2

        await settled(written)
        first, second = edge.access_lines()
        assert first["method"] == "GET"
        assert first["path"] == ITEMS
        assert first["status"] == 200
        assert first["request_id"] == request_id
        assert first["user_id"] == "0192f0c4-0000-7000-8000-000000000001"
        assert first["address"] == "127.0.0.1"
        assert second["status"] == 413
        text = edge.log.read_text()
        assert "secret-word" not in text
        assert bearer["authorization"].split()[1] not in text


async def test_nobody_can_claim_to_be_another_in_the_log(tmp_path: Path) -> None:
    """Also where Envoy answers by itself, before any filter that would take the header away."""
    asked = [
        "GET /api%2fx HTTP/1.1\r\n",
        "GET /health HTTP/1.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n",
        "OPTIONS /api/inventory/items HTTP/1.1\r\norigin: https://app.example\r\n"
        "access-control-request-method: GET\r\nconnection: close\r\n",
        "POST /api/auth/refresh HTTP/1.1\r\ncontent-length: 0\r\nconnection: close\r\n",
    ]
    async with front(tmp_path, origins=("https://app.example",)) as edge:
        for head in asked:
            await edge.raw(f"{head}host: x\r\nx-restock-account: victim\r\n\r\n".encode())

        async def written() -> bool:
            return len(edge.access_lines()) == len(asked)

        await settled(written)
        assert [line["user_id"] for line in edge.access_lines()] == [None] * len(asked)


async def test_a_second_envoy_on_the_port_fails(tmp_path: Path) -> None:
    async with front(tmp_path) as edge:
        (tmp_path / "other").mkdir()
        with pytest.raises(AssertionError, match=r"[Aa]ddress.*in use"):
            async with front(tmp_path / "other", listen_port=edge.settings.listen_port):
                pass


def problem(answer: bytes) -> dict[str, object]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head
    found: dict[str, object] = json.loads(body)
    return found
