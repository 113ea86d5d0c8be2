"""What each request passes: the token check, the cleaning of headers, CORS, the size of a body."""

import base64
import json
import time
from typing import Any

import aiohttp
import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from restock.gateway.filters import bucket
from restock.gateway.routes_table import ROUTES, Entry, Route
from tests.gateway.conftest import ORIGIN
from tests.gateway.stubs import Front, Signer, settled

ITEMS = "/api/inventory/items"


def unsigned(signer: Signer) -> str:
    return jwt.encode(signer.claims(), None, algorithm="none", headers={"kid": signer.kid})


def signed_with_the_public_key(signer: Signer) -> str:
    """The confusion of algorithms: the public key taken as the secret of an HMAC."""
    pem = signer.key.public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    )
    head = _part({"alg": "HS256", "kid": signer.kid, "typ": "at+jwt"})
    signing = f"{head}.{_part(signer.claims())}"
    return f"{signing}.{_text(jwt.algorithms.HMACAlgorithm('sha256').sign(signing.encode(), pem))}"


def of_a_stranger(signer: Signer) -> str:
    return Signer(signer.kid).token()


def with_a_key_of_its_own(signer: Signer) -> str:
    stranger = ec.generate_private_key(ec.SECP256R1())
    public = json.loads(jwt.algorithms.ECAlgorithm.to_jwk(stranger.public_key()))
    headers = {"kid": signer.kid, "jwk": public}
    return jwt.encode(signer.claims(), stranger, algorithm="ES256", headers=headers)


def of_another_algorithm(signer: Signer) -> str:
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return jwt.encode(signer.claims(), key, algorithm="RS256", headers={"kid": signer.kid})


def changed_after_signing(signer: Signer) -> str:
    head, _, signature = signer.token().split(".")
    return f"{head}.{_part(signer.claims(role='admin'))}.{signature}"


def _part(content: dict[str, Any]) -> str:
    return _text(json.dumps(content).encode())


