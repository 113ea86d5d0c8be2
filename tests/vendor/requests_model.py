"""Requests as the contract tells them, in a few lines of its own: what each call may be answered,
and how the world is after it. Nothing here knows the service's code.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

from tests.fixtures.running import Answered
from tests.vendor.desk import Account

NEXT = {"pending": "responded", "responded": "fulfilled"}


@dataclass(frozen=True)
class Call:
    """One call as somebody. `about` is a vendor's or a request's id, `item` an item's; `wanted` is
    a status, or whether a vendor is active."""

    who: Account
    kind: str
    about: str
    item: str = ""
    wanted: Any = None
    key: str | None = None


@dataclass(frozen=True)
class Request:
    """A request, as its two sides see it: `history` is (status, whose account)."""

    buyer: UUID
    vendor: str
    item: str
    history: tuple[tuple[str, str], ...]

    @property
    def status(self) -> str:
        return self.history[-1][0]


@dataclass(frozen=True)
class World:
    """Vendors by id, with whose they are and whether they are active; who sees which item;
    requests by id; answers kept under a key."""

    vendors: Mapping[str, tuple[UUID, bool]] = field(default_factory=dict)
    items: frozenset[tuple[UUID, str]] = frozenset()
    requests: Mapping[str, Request] = field(default_factory=dict)
    kept: Mapping[tuple[UUID, str], tuple[Call, bytes]] = field(default_factory=dict)

    def sent_by(self, workspace_id: UUID) -> set[str]:
        return {key for key, asked in self.requests.items() if asked.buyer == workspace_id}

    def sent_to(self, vendor: str) -> set[str]:
        return {key for key, asked in self.requests.items() if asked.vendor == vendor}


def after(world: World, call: Call, answer: Answered) -> World | None:
    """The world after the call, or None where it can't have been answered so in this one."""
    if call.key is None:
        return _judged(world, call, answer)
    name = (call.who.user_id, call.key)
    if name in world.kept:
        first, body = world.kept[name]
        is_right = answer.body == body if first == call else _code(answer) == REUSED
        return world if is_right else None
    judged = _judged(world, call, answer)
    return judged and replace(judged, kept={**world.kept, name: (call, answer.body)})


REUSED = "request.idempotency_key_reused"


def _judged(world: World, call: Call, answer: Answered) -> World | None:
    match call.kind:
        case "contact":
            return _contacted(world, call, answer)
        case "step":
            return _stepped(world, call, answer)
        case "switch":
            owner, _ = world.vendors[call.about]
            if call.who.role != "admin":
                return world if _code(answer) == "vendor.edit_forbidden" else None
            is_right = answer.status == 200 and answer.json["isActive"] is call.wanted
            switched = {**world.vendors, call.about: (owner, call.wanted)}
            return replace(world, vendors=switched) if is_right else None
    raise AssertionError(call.kind)


def _contacted(world: World, call: Call, answer: Answered) -> World | None:
    buyer = call.who.workspace_id
    if (buyer, call.item) not in world.items:
        return world if _code(answer) == "vendor.item_not_found" else None
    if not world.vendors[call.about][1]:
        return world if _code(answer) == "vendor.inactive" else None
    for request_id, asked in world.requests.items():
        is_it = (asked.buyer, asked.vendor, asked.item) == (buyer, call.about, call.item)
        if is_it and asked.status != "fulfilled":
            is_right = _code(answer) == "vendor.request_open"
            return world if is_right and answer.json["openRequestId"] == request_id else None
    request = Request(buyer, call.about, call.item, (("pending", str(call.who.user_id)),))
    if answer.status != 201 or answer.json["id"] in world.requests:
        return None
    made = {**world.requests, answer.json["id"]: request}
    return replace(world, requests=made) if shows(answer.json, request) else None


def _stepped(world: World, call: Call, answer: Answered) -> World | None:
    asked, workspace_id = world.requests[call.about], call.who.workspace_id
    if world.vendors[asked.vendor][0] != workspace_id:
        code = (
            "vendor.not_its_people" if asked.buyer == workspace_id else "vendor.request_not_found"
        )
        return world if _code(answer) == code else None
    if NEXT.get(asked.status) != call.wanted:
        is_right = _code(answer) == "vendor.step_out_of_order"
        return world if is_right and answer.json["current"] == asked.status else None
    step = (call.wanted, str(call.who.user_id))
    stepped = replace(asked, history=(*asked.history, step))
    is_right = answer.status == 200 and shows(answer.json, stepped)
    requests = {**world.requests, call.about: stepped}
    return replace(world, requests=requests) if is_right else None


def shows(answered: Mapping[str, Any], asked: Request) -> bool:
    """Whether a request is answered as it is here."""
    history = tuple((step["status"], step["userId"]) for step in answered["history"])
    times = [step["at"] for step in answered["history"]]
    return (
        (answered["status"], history) == (asked.status, asked.history)
        and (answered["vendorId"], answered["itemId"]) == (asked.vendor, asked.item)
        and answered["workspaceId"] == str(asked.buyer)
        and times == sorted(times)
    )


def _code(answer: Answered) -> str | None:
    return answer.json.get("code") if answer.status >= 400 else None
