"""Four services with people of several workspaces, and things that belong to one of them."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from restock.engines.postgres import PostgresEngine
from restock.events.vendor import RequestOpened
from restock.kernel.ids import new_id
from restock.system import load
from tests.fixtures.running import Answered, RunningService, running_service
from tests.fixtures.tokens import KID, PRIVATE_KEY, token_for
from tests.gateway.stubs import HOST, Signer, Stub, front
from tests.inventory.stockroom import item_fields
from tests.notification.happenings import fell_low, happen, request_event, vendor_registered
from tests.vendor.desk import vendor_fields

SERVICES = ("auth", "inventory", "notification", "vendor")
PASSWORD = "correct horse battery"
# in the name or message of each private thing: it must meet nobody else's eyes
CANARY = "canary-0b4e5c2d"


@dataclass(frozen=True)
class Person:
    """An account as a token names it. `lives_s` in the past: a token that has ended."""

    user_id: UUID
    workspace_id: UUID
    session_id: UUID
    email: str
    role: str = "user"
    lives_s: float = 900

    @property
    def token(self) -> str:
        return token_for(
            user_id=self.user_id,
            workspace_id=self.workspace_id,
            session_id=self.session_id,
            email=self.email,
            role=self.role,
            lives_s=self.lives_s,
        )


class Stage:
    """`owner`, `colleague`, `buyer` and `stranger`; `things` are the ids of what is asked for."""

    def __init__(self, services: dict[str, RunningService], owners: dict[str, Any]) -> None:
        self.services = services
        self.owners = owners
        self.things: dict[str, Any] = {"category": "Drinks", "name": "redoc.js"}
        self.people: dict[str, Person] = {}
        self.refresh_token = ""

    async def open(self) -> None:
        """Register everybody, and make every thing."""
        for name in ("owner", "colleague", "buyer", "stranger"):
            self.people[name] = await self._registered(f"{name}-{new_id().hex}@example.com")
        owner = self.people["owner"]
        at_work = replace(self.people["colleague"], workspace_id=owner.workspace_id)
        await self.owners["auth"].execute(
            "UPDATE accounts SET workspace_id = $2 WHERE id = $1",
            at_work.user_id,
            owner.workspace_id,
        )
        await self.owners["auth"].execute(
            "UPDATE members SET workspace_id = $2, role = 'member' WHERE account_id = $1",
            at_work.user_id,
            owner.workspace_id,
        )
        await self.owners["auth"].execute(
            "UPDATE sessions SET workspace_id = $2 WHERE account_id = $1",
            at_work.user_id,
            owner.workspace_id,
        )
        self.people["colleague"] = at_work
        for service in SERVICES:
            await self.make_things(service)

    async def ask(self, service: str, who: Person | None, *call: Any, **more: Any) -> Answered:
        token = None if who is None else who.token
        return await self.services[service].ask(*call, token=token, **more)

    def caller(self, name: str) -> Person | None:
        """Who that is in the policy."""
        owner, stranger = self.people["owner"], self.people["stranger"]
        named = {
            "nobody": None,
            "ended": replace(owner, lives_s=-120),
            "foreign_admin": replace(stranger, role="admin"),
            "user": owner,
            "vendor": replace(owner, role="vendor"),
            "admin": replace(owner, role="admin"),
        }
        return named[name] if name in named else self.people[name]

    async def make_things(self, service: str) -> None:
        """Fresh ones of a service, after a call that may have used them up."""
        await {
            "auth": self._sessions,
            "inventory": self._item,
            "notification": self._notification,
            "vendor": self._vendor_and_request,
        }[service]()

    async def rows(self, service: str) -> list[str]:
        """Every row of every table of a service's database, as text."""
        owner = self.owners[service]
        tables = await owner.fetch(
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
        )
        every = [f"SELECT '{name} ' || t::text FROM {name} t" for (name,) in tables]
        return sorted(row[0] for row in await owner.fetch(" UNION ALL ".join(every)))

    async def digest(self, service: str, of: Person | None = None) -> str:
        """What a database holds, or what in it names an account or its workspace."""
        rows = await self.rows(service)
        if of is not None:
            ids = (str(of.user_id), str(of.workspace_id))
            rows = [row for row in rows if any(one in row for one in ids)]
        return hashlib.sha256("\n".join(rows).encode()).hexdigest()

    async def item_of(self, who: Person, **changes: Any) -> dict[str, Any]:
        """A new item, low from the beginning."""
        fields = item_fields(name=f"Tea {CANARY}", quantity=3, minThreshold=4) | changes
        answer = await self.ask("inventory", who, "POST", "/api/inventory/items", json=fields)
        assert answer.status == 201, answer.body
        return answer.json

    async def _registered(self, email: str) -> Person:
        body = {"email": email, "name": "Ada", "password": PASSWORD}
        answer = await self.ask("auth", None, "POST", "/api/auth/register", json=body)
        assert answer.status == 201, answer.body
        user = answer.json["user"]
        person = Person(UUID(user["id"]), UUID(user["workspaceId"]), new_id(), email)
        return replace(person, session_id=await self._newest_session(person))

    async def _newest_session(self, of: Person) -> UUID:
        session_id: UUID = await self.owners["auth"].fetchval(
            "SELECT id FROM sessions WHERE account_id = $1 ORDER BY id DESC", of.user_id
        )
        return session_id

    async def _sessions(self) -> None:
        """Sign everybody in anew; the owner's session that is asked for is of another device."""
        for name in ("owner", "colleague", "stranger"):
            self.people[name] = await self._signed_in(self.people[name])
        self.things["session_id"] = (await self._signed_in(self.people["owner"])).session_id

    async def _signed_in(self, who: Person) -> Person:
        body = {"email": who.email, "password": PASSWORD}
        answer = await self.ask("auth", None, "POST", "/api/auth/login", json=body)
        assert answer.status == 200, answer.body
        self.refresh_token = answer.json["refreshToken"]
        return replace(who, session_id=await self._newest_session(who))

    async def _item(self) -> None:
        item = await self.item_of(self.people["owner"])
        self.things |= {"item_id": item["id"], "version": item["version"]}

    async def _notification(self) -> None:
        owner = self.people["owner"]
        service = self.services["notification"]
        await happen(service, fell_low(owner.user_id, name=CANARY))
        listed = await self.ask("notification", owner, "GET", "/api/notifications")
        self.things["notification_id"] = listed.json[0]["id"]

    async def tell_of_vendor(self) -> None:
        """Have notification know the owner as a vendor's person, and of a request to him."""
        people, service = [self.people["owner"].user_id], self.services["notification"]
        await happen(service, vendor_registered(people))
        buyer = self.people["buyer"].user_id
        await happen(service, request_event(RequestOpened, buyer=buyer, people=people))

    async def _vendor_and_request(self) -> None:
        owner, buyer = self.people["owner"], self.people["buyer"]
        made = await self.ask("vendor", owner, "POST", "/api/vendors", json=vendor_fields())
        assert made.status == 201, made.body
        vendor_id = made.json["id"]
        item = await self.item_of(buyer)
        body = {"itemId": item["id"], "quantity": 2, "message": f"Please {CANARY}"}
        path = f"/api/vendors/{vendor_id}/contact"
        asked = await self.ask("vendor", buyer, "POST", path, json=body)
        assert asked.status == 201, asked.body
        another = await self.item_of(buyer)
        self.things |= {
            "vendor_id": vendor_id,
            "request_id": asked.json["id"],
            "buyers_item_id": another["id"],
        }


