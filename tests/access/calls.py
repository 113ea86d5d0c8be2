"""A good call of every operation, on the things of a stage: what differs is who makes it."""

import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from restock.kernel.ids import new_id
from tests.access.stage import PASSWORD, Stage
from tests.contracts.operations import OPERATIONS, Operation
from tests.inventory.stockroom import item_fields
from tests.vendor.desk import vendor_fields

POLICY: dict[str, dict[str, list[Any]]] = tomllib.loads(
    Path(__file__).with_name("policy.toml").read_text(encoding="utf-8")
)
PARAMETER = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Call:
    """One request. `more` is what `ask` takes beside method and path."""

    operation: Operation
    path: str
    more: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Line:
    """A line of the policy: a case of an operation, and the status for each caller."""

    service: str
    name: str
    expected: dict[str, int]

    def __str__(self) -> str:
        return self.name

    @property
    def operation(self) -> Operation:
        name = self.name.partition(":")[0]
        found = [op for op in OPERATIONS if (op.service, op.name) == (self.service, name)]
        assert found, f"policy.toml has a line for {self.name}, which is no operation"
        return found[0]


LINES = [
    Line(service, name, dict(zip(table["callers"], statuses, strict=True)))
    for service, table in POLICY.items()
    for name, statuses in table.items()
    if name != "callers"
]

BODIES: dict[str, Callable[[Stage], Any]] = {
    "register": lambda _: {
        "email": f"{new_id().hex}@example.com",
        "name": "Ada",
        "password": PASSWORD,
    },
    "login": lambda stage: {"email": stage.people["owner"].email, "password": PASSWORD},
    "refresh": lambda stage: {"refreshToken": stage.refresh_token},
    "create_item": lambda _: item_fields(),
    "update_item": lambda _: {"unit": "crate"},
    "set_quantity": lambda _: {"quantity": 2, "reason": "stocktaking"},
    "add_movement": lambda _: {"delta": -1, "reason": "sale"},
    "add_movements": lambda stage: {
        "mode": "all",
        "movements": [{"itemId": stage.things["item_id"], "delta": -1, "reason": "sale"}],
    },
    "register_vendor": lambda _: vendor_fields(),
    "change_vendor": lambda _: {"city": "Leeds"},
    "change_vendor:activity": lambda _: {"isActive": True},
    "contact_vendor": lambda stage: {
        "itemId": stage.things["buyers_item_id"],
        "quantity": 2,
        "message": "Please",
    },
    "change_request_status": lambda _: {"status": "responded"},
}


def call_of(stage: Stage, line: Line, **elsewhere: Any) -> Call:
    """The call of a line; `elsewhere` are ids to be asked for instead of the stage's."""
    operation = line.operation
    things = stage.things | elsewhere
    path = PARAMETER.sub(lambda name: str(things[name[1]]), operation.path)
    more: dict[str, Any] = {}
    if operation.body is not None:
        more["json"] = BODIES[line.name](stage)
    if line.name == "update_item":
        more["headers"] = {"If-Match": f'"{things["version"]}"'}
    return Call(operation, path, more)