def _text(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


FORGED = [
    unsigned,
    signed_with_the_public_key,
    of_a_stranger,
    with_a_key_of_its_own,
    of_another_algorithm,
    changed_after_signing,
]


@pytest.mark.parametrize("forge", FORGED)
async def test_a_forged_token_is_refused(edge: Front, forge: Any) -> None:
    await refused(edge, {"authorization": f"Bearer {forge(edge.signer)}"})


@pytest.mark.parametrize(
    "claims",
    [
        pytest.param({"exp": int(time.time()) - 60}, id="ended"),
        {"exp": None},
        pytest.param({"nbf": int(time.time()) + 3600}, id="not yet"),
        {"iss": "someone"},
        {"iss": None},
        {"aud": "another"},
        {"aud": None},
    ],
    ids=str,
)
async def test_a_token_with_wrong_claims_is_refused(edge: Front, claims: dict[str, Any]) -> None:
    await refused(edge, edge.bearer(**claims))


@pytest.mark.parametrize("value", ["", "Bearer", "Bearer ", "Bearer x.y.z", "Basic YTpi", "x"])
async def test_what_is_no_token_is_refused(edge: Front, value: str) -> None:
    await refused(edge, {"authorization": value})


@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
async def test_a_good_token_lets_in(edge: Front, scheme: str) -> None:
    headers = {"authorization": f"{scheme} {edge.signer.token()}"}
    async with edge.request("GET", ITEMS, headers=headers) as answer:
        assert answer.status == 200


async def test_a_token_that_was_good_ends(edge: Front) -> None:
    """Also one that Envoy remembers as verified; five seconds are allowed to the clocks."""
    bearer = edge.bearer(exp=int(time.time()) - 3)

    async def refused_now() -> bool:
        async with edge.request("GET", ITEMS, headers=bearer) as answer:
            return bool(answer.status == 401)

    assert not await refused_now()
    await settled(refused_now)


async def test_two_tokens_are_refused(edge: Front) -> None:
    bearer = edge.bearer()["authorization"]
    await refused(edge, [("authorization", bearer), ("authorization", bearer)])


async def test_a_token_elsewhere_than_in_the_header_is_none(edge: Front) -> None:
    token = edge.signer.token()
    async with edge.request("GET", f"{ITEMS}?access_token={token}&token={token}") as answer:
        assert answer.status == 401


async def refused(edge: Front, headers: Any) -> None:
    async with edge.request("GET", ITEMS, headers=headers) as answer:
        assert answer.status == 401
        assert answer.content_type == "application/problem+json"
        assert answer.headers["www-authenticate"] == "Bearer"
        assert (await answer.json())["code"] == "gateway.token_invalid"
    assert not edge.services["inventory"].seen


async def test_the_token_reaches_the_service(edge: Front) -> None:
    """Services check it again: they trust no header that only the gateway could have made."""
    bearer = edge.bearer()
    async with edge.request("GET", ITEMS, headers=bearer):
        pass
    (seen,) = edge.services["inventory"].seen
    assert seen.values("authorization") == [bearer["authorization"]]


async def test_nobody_says_who_he_is_by_a_header(edge: Front) -> None:
    claims = {
        "X-Auth-Sub": "admin",
        "x-auth-role": "admin",
        "X-Internal": "1",
        "x-internal-call": "1",
        "X-User": "1",
        "x-user-id": "1",
        "X-Workspace-Id": "1",
        "x-account-id": "1",
        "x-restock-role": "admin",
        "x-role": "admin",
        "x-real-ip": "9.9.9.9",
        "x-client-ip": "9.9.9.9",
        "x-original-url": "/api/auth/sessions",
        "x-rewrite-url": "/api/auth/sessions",
        "x-forwarded-host": "evil.example",
        "x-forwarded-prefix": "/x",
        "forwarded": "for=9.9.9.9",
        "x-http-method-override": "DELETE",
        "x-envoy-internal": "true",
        "x-envoy-original-path": "/x",
        "x-forwarded-client-cert": "By=x",
    }
    for path, stub in ((ITEMS, "inventory"), ("/api/auth/login", "auth"), ("/health", "gateway")):
        async with edge.request("GET", path, headers=edge.bearer() | claims) as answer:
            assert answer.status == 200
        (seen,) = edge.services[stub].seen
        got = {name.lower() for name, _ in seen.headers}
        assert got.isdisjoint(name.lower() for name in claims)


async def test_a_service_gets_the_one_address_envoy_saw(edge: Front) -> None:
    headers = edge.bearer() | {"x-forwarded-for": "1.2.3.4, 5.6.7.8", "x-forwarded-proto": "https"}
    async with edge.request("GET", ITEMS, headers=headers):
        pass
    (seen,) = edge.services["inventory"].seen
    assert seen.values("x-forwarded-for") == ["127.0.0.1"]
    assert seen.values("x-forwarded-proto") == ["http"]


async def test_a_client_cannot_order_retries_or_timeouts(edge: Front) -> None:
    headers = edge.bearer() | {
        "x-envoy-retry-on": "5xx",
        "x-envoy-max-retries": "9",
        "x-envoy-upstream-rq-timeout-ms": "1",
    }
    edge.services["inventory"].behave = unwell
    async with edge.request("POST", ITEMS, headers=headers) as answer:
        assert answer.status == 500
    assert len(edge.services["inventory"].seen) == 1


async def unwell(_request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
    return aiohttp.web.Response(status=500)


async def test_a_listed_origin_may_read_answers_and_refusals(edge: Front) -> None:
    for headers in ({}, edge.bearer()):
        async with edge.request("GET", ITEMS, headers=headers | {"origin": ORIGIN}) as answer:
            assert answer.status == (200 if headers else 401)
            assert answer.headers["access-control-allow-origin"] == ORIGIN
            assert "Origin" in answer.headers["vary"]
            exposed = set(answer.headers["access-control-expose-headers"].split(","))
            assert exposed == {"etag", "link", "location", "retry-after", "x-request-id"}
            assert "access-control-allow-credentials" not in answer.headers


async def test_its_preflight_is_answered_without_a_token(edge: Front) -> None:
    headers = {"origin": ORIGIN, "access-control-request-method": "PATCH"}
    async with edge.request("OPTIONS", ITEMS, headers=headers) as answer:
        assert answer.status == 200
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert "PATCH" in answer.headers["access-control-allow-methods"]
        allowed = answer.headers["access-control-allow-headers"].split(",")
        assert {"authorization", "content-type", "idempotency-key", "if-match"} <= set(allowed)
    assert not edge.services["inventory"].seen


@pytest.mark.parametrize(
    "origin",
    [f"{ORIGIN}.evil.example", ORIGIN.replace("https", "http"), f"{ORIGIN}:8443", "null"],
)
async def test_another_origin_gets_no_permission(edge: Front, origin: str) -> None:
    preflight = {"origin": origin, "access-control-request-method": "GET"}
    for method, headers in (("GET", edge.bearer() | {"origin": origin}), ("OPTIONS", preflight)):
        async with edge.request(method, ITEMS, headers=headers) as answer:
            assert "access-control-allow-origin" not in answer.headers
            assert "Origin" in answer.headers["vary"]


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.path)
@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_over_the_limit_is_refused(edge: Front, route: Route, chunked: bool) -> None:
    """Whoever has shown no token may send less: Envoy holds it until it is whole."""
    most = 1 << 20 if route.entry is Entry.TOKEN else 1 << 16
    for size, status in ((most, 200), (most + 1, 413), (most * 5 // 2, 413)):
        data: Any = b"x" * size
        if chunked:
            data = pieces(data)
        path = f"{route.path}/x" if route.tree else route.path
        async with edge.request("POST", path, headers=edge.bearer(), data=data) as answer:
            assert answer.status == status
            if status == 413:
                assert (await answer.json())["code"] == "gateway.body_too_large"
    places = (*edge.services.values(), *edge.workers)
    assert {len(seen.body) for stub in places for seen in stub.seen} <= {most}


@pytest.mark.parametrize(
    ("path", "status"),
    [("/api/vendors", 413), ("/api/auth/login", 413), ("/socket.io/", 413), ("/nothing", 404)],
)
async def test_a_body_that_is_of_no_use_is_not_waited_for(
    edge: Front, path: str, status: int
) -> None:
    """What will be too large is refused when that is announced, not when it has come."""
    bearer = edge.bearer()["authorization"]
    head = f"POST {path} HTTP/1.1\r\nhost: x\r\nauthorization: {bearer}\r\n"
    answer = await edge.raw(f"{head}content-length: 10000000000\r\n\r\n".encode())
    assert answer.startswith(f"HTTP/1.1 {status} ".encode())


async def pieces(data: bytes) -> Any:
    for start in range(0, len(data), 65536):
        yield data[start : start + 65536]


async def test_answers_are_neither_sniffed_nor_kept(edge: Front) -> None:
    async with edge.request("GET", ITEMS, headers=edge.bearer()) as answer:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["server"] == "restock"
        assert not [name for name in answer.headers if name.lower().startswith("x-envoy")]


async def test_a_service_may_let_its_answer_be_kept(edge: Front) -> None:
    async def kept(_request: aiohttp.web.Request) -> aiohttp.web.StreamResponse:
        return aiohttp.web.Response(headers={"cache-control": "max-age=60"})

    edge.services["gateway"].behave = kept
    async with edge.request("GET", "/docs/x.css") as answer:
        assert answer.headers.getall("cache-control") == ["max-age=60"]


@pytest.mark.parametrize(
    ("rate", "tokens", "seconds", "burst"),
    [
        (200, 200, 1, 1000),
        (100, 100, 1, 500),
        (0.2, 1, 5, 10),
        (1, 1, 1, 10),
        (2.5, 5, 2, 13),
        (0.3, 3, 10, 10),
        (0.0001, 1, 10_000, 10),
    ],
)
def test_a_rate_becomes_a_bucket(rate: float, tokens: int, seconds: int, burst: int) -> None:
    assert bucket(rate) == {
        "max_tokens": burst,
        "tokens_per_fill": tokens,
        "fill_interval": f"{seconds}s",
    }
