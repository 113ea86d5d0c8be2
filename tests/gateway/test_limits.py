"""The limits by address, by account and on guessing passwords. Time stands still in them: the
rates are so low that no bucket gains a token while a test runs."""

import asyncio
from collections import Counter
from pathlib import Path
from uuid import uuid4

import pytest
from yarl import URL

from restock.gateway import envoy
from tests.fixtures.figures import Figures
from tests.gateway.stubs import Front, front

SLOW = 0.001  # requests a second: a burst of 10, then one in 1000 s
BURST = 10
ITEMS = "/api/inventory/items"


MANY = pytest.mark.parametrize("others", [500, pytest.param(10_000, marks=pytest.mark.long)])


async def statuses(edge: Front, times: int, method: str, path: str, **more: object) -> list[int]:
    found = []
    for _ in range(times):
        async with edge.request(method, path, **more) as answer:
            found.append(answer.status)
    return found


async def test_one_address_is_limited_everywhere(tmp_path: Path) -> None:
    async with front(tmp_path, rate_address=SLOW) as edge:
        spread = [ITEMS, "/nothing", "/health", "/socket.io/?EIO=4", "/api/vendors"]
        for path in spread * 2:
            async with edge.request("GET", path) as answer:
                assert answer.status != 429
        for path in spread:
            async with edge.request("GET", path, headers=edge.bearer()) as answer:
                assert answer.status == 429
                assert answer.headers["retry-after"] == "1000"
                problem = await answer.json(content_type="application/problem+json")
                assert problem["code"] == "gateway.rate_limited"


async def test_a_claimed_address_is_no_other_bucket(tmp_path: Path) -> None:
    async with front(tmp_path, rate_address=SLOW) as edge:
        found = []
        for number in range(BURST + 5):
            claim = {"x-forwarded-for": f"9.9.9.{number}", "x-real-ip": f"8.8.8.{number}"}
            found += await statuses(edge, 1, "GET", "/health", headers=claim)
        assert found == [200] * BURST + [429] * 5


async def test_behind_a_proxy_each_client_has_its_own_bucket(tmp_path: Path) -> None:
    async with front(tmp_path, rate_address=SLOW, trusted_hops=1) as edge:
        for client in ("1.1.1.1", "2.2.2.2"):
            claim = {"x-forwarded-for": f"3.3.3.3, {client}"}
            found = await statuses(edge, BURST + 1, "GET", "/health", headers=claim)
            assert found == [200] * BURST + [429]


async def test_an_ipv6_client_has_one_bucket_for_its_whole_network(tmp_path: Path) -> None:
    async with front(tmp_path, rate_address=SLOW, trusted_hops=1) as edge:
        found = []
        for number in range(BURST + 3):
            claim = {"x-forwarded-for": f"2001:db8:1:2::{number:x}"}
            found += await statuses(edge, 1, "GET", "/health", headers=claim)
        assert found == [200] * BURST + [429] * 3
        other = {"x-forwarded-for": "2001:db8:1:3::1"}
        assert await statuses(edge, 1, "GET", "/health", headers=other) == [200]


async def test_one_account_is_limited_by_its_tokens_together(tmp_path: Path) -> None:
    async with front(tmp_path, rate_account=SLOW) as edge:
        sub = str(uuid4())
        found = []
        for number in range(BURST + 5):
            path = (ITEMS, "/api/vendors", "/api/notifications")[number % 3]
            found += await statuses(edge, 1, "GET", path, headers=edge.bearer(sub=sub))
        assert found == [200] * BURST + [429] * 5
        async with edge.request("GET", ITEMS, headers=edge.bearer(sub=sub)) as answer:
            assert answer.headers["retry-after"] == "1000"
        # not public paths, not others
        assert await statuses(edge, 20, "POST", "/api/auth/refresh") == [200] * 20
        assert await statuses(edge, 1, "GET", ITEMS, headers=edge.bearer()) == [200]


async def test_a_claimed_account_is_no_other_bucket(tmp_path: Path) -> None:
    async with front(tmp_path, rate_account=SLOW) as edge:
        bearer, found = edge.bearer(), []
        for number in range(BURST + 5):
            headers = bearer | {"X-Restock-Account": str(number)}
            found += await statuses(edge, 1, "GET", ITEMS, headers=headers)
        assert found == [200] * BURST + [429] * 5
        claim = {"x-restock-account": "someone"}
        assert await statuses(edge, 1, "POST", "/api/auth/refresh", headers=claim) == [200]
        (seen,) = edge.services["auth"].seen
        assert not seen.values("x-restock-account")


@MANY
async def test_others_do_not_refill_an_empty_bucket(tmp_path: Path, others: int) -> None:
    """Envoy's own default forgets a bucket after twenty others."""
    async with front(tmp_path, rate_account=SLOW) as edge:
        greedy = edge.bearer()
        assert 429 in await statuses(edge, BURST + 1, "GET", ITEMS, headers=greedy)
        found = await each(edge, ITEMS, [edge.bearer() for _ in range(others)])
        assert found == {200: others}
        assert await statuses(edge, 3, "GET", ITEMS, headers=greedy) == [429] * 3


