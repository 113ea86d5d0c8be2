"""An account with items, made over a system's own API, the same way on both sides."""

import asyncio
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import msgspec

from bench.processes import Parts
from restock.client.transport import Call, TokenSource, Transport

PASSWORD = "benchmark-Passw0rd"
FRESH_S = 300.0
MAKERS = 4


class System(Protocol):
    """What can be asked questions."""

    name: str
    items_path: str

    @property
    def url(self) -> str: ...

    def parts(self) -> Parts: ...


@dataclass
class Tenant(TokenSource):
    """An account of one system. `items` are ids, in a file one a line for wrk."""

    url: str
    email: str
    user_id: str = ""
    workspace_id: str = ""
    items: list[str] = field(default_factory=list)
    items_file: Path = Path()
    _token: str = ""
    _signed_in_at: float = float("-inf")

    async def token(self) -> str:
        """One with minutes left to live."""
        if time.monotonic() - self._signed_in_at > FRESH_S:
            transport = Transport(self.url)
            await transport.open(1)
            try:
                await self.sign_in(transport)
            finally:
                await transport.close()
        return self._token

    async def sign_in(self, transport: Transport) -> None:
        body = {"email": self.email, "password": PASSWORD}
        signed = await _post(transport, "/api/auth/login", body)
        self._token = signed["token"]
        self._signed_in_at = time.monotonic()
        self.user_id = signed["user"]["id"]
        self.workspace_id = signed["user"].get("workspaceId", "")


async def open_account(system: System, items: int, place: Path) -> Tenant:
    """Register, sign in and make items whose stock is far above their threshold."""
    tenant = Tenant(system.url, f"bench-{uuid.uuid4().hex}@example.org")
    transport = Transport(system.url)
    await transport.open(MAKERS)
    try:
        body = {"email": tenant.email, "name": "Bench", "password": PASSWORD}
        await _post(transport, "/api/auth/register", body)
        await tenant.sign_in(transport)
        numbers = iter(range(items))

        async def make() -> None:
            for number in numbers:
                made = await _post(transport, system.items_path, _item(number), tenant)
                tenant.items.append(made["id"])

        await asyncio.gather(*(make() for _ in range(MAKERS)))
    finally:
        await transport.close()
    tenant.items_file = place / f"items-{uuid.uuid4().hex}.txt"
    tenant.items_file.write_text("".join(f"{item}\n" for item in tenant.items))
    return tenant


def _item(number: int) -> dict[str, Any]:
    return {
        "name": f"Item {number}",
        "quantity": 5000,
        "minThreshold": 10,
        "unit": "kg",
        "category": "bench",
    }


async def _post(
    transport: Transport, path: str, body: Any, tokens: TokenSource | None = None
) -> dict[str, Any]:
    call = Call(method="POST", path=path, body=body, repeatable=False, paced=False)
    reply = await transport.send(call, tokens)
    found: dict[str, Any] = msgspec.json.decode(reply.body)
    return found
