"""The keys a process knows: read again by itself, kept while auth is away, taken away when gone."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import pytest_asyncio

from restock.kernel import identity
from restock.kernel.faults import Unauthenticated
from restock.kernel.identity import TokenVerifier
from restock.kernel.revocations import Revocations
from tests.fixtures.tokens import KID, PRIVATE_KEY, PUBLIC_KEYS, token_for


class Auth:
    """Publishes `keys`; None when it is away. `asked` counts."""

    def __init__(self) -> None:
        self.keys: dict[str, Any] | None = dict(PUBLIC_KEYS)
        self.asked = 0

    async def __call__(self) -> dict[str, Any]:
        self.asked += 1
        if self.keys is None:
            raise ConnectionRefusedError
        return dict(self.keys)

    async def was_asked(self) -> None:
        before = self.asked
        async with asyncio.timeout(10):
            while self.asked < before + 2:
                await asyncio.sleep(0.001)


@pytest.fixture
def auth(monkeypatch: pytest.MonkeyPatch) -> Auth:
    monkeypatch.setattr(identity, "KEYS_FRESH_S", 0.02)
    monkeypatch.setattr(identity, "KEYS_RETRY_S", 0.01)
    return Auth()


@pytest_asyncio.fixture
async def verify(auth: Auth) -> AsyncIterator[Callable[[str], Awaitable[Any]]]:
    revocations = Revocations()
    revocations.ready = True
    verifier = TokenVerifier(auth, revocations, issuer="restock", audience="restock")
    stop = asyncio.Event()
    running = asyncio.create_task(verifier.run(stop))
    yield verifier.verify
    stop.set()
    await running


async def test_a_token_of_a_key_that_was_withdrawn_is_refused_though_it_was_known(
    auth: Auth, verify: Callable[[str], Awaitable[Any]]
) -> None:
    token = token_for()
    await verify(token)
    auth.keys = {"another": PRIVATE_KEY.public_key()}
    await auth.was_asked()  # by nobody's token, but by the process itself
    with pytest.raises(Unauthenticated):
        await verify(token)
    await verify(token_for(headers={"kid": "another"}))


async def test_while_auth_is_away_the_known_keys_serve(
    auth: Auth, verify: Callable[[str], Awaitable[Any]]
) -> None:
    known = token_for()
    await verify(known)
    auth.keys = None
    await auth.was_asked()
    await verify(known)
    await verify(token_for())
    with pytest.raises(Unauthenticated):
        await verify(token_for(headers={"kid": "another"}))


async def test_unknown_keys_do_not_flood_auth(
    auth: Auth, verify: Callable[[str], Awaitable[Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "KEYS_RETRY_S", 3600.0)
    await verify(token_for())
    asked = auth.asked
    for number in range(100):
        with pytest.raises(Unauthenticated):
            await verify(token_for(headers={"kid": f"{KID}-{number}"}))
    assert auth.asked == asked


@pytest.mark.parametrize(("lives_s", "good"), [(3600, True), (3601, False)])
async def test_a_token_lives_no_longer_than_any_setting_lets_it(
    verify: Callable[[str], Awaitable[Any]], lives_s: int, *, good: bool
) -> None:
    if good:
        await verify(token_for(lives_s=lives_s))
    else:
        with pytest.raises(Unauthenticated):
            await verify(token_for(lives_s=lives_s))


async def test_the_longest_account_fits_into_a_token(
    verify: Callable[[str], Awaitable[Any]],
) -> None:
    who = await verify(token_for(name="🦆" * 200, email="a" * 188 + "@example.org"))
    assert who.name == "🦆" * 200
