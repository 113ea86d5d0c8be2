"""Any interleaving of what can be done to stock, against a model of it, on the real service.

Calls come alone and several at once, as two people of one workspace and one of another, under keys
and again, at versions that are right, stale or left out. What is answered must be possible in some
order; stock, ledger, versions, alerts and lists are the model's.
"""

import asyncio
from decimal import Decimal
from typing import Any

import msgspec
from hypothesis import strategies as st
from hypothesis.stateful import initialize, rule

from tests.fixtures.figures import Figures
from tests.fixtures.running import Answered
from tests.fixtures.serial import Machine, short_and_long, try_out, worlds_after
from tests.inventory.ledger_model import Call, World, after, is_row, number, shows
from tests.inventory.stockroom import Account, Stockroom, account

STOCKS = st.sampled_from([Decimal(text) for text in ("0", "1", "3", "4.5", "7", "0.000001")])
LIMITS = st.none() | st.sampled_from([Decimal(0), Decimal(2), Decimal("4.5"), Decimal(6)])
DELTAS = st.sampled_from([Decimal(text) for text in ("-5", "-2", "-1", "-0.5", "1", "2.25", "6")])
VERSIONS = st.sampled_from(["any", "any", "right", "stale"])
KEYS = st.sampled_from([None, None, None, "a", "b", "c"])
# which of the items there are: mostly the same, as those at once are to meet
WHERE = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8])
WHO = st.sampled_from(["ada", "ada", "bob", "eve"])
WISHES = st.one_of(
    st.tuples(st.just("move"), WHO, WHERE, DELTAS, KEYS),
    st.tuples(st.just("count"), WHO, WHERE, STOCKS, KEYS, VERSIONS),
    st.tuples(st.just("edit"), WHO, WHERE, LIMITS, KEYS, VERSIONS),
    st.tuples(st.just("archive"), WHO, WHERE, VERSIONS),
    st.tuples(st.just("create"), WHO, STOCKS, LIMITS, KEYS, st.sampled_from([None, "A", "B"])),
    st.tuples(
        st.sampled_from(["batch all", "batch each"]),
        WHO,
        st.lists(st.tuples(WHERE, DELTAS), min_size=1, max_size=4),
        KEYS,
    ),
)


async def ask(room: Stockroom, call: Call) -> Answered:
    """The call as a request."""
    item, who, key, version = {"id": call.item}, call.who, call.key, call.version
    match call.kind:
        case "move":
            return await room.move(who, item, call.amount, key=key)
        case "count":
            wanted = {} if version is None else {"expectedVersion": version}
            return await room.count(who, item, call.amount, key=key, **wanted)
        case "edit":
            tag = "*" if version is None else f'"{version}"'
            limit = {"minThreshold": call.amount}
            return await room.ask(
                who, "PATCH", f"/items/{call.item}", json=limit, if_match=tag, key=key
            )
        case "archive":
            tag = None if version is None else f'"{version}"'
            return await room.ask(who, "DELETE", f"/items/{call.item}", if_match=tag)
        case "create":
            more = {} if call.sku is None else {"sku": call.sku}
            fields = {"quantity": call.amount, "minThreshold": call.limit} | more
            return await room.create(who, key=key, **fields)
        case _:
            return await room.batch(who, call.kind.split()[1], *call.batch, key=key)


