"""Any interleaving of what can be done to requests, against a model of their states, on the real
service: by both sides, strangers and an admin, alone and several at once, under keys and again,
while items are archived and vendors made inactive.
"""

import asyncio
from typing import Any
from uuid import UUID

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import rule

from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered
from tests.fixtures.serial import Machine, short_and_long, try_out, worlds_after
from tests.vendor.desk import Desk, account
from tests.vendor.requests_model import Call, Request, World, after, shows

KEYS = st.sampled_from([None, None, "a", "b"])
WHERE = st.integers(0, 20)
STATUSES = st.sampled_from(["responded", "responded", "fulfilled"])
BUYERS = st.sampled_from(["ada", "ada", "bob", "eve"])
STEPPERS = st.sampled_from(["sal", "sal", "sue", "sam", "ada", "eve", "root"])
WISHES = st.one_of(
    st.tuples(st.just("contact"), BUYERS, WHERE, WHERE, KEYS),
    st.tuples(st.just("step"), STEPPERS, WHERE, STATUSES, KEYS),
    st.tuples(st.just("switch"), st.sampled_from(["root", "sal"]), WHERE, st.booleans(), KEYS),
)


async def ask(desk: Desk, call: Call) -> Answered:
    """The call as a request."""
    headers = {} if call.key is None else {"Idempotency-Key": call.key}
    match call.kind:
        case "contact":
            return await desk.contact(
                call.who, {"id": call.about}, UUID(call.item), headers=headers
            )
        case "step":
            path, asked = f"/requests/{call.about}/status", {"status": call.wanted}
        case _:
            path, asked = f"/{call.about}", {"isActive": call.wanted}
    return await desk.ask(call.who, "PATCH", path, json=asked, headers=headers)


