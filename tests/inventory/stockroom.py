"""The inventory service, and the people who call it."""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

from restock.kernel.tenants import Tenant
from tests.fixtures.running import Answered, RunningService
from tests.fixtures.tokens import token_for


@dataclass(frozen=True)
class Account:
    """Somebody with a token."""

    user_id: UUID
    workspace_id: UUID
    token: str = field(repr=False)

    @property
    def tenant(self) -> Tenant:
        """For whom a statement of the tests' own runs."""
        return Tenant(self.workspace_id, (self.user_id,))


def account(workspace_id: UUID | None = None) -> Account:
    user_id, workspace_id = uuid4(), workspace_id or uuid4()
    return Account(user_id, workspace_id, token_for(user_id=user_id, workspace_id=workspace_id))


def item_fields(**changes: Any) -> dict[str, Any]:
    return {
        "name": "Green tea",
        "quantity": 10,
        "minThreshold": 4,
        "unit": "box",
        "category": "Drinks",
    } | changes


@dataclass
class Stockroom:
    """The running service; each method is one call as somebody."""

    service: RunningService

    async def ask(
        self,
        who: Account | None,
        method: str,
        path: str,
        *,
        key: str | None = None,
        if_match: str | None = None,
        **more: Any,
    ) -> Answered:
        headers = {"Idempotency-Key": key, "If-Match": if_match}
        return await self.service.ask(
            method,
            "/api/inventory" + path,
            token=None if who is None else who.token,
            headers={name: value for name, value in headers.items() if value is not None},
            **more,
        )

    async def create(self, who: Account, key: str | None = None, **changes: Any) -> Answered:
        return await self.ask(who, "POST", "/items", json=item_fields(**changes), key=key)

    async def made(self, who: Account, **changes: Any) -> dict[str, Any]:
        """A new item of `who`, as answered."""
        answer = await self.create(who, **changes)
        assert answer.status == 201, answer.body
        return answer.json

    async def read(self, who: Account, item: dict[str, Any]) -> Answered:
        return await self.ask(who, "GET", f"/items/{item['id']}")

    async def edit(self, who: Account, item: dict[str, Any], **changes: Any) -> Answered:
        """An edit at the version `item` was read at."""
        tag = f'"{item["version"]}"'
        return await self.ask(who, "PATCH", f"/items/{item['id']}", json=changes, if_match=tag)

    async def archive(self, who: Account, item: dict[str, Any]) -> Answered:
        return await self.ask(who, "DELETE", f"/items/{item['id']}")

    async def move(
        self,
        who: Account,
        item: dict[str, Any],
        delta: Any,
        *,
        key: str | None = None,
        **more: Any,
    ) -> Answered:
        asked = {"delta": delta, "reason": "sale"} | more
        return await self.ask(who, "POST", f"/items/{item['id']}/movements", json=asked, key=key)

    async def count(
        self,
        who: Account,
        item: dict[str, Any],
        quantity: Any,
        *,
        key: str | None = None,
        **more: Any,
    ) -> Answered:
        asked = {"quantity": quantity, "reason": "stocktaking"} | more
        return await self.ask(who, "PATCH", f"/items/{item['id']}/quantity", json=asked, key=key)

    async def batch(
        self,
        who: Account,
        mode: str,
        *movements: tuple[Any, Any],
        key: str | None = None,
    ) -> Answered:
        """A batch of (item or its id, delta)."""
        asked = {
            "mode": mode,
            "movements": [
                {"itemId": item["id"] if isinstance(item, dict) else item}
                | {"delta": delta, "reason": "sale"}
                for item, delta in movements
            ],
        }
        return await self.ask(who, "POST", "/movements:batch", json=asked, key=key)

    async def logs(self, who: Account, item: dict[str, Any]) -> list[dict[str, Any]]:
        """The newest 200 rows of an item's ledger, newest first."""
        answer = await self.ask(who, "GET", f"/items/{item['id']}/logs?limit=200")
        assert answer.status == 200, answer.body
        return answer.json

    async def stock(self, who: Account, item: dict[str, Any]) -> Any:
        answer = await self.read(who, item)
        assert answer.status == 200, answer.body
        return answer.json["quantity"]

    async def pages(self, who: Account, path: str) -> list[list[dict[str, Any]]]:
        """Every page of a list, by its links."""
        pages = []
        link: str | None = path
        while link is not None:
            answer = await self.ask(who, "GET", link)
            assert answer.status == 200, answer.body
            pages.append(answer.json)
            header = answer.headers.get("Link")
            link = None
            if header is not None:
                target, _, relation = header.partition(">; ")
                assert relation == 'rel="next"'
                link = target.removeprefix("</api/inventory")
        return pages

    async def events(self, who: Account) -> list[Any]:
        """The outbox of a workspace: subject and data as text, oldest first."""
        return await self.service.fetch(
            """
            SELECT subject, data::text AS data FROM outbox WHERE workspace_id = $1 ORDER BY id
            """,
            who.workspace_id,
        )

    async def alerts(self, who: Account) -> list[str]:
        """The last words of the alerts' subjects in a workspace, oldest first."""
        words = [event["subject"].rpartition(".")[2] for event in await self.events(who)]
        return [word for word in words if word in {"fell_low", "ran_out", "recovered"}]