class Ledger(Machine):
    """The service and its model, side by side; `room` is the service."""

    room: Stockroom

    def __init__(self) -> None:
        super().__init__()
        ada = account()
        self.people = {"ada": ada, "bob": account(ada.workspace_id), "eve": account()}
        self.world = World()
        self.keyed: list[Call] = []

    @initialize(stocks=st.lists(st.tuples(STOCKS, LIMITS), min_size=2, max_size=2))
    def begin(self, stocks: list[tuple[Decimal, Decimal | None]]) -> None:
        for name, (stock, limit) in zip(("ada", "eve"), stocks, strict=True):
            self._do([Call(self.people[name], "create", amount=stock, limit=limit)])

    @rule(wish=WISHES)
    def one(self, wish: Any) -> None:
        self._do([self._call(wish)])

    @rule(wishes=st.lists(WISHES, min_size=2, max_size=4))
    def several_at_once(self, wishes: list[Any]) -> None:
        self._do([self._call(wish) for wish in wishes])

    @rule(wish=WISHES, times=st.integers(2, 4))
    def the_same_at_once(self, wish: Any, times: int) -> None:
        self._do([self._call(wish)] * times)

    @rule(which=st.lists(st.integers(0, 50), min_size=1, max_size=3), wish=WISHES)
    def some_again(self, which: list[int], wish: Any) -> None:
        again = [self.keyed[number % len(self.keyed)] for number in which if self.keyed]
        self._do([*again, self._call(wish)])

    def _call(self, wish: Any) -> Call:
        kind, name, *rest = wish
        who = self.people[name]
        match kind:
            case "move":
                where, delta, key = rest
                return Call(who, kind, self._at(who, where), delta, key=key)
            case "count" | "edit":
                where, amount, key, version = rest
                item = self._at(who, where)
                return Call(who, kind, item, amount, version=self._version(item, version), key=key)
            case "archive":
                where, version = rest
                item = self._at(who, where)
                return Call(who, kind, item, version=self._version(item, version))
            case "create":
                amount, limit, key, sku = rest
                return Call(who, kind, amount=amount, limit=limit, key=key, sku=sku)
        moves, key = rest
        batch = tuple((self._at(who, where), delta) for where, delta in moves)
        return Call(who, kind, batch=batch, key=key)

    def _at(self, who: Account, where: int) -> str:
        """One's own first, the newest first of those; then what is archived or somebody else's."""
        own = list(self.world.of(who.workspace_id))[::-1]
        return [*own, *(key for key in self.world.items if key not in own)][
            where % len(self.world.items)
        ]

    def _version(self, item_id: str, which: str) -> int | None:
        version = self.world.items[item_id].version
        return {"any": None, "right": version, "stale": max(1, version - 1)}[which]

    def _do(self, calls: list[Call]) -> None:
        """All at once; go on in a world that explains the answers and is as the service says."""
        self.keyed += [call for call in calls if call.key is not None]
        answers = self.together([ask(self.room, call) for call in calls])
        asked = list(zip(calls, answers, strict=True))
        found = self.wait(self._found())
        for world in worlds_after(self.world, asked, after):
            if self._is(world, found):
                self.world = world
                return
        said = [(call, answer.status, answer.body) for call, answer in asked]
        self.impossible(said, self.world, found)

    async def _found(self) -> list[list[dict[str, Any]]]:
        """The items of both workspaces, newest first."""
        answers = await asyncio.gather(
            *(
                self.room.ask(self.people[name], "GET", "/items?limit=200")
                for name in ("ada", "eve")
            )
        )
        assert {answer.status for answer in answers} == {200}, answers
        return [answer.json for answer in answers]

    def _is(self, world: World, found: list[list[dict[str, Any]]]) -> bool:
        for name, listed in zip(("ada", "eve"), found, strict=True):
            items = world.of(self.people[name].workspace_id)
            if [item["id"] for item in listed] != sorted(items, reverse=True):
                return False
            if not all(shows(item, items[item["id"]]) for item in listed):
                return False
        return True

    def check(self) -> None:
        for name in ("ada", "eve"):
            self.wait(self._check(self.people[name]))

    async def _check(self, who: Account) -> None:
        """Ledger, alerts and the list of low ones are the model's."""
        mine = {
            item_id: item
            for item_id, item in self.world.items.items()
            if item.workspace_id == who.workspace_id
        }
        told: dict[str, list[tuple[int, str]]] = {item_id: [] for item_id in mine}
        for event in await self.room.events(who):
            word = event["subject"].rpartition(".")[2]
            if word in {"fell_low", "ran_out", "recovered"}:
                data = msgspec.json.decode(event["data"])
                told[data["itemId"]].append((data["seq"], word))
        assert {item_id: tuple(words) for item_id, words in told.items()} == {
            item_id: item.told for item_id, item in mine.items()
        }
        for item_id, item in mine.items():
            rows = await self.room.logs(who, {"id": item_id})
            assert [row["seq"] for row in rows] == list(range(len(item.rows), 0, -1))
            assert all(map(is_row, rows, reversed(item.rows)))
            assert sum(number(row["delta"]) for row in rows) == item.stock
        low = (await self.room.ask(who, "GET", "/items/low-stock?limit=200")).json
        are_low = {item_id for item_id, item in self.world.of(who.workspace_id).items() if item.low}
        assert {item["id"] for item in low} == are_low
        stocks = [number(item["quantity"]) for item in low]
        assert stocks == sorted(stocks)


@short_and_long(examples=40)
async def test_stock_is_what_some_order_of_the_calls_makes_it(
    room: Stockroom, figures: Figures, examples: int, steps: int, derandomize: bool
) -> None:
    await try_out(
        Ledger, figures, examples=examples, steps=steps, derandomize=derandomize, room=room
    )
