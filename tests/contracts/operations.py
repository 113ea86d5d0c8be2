"""Every operation of the system, read off the committed OpenAPI documents."""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restock import system
from restock.gateway.routes_table import ROUTES, Route
from restock.kernel.ids import new_id

ROOT = Path(__file__).parents[2]
NOWHERE = new_id()
METHODS = ("get", "post", "patch", "delete", "put")
DOCUMENTS: dict[str, dict[str, Any]] = {
    name: json.loads((ROOT / f"contracts/http/{name}.json").read_text()) for name in system.PARTS
}


@dataclass(frozen=True)
class Operation:
    """One operation; `described` is what OpenAPI says of it."""

    service: str
    method: str
    path: str
    described: dict[str, Any]

    @property
    def name(self) -> str:
        return str(self.described["operationId"])

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def somewhere(self) -> str:
        """The path with ids of things that are nowhere."""
        return re.sub(r"\{\w+\}", str(NOWHERE), self.path)

    @property
    def is_public(self) -> bool:
        return self.described["security"] == []

    @property
    def body(self) -> dict[str, Any] | None:
        """The schema of what is sent, when something is."""
        if "requestBody" not in self.described:
            return None
        reference = self.described["requestBody"]["content"]["application/json"]["schema"]["$ref"]
        schemas: dict[str, Any] = DOCUMENTS[self.service]["components"]["schemas"]
        found: dict[str, Any] = schemas[reference.rsplit("/")[-1]]
        return found


def _operations() -> Iterator[Operation]:
    for service, document in DOCUMENTS.items():
        for path, methods in document["paths"].items():
            for method in METHODS:
                if method in methods:
                    yield Operation(service, method.upper(), path, methods[method])


OPERATIONS = list(_operations())


def route_of(path: str) -> Route | None:
    """What the gateway makes of a path."""
    for route in ROUTES:
        if path == route.path or (route.tree and path.startswith(route.path + "/")):
            return route
    return None