class Requests(Machine):
    """The service and its model, side by side; `desk` is the service.

    Ada and Bob buy for one workspace, Eve for another; Sal and Sue sell for one, Sam for another.
    """

    desk: Desk

    def __init__(self) -> None:
        super().__init__()
        ada, sal = account("ada"), account("sal")
        self.people = {
            "ada": ada,
            "bob": account("bob", workspace_id=ada.workspace_id),
            "eve": account("eve"),
            "sal": sal,
            "sue": account("sue", workspace_id=sal.workspace_id),
            "sam": account("sam"),
            "root": account("root", role="admin"),
        }
        self.keyed: list[Call] = []
        vendors = {}
        for name in ("sal", "sal", "sam"):
            vendor = self.wait(self.desk.registered(self.people[name]))
            vendors[vendor["id"]] = (self.people[name].workspace_id, True)
        self.world = World(vendors=vendors)
        self.items: list[str] = []
        for name in ("ada", "eve"):
            self._put(name)

    def _put(self, name: str) -> None:
        """A new item of a buyer's workspace."""
        stub, owner = self.desk.inventory, self.people[name]
        item_id = stub.put(owner.token)
        if name == "ada":
            stub.share(item_id, owner.token, self.people["bob"].token)
        seen = self.world.items | {(owner.workspace_id, str(item_id))}
        self.world = World(self.world.vendors, seen, self.world.requests, self.world.kept)
        self.items.append(str(item_id))

    @rule(name=st.sampled_from(["ada", "eve"]))
    def an_item_is_made(self, name: str) -> None:
        if len(self.items) < 5:
            self._put(name)

    @rule(where=WHERE)
    def an_item_is_archived(self, where: int) -> None:
        item = self.items[where % len(self.items)]
        seers = [name for name in ("ada", "bob", "eve") if self._sees(name, item)]
        for name in seers:
            self.desk.inventory.archive(self.people[name].token, UUID(item))
        seen = frozenset(pair for pair in self.world.items if pair[1] != item)
        self.world = World(self.world.vendors, seen, self.world.requests, self.world.kept)

    def _sees(self, name: str, item: str) -> bool:
        return (self.people[name].workspace_id, item) in self.world.items

    @rule(wish=WISHES)
    def one(self, wish: Any) -> None:
        self._do(self._calls([wish]))

    @rule(wishes=st.lists(WISHES, min_size=2, max_size=4))
    def several_at_once(self, wishes: list[Any]) -> None:
        self._do(self._calls(wishes))

    @rule(wish=st.tuples(st.just("contact"), BUYERS, WHERE, WHERE, st.none()))
    def the_same_at_once(self, wish: Any) -> None:
        self._do(self._calls([wish] * 3))

    @rule(which=st.lists(st.integers(0, 50), min_size=1, max_size=3), wish=WISHES)
    def some_again(self, which: list[int], wish: Any) -> None:
        again = [self.keyed[number % len(self.keyed)] for number in which if self.keyed]
        self._do([*again, *self._calls([wish])])

    def _calls(self, wishes: list[Any]) -> list[Call]:
        """The wishes that can be asked for: before the first request there is none to step."""
        calls = []
        vendors, requests = list(self.world.vendors), list(self.world.requests)
        for kind, name, where, wanted, key in wishes:
            who = self.people[name]
            about = vendors[where % len(vendors)]
            if kind == "contact":
                item = self.items[wanted % len(self.items)]
                calls.append(Call(who, kind, about, item=item, key=key))
            elif kind == "switch":
                calls.append(Call(who, kind, about, wanted=wanted, key=key))
            elif requests:
                about = requests[-1 - where % len(requests)]
                calls.append(Call(who, kind, about, wanted=wanted, key=key))
        return calls

    def _do(self, calls: list[Call]) -> None:
        """All at once; go on in a world that explains the answers and is as both sides see it."""
        if not calls:
            return
        self.keyed += [call for call in calls if call.key is not None]
        answers = self.together([ask(self.desk, call) for call in calls])
        asked = list(zip(calls, answers, strict=True))
        seen = self.wait(self._seen())
        for world in worlds_after(self.world, asked, after):
            if self._is(world, seen):
                self.world = world
                return
        said = [(call, answer.status, answer.body) for call, answer in asked]
        self.impossible(said, self.world, seen)

    async def _seen(self) -> dict[str, Any]:
        """What each side sees, by a buyer's name or a vendor's id; the vendors by " " and id."""
        sellers = {self.people[name].workspace_id: self.people[name] for name in ("sal", "sam")}
        views = {name: (self.people[name], "/requests") for name in ("ada", "bob", "eve")}
        for vendor, (owner, _) in self.world.vendors.items():
            views[vendor] = (sellers[owner], f"/{vendor}/requests")
            views[" " + vendor] = (sellers[owner], f"/{vendor}")
        answers = await asyncio.gather(
            *(self.desk.ask(who, "GET", path + "?limit=200") for who, path in views.values())
        )
        assert {answer.status for answer in answers} == {200}, answers
        return {name: answer.json for name, answer in zip(views, answers, strict=True)}

    def _is(self, world: World, seen: dict[str, Any]) -> bool:
        for vendor, (_, active) in world.vendors.items():
            if seen[" " + vendor]["isActive"] is not active:
                return False
        wanted = {name: world.sent_by(self.people[name].workspace_id) for name in self._buyers()}
        wanted |= {vendor: world.sent_to(vendor) for vendor in world.vendors}
        return all(
            [asked["id"] for asked in seen[name]] == sorted(requests, reverse=True)
            and all(shows(asked, world.requests[asked["id"]]) for asked in seen[name])
            for name, requests in wanted.items()
        )

    def _buyers(self) -> list[str]:
        return ["ada", "bob", "eve"]

    def check(self) -> None:
        self.wait(self._check())

    async def _check(self) -> None:
        """Each step was told once, to its buyer's workspace, in its order."""
        told: dict[str, list[tuple[str, str]]] = {key: [] for key in self.world.requests}
        buyers = [self.people[name].workspace_id for name in ("ada", "eve")]
        for row in await self.desk.service.fetch(OUTBOX, buyers):
            data = msgspec.json.decode(row["data"])
            told[data["id"]].append((data["seq"], data["status"]))
            assert row["workspace_id"] == self.world.requests[data["id"]].buyer
            assert row["subject"] == "vendor.request." + WORDS[data["status"]]
        assert told == {key: _steps(asked) for key, asked in self.world.requests.items()}


OUTBOX = """
    SELECT subject, workspace_id, data::text AS data FROM outbox
    WHERE workspace_id = ANY($1) ORDER BY id
"""
WORDS = {"pending": "opened", "responded": "responded", "fulfilled": "fulfilled"}


def _steps(asked: Request) -> list[tuple[int, str]]:
    return [(seq, status) for seq, (status, _) in enumerate(asked.history, 1)]


@short_and_long(examples=40)
async def test_requests_are_what_some_order_of_the_calls_makes_them(
    desk: Desk, figures: Figures, examples: int, steps: int, derandomize: bool
) -> None:
    await try_out(
        Requests, figures, examples=examples, steps=steps, derandomize=derandomize, desk=desk
    )