@MANY
async def test_other_addresses_do_not_refill_an_empty_bucket(
    tmp_path: Path, others: int, figures: Figures
) -> None:
    """Neither of the two that count by address."""
    limits = {"rate_address": SLOW, "rate_login": SLOW, "trusted_hops": 1}
    greedy = {"x-forwarded-for": "9.9.9.9"}
    async with front(tmp_path, **limits) as edge:
        found = await statuses(edge, BURST + 1, "POST", "/api/auth/login", headers=greedy)
        assert found == [200] * BURST + [429]
        addresses = [f"10.{n >> 16}.{n >> 8 & 255}.{n & 255}" for n in range(others)]
        claims = [{"x-forwarded-for": address} for address in addresses]
        assert await each(edge, "/api/auth/login", claims, "POST") == {200: others}
        for method, path in (("POST", "/api/auth/login"), ("GET", "/health")):
            async with edge.request(method, path, headers=greedy) as answer:
                assert answer.status == 429
                assert answer.headers["retry-after"] == "1000"
    figures.add("addresses against the limiter", others)


async def each(
    edge: Front, path: str, headers: list[dict[str, str]], method: str = "GET"
) -> Counter[int]:
    """One request with each of the headers, some at a time; their statuses."""
    found: Counter[int] = Counter()
    for start in range(0, len(headers), 50):
        asked = [
            statuses(edge, 1, method, path, headers=own) for own in headers[start : start + 50]
        ]
        found.update(status for (status,) in await asyncio.gather(*asked))
    return found


async def test_guessing_is_limited_over_login_and_register_together(tmp_path: Path) -> None:
    async with front(tmp_path, rate_login=SLOW) as edge:
        found = []
        for number in range(BURST + 4):
            path = ("/api/auth/login", "/api/auth/register")[number % 2]
            found += await statuses(edge, 1, "POST", path, data=b"{}")
        assert found == [200] * BURST + [429] * 4
        assert len(edge.services["auth"].seen) == BURST
        assert await statuses(edge, 3, "POST", "/api/auth/refresh") == [200] * 3
        assert await statuses(edge, 3, "GET", ITEMS, headers=edge.bearer()) == [200] * 3


@pytest.mark.parametrize(
    "path",
    [
        *("/api/auth/login/", "/api/auth/register/?a=/", "/api/auth/login//", "//api/auth/login"),
        *("/api/auth/./login", "/api/auth/x/../login/", "/api/auth/login/.", "/api/auth/login?a"),
        *("/api/auth/%6cogin", "/api/auth/%6Cogin/", "/%61pi/auth/login", "/api/%2e/auth/login"),
    ],
)
@pytest.mark.parametrize("bearer", [False, True])
async def test_by_whatever_name_a_login_is_one(tmp_path: Path, path: str, bearer: bool) -> None:
    """A token lets into the tree around it, and a service may be kind about how it is written."""
    async with front(tmp_path, rate_login=SLOW) as edge:
        headers = edge.bearer() if bearer else {}
        url = URL(edge.url + path, encoded=True)
        found = []
        for _ in range(BURST + 3):
            async with edge.session.post(url, headers=headers, data=b"{}") as answer:
                found.append(answer.status)
        assert found[BURST:] == [429] * 3
        assert await statuses(edge, 1, "POST", "/api/auth/login", data=b"{}") == [429]


async def test_the_default_burst_of_logins_is_ten(tmp_path: Path) -> None:
    async with front(tmp_path, rate_login=0.2) as edge:
        found = await statuses(edge, 10, "POST", "/api/auth/login", data=b"{}")
        assert found == [200] * 10
        async with edge.request("POST", "/api/auth/login", data=b"{}") as answer:
            assert answer.status in (200, 429)  # 200 only if five seconds went by
            if answer.status == 429:
                assert answer.headers["retry-after"] == "5"


async def test_a_limit_holds_under_concurrency(tmp_path: Path) -> None:
    async with front(tmp_path, rate_account=SLOW, envoy_threads=2) as edge:
        bearer = edge.bearer()
        rounds = [statuses(edge, 1, "GET", ITEMS, headers=bearer) for _ in range(80)]
        found = Counter(status for (status,) in await asyncio.gather(*rounds))
        assert found == {200: BURST, 429: 80 - BURST}


async def test_zero_switches_a_limit_off(edge: Front) -> None:
    """The shared Envoy has all three at 0."""
    assert set(await statuses(edge, 40, "POST", "/api/auth/login")) == {200}
    bearer = edge.bearer()
    assert set(await statuses(edge, 40, "GET", ITEMS, headers=bearer)) == {200}
    assert "local_ratelimit" not in envoy.as_json(envoy.configuration(edge.settings))