@asynccontextmanager
async def open_stage(postgres: PostgresEngine) -> AsyncIterator[Stage]:
    """A stage with everybody and everything on it, for the block."""
    async with AsyncExitStack() as stack:
        services: dict[str, RunningService] = {}
        owners: dict[str, Any] = {}
        for name in SERVICES:
            more = {"RESTOCK_INVENTORY_URL": services["inventory"].url} if name == "vendor" else {}
            running = await stack.enter_async_context(running_service(load(name), postgres, **more))
            url = postgres.owner_url(name, database=running.database_name)
            services[name], owners[name] = running, await asyncpg.connect(url)
            stack.push_async_callback(owners[name].close)
        stage = Stage(services, owners)
        await stage.open()
        yield stage


@asynccontextmanager
async def behind_the_gateway(stage: Stage, directory: Path) -> AsyncIterator[None]:
    """The stage's services are asked through an Envoy, for the block."""
    places = {f"{name}_upstream": (it.address,) for name, it in stage.services.items()}
    keys = Stub("keys", jwks=Signer(KID, PRIVATE_KEY).jwks)
    await keys.start()
    jwks_url = f"http://{HOST}:{keys.port}/.well-known/jwks.json"
    urls = {name: running.url for name, running in stage.services.items()}
    try:
        async with front(directory, jwks_url=jwks_url, **places) as it:
            for running in stage.services.values():
                running.url = it.url
            yield
    finally:
        for name, running in stage.services.items():
            running.url = urls[name]
        await keys.stop()
