"""The vendor service with inventory beside it, and the people who call it."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from tests.fixtures.running import Answered, RunningService
from tests.fixtures.tokens import token_for
from tests.vendor.stub_inventory import StubInventory


@dataclass(frozen=True)
class Account:
    """Somebody with a token."""

    user_id: UUID
    workspace_id: UUID
    name: str
    token: str = field(repr=False)
    role: str = "user"


def account(name: str = "Ada", *, role: str = "user", workspace_id: UUID | None = None) -> Account:
    user_id, workspace_id = uuid4(), workspace_id or uuid4()
    token = token_for(user_id=user_id, workspace_id=workspace_id, role=role, name=name)
    return Account(user_id, workspace_id, name, token, role)


def vendor_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Tea & Co",
        "email": f"{uuid4().hex}@tea.example",
        "phone": "+44 20 7946 0000",
        "category": "Drinks",
        "address": "1 Leaf Lane",
        "city": "London",
    } | changes


@dataclass
class Desk:
    """The running service; each method is one call as somebody."""

    service: RunningService
    inventory: StubInventory

    async def ask(self, who: Account | None, method: str, path: str, **more: Any) -> Answered:
        token = None if who is None else who.token
        return await self.service.ask(method, "/api/vendors" + path, token=token, **more)

    async def registered(self, who: Account, **changes: Any) -> dict[str, Any]:
        """A new vendor of `who`, as answered."""
        answer = await self.ask(who, "POST", "", json=vendor_fields(**changes))
        assert answer.status == 201, answer.body
        return answer.json

    async def contact(
        self, who: Account, vendor: dict[str, Any], item_id: UUID, **more: Any
    ) -> Answered:
        headers = more.pop("headers", None)
        asked = {"itemId": item_id, "quantity": 12, "message": "Please refill"} | more
        path = f"/{vendor['id']}/contact"
        return await self.ask(who, "POST", path, json=asked, headers=headers)

    async def opened(self, who: Account, vendor: dict[str, Any], **more: Any) -> dict[str, Any]:
        """A new request of `who` for a new item of his, as answered."""
        answer = await self.contact(who, vendor, self.inventory.put(who.token), **more)
        assert answer.status == 201, answer.body
        return answer.json

    async def step(self, who: Account, request: dict[str, Any], status: str) -> Answered:
        path = f"/requests/{request['id']}/status"
        return await self.ask(who, "PATCH", path, json={"status": status})

    async def count(self, table: str) -> int:
        # the name of a table can't be a parameter; it is always one of ours
        return await self.service.fetchval(f"SELECT count(*) FROM {table}")

    async def events(self) -> list[Any]:
        """The outbox: subject, workspace and data as text, oldest first."""
        return await self.service.fetch(
            "SELECT subject, workspace_id, data::text AS data FROM outbox ORDER BY id"
        )
