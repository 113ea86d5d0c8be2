"""Any interleaving of what can happen to an inbox, against a model of it, on the real service.

What is asked for at once must be answered as in some order; what is read and how much is unread are
the model's, and so is the order of the feed. Two people never meet.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from restock.kernel.ids import new_id
from tests.fixtures.figures import Figures
from tests.fixtures.running import RunningService
from tests.fixtures.serial import Machine, short_and_long, try_out, worlds_after
from tests.fixtures.tokens import token_for
from tests.notification.happenings import Account, account, fell_low, happen

WHO = st.sampled_from(["ada", "ada", "bob"])
WHERE = st.sampled_from([0, 0, 0, 0, 1, 1, 2, 3, 5, 8])
WISHES = st.one_of(
    st.tuples(st.just("tell"), WHO, WHERE),
    st.tuples(st.just("tell"), WHO, WHERE),
    st.tuples(st.just("read"), WHO, WHERE),
    st.tuples(st.just("read all"), WHO, WHERE),
    st.tuples(st.just("delete"), WHO, WHERE),
)


@dataclass(frozen=True)
class Call:
    """Something told to somebody, or asked by somebody; `item` is what a notification is about."""

    who: str
    kind: str
    item: str = ""


@dataclass(frozen=True)
class World:
    """Each inbox: what its notifications are about, oldest first, and whether each is read."""

    inboxes: Mapping[str, Mapping[str, bool]] = field(default_factory=dict)

    def of(self, who: str) -> Mapping[str, bool]:
        return self.inboxes.get(who, {})

    def put(self, who: str, inbox: Mapping[str, bool]) -> "World":
        return replace(self, inboxes={**self.inboxes, who: inbox})


def after(world: World, call: Call, status: int) -> World | None:
    """The world after the call, or None where it can't have been answered so in this one."""
    inbox = world.of(call.who)
    if call.kind == "tell":
        return world.put(call.who, {**inbox, call.item: False})
    if call.kind == "read all":
        return world.put(call.who, dict.fromkeys(inbox, True)) if status == 204 else None
    if call.item not in inbox:
        return world if status == 404 else None
    if call.kind == "read":
        return world.put(call.who, {**inbox, call.item: True}) if status == 200 else None
    left = {item: read for item, read in inbox.items() if item != call.item}
    return world.put(call.who, left) if status == 204 else None


class Inbox(Machine):
    """The service and its model, side by side."""

    service: RunningService

    def __init__(self) -> None:
        super().__init__()
        self.people: dict[str, Account] = {name: account(token_for) for name in ("ada", "bob")}
        self.ids: dict[str, str] = {}  # of notifications, by what they are about
        self.seqs: dict[str, int] = {}
        self.world = World()

    @rule(wish=WISHES)
    def one(self, wish: Any) -> None:
        self._do([wish])

    @rule(wishes=st.lists(WISHES, min_size=2, max_size=4))
    def several_at_once(self, wishes: list[Any]) -> None:
        self._do(wishes)

    def _do(self, wishes: list[Any]) -> None:
        """All at once; go on in a world that explains the answers and is as the service says."""
        known = list(self.ids)
        calls = []
        for kind, who, where in wishes:
            if kind == "tell":
                calls.append(Call(who, kind, str(new_id())))
            elif kind == "read all":
                calls.append(Call(who, kind))
            elif known:
                calls.append(Call(who, kind, known[-1 - where % len(known)]))
        statuses = self.together([self._ask(call) for call in calls])
        seen = self.wait(self._seen())
        for world in worlds_after(self.world, list(zip(calls, statuses, strict=True)), after):
            if self._is(world, seen):
                self.world = world
                self._in_order(seen)
                return
        self.impossible(list(zip(calls, statuses, strict=True)), self.world, seen)

    async def _ask(self, call: Call) -> int:
        who, path = self.people[call.who], f"/api/notifications/{self.ids.get(call.item)}"
        match call.kind:
            case "tell":
                await happen(self.service, fell_low(who.user_id, item_id=call.item))
                return 0
            case "read":
                answer = await self.service.ask("PATCH", path + "/read", token=who.token)
            case "read all":
                path = "/api/notifications/read-all"
                answer = await self.service.ask("POST", path, token=who.token)
            case _:
                answer = await self.service.ask("DELETE", path, token=who.token)
        return answer.status

    async def _seen(self) -> dict[str, list[Any]]:
        """Everybody's inbox, oldest first, then how many are said to be unread."""
        seen: dict[str, list[Any]] = {}
        for name, who in self.people.items():
            listed, unread, count = await asyncio.gather(
                *(
                    self.service.ask("GET", "/api/notifications" + path, token=who.token)
                    for path in ("?limit=200", "?limit=200&unread=true", "/unread-count")
                )
            )
            assert {answer.status for answer in (listed, unread, count)} == {200}, listed
            assert [n for n in listed.json if not n["read"]] == unread.json
            seen[name] = [*reversed(listed.json), count.json["unread"]]
        return seen

    def _is(self, world: World, seen: dict[str, list[Any]]) -> bool:
        for name, (*listed, unread) in seen.items():
            inbox = world.of(name)
            if [(n["itemId"], n["read"]) for n in listed] != list(inbox.items()):
                return False
            if unread != list(inbox.values()).count(False):
                return False
        return True

    def _in_order(self, seen: dict[str, list[Any]]) -> None:
        """A notification keeps its place in the feed; new ones come behind all there were."""
        for name, (*listed, _) in seen.items():
            last = self.seqs.get(name, 0)
            for notification in listed:
                if notification["itemId"] not in self.ids:
                    assert notification["seq"] > last
                    last = notification["seq"]
                    self.ids[notification["itemId"]] = notification["id"]
            self.seqs[name] = last


@short_and_long(examples=30)
async def test_an_inbox_is_what_some_order_of_the_calls_makes_it(
    inbox: RunningService, figures: Figures, examples: int, steps: int, derandomize: bool
) -> None:
    await try_out(
        Inbox, figures, examples=examples, steps=steps, derandomize=derandomize, service=inbox
    )
