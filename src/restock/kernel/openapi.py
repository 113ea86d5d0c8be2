"""A service's OpenAPI document: what Litestar reads off the routes, and what the edge adds."""

from typing import TYPE_CHECKING, Any

from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.spec import OpenAPIType, Schema
from litestar.plugins import OpenAPISchemaPlugin

from restock.kernel.edge import Operation
from restock.kernel.faults import (
    Fault,
    Internal,
    Invalid,
    Limited,
    Malformed,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from restock.kernel.idempotency import KeyReused
from restock.kernel.wire import QUANTITY_PLACES, Quantity

if TYPE_CHECKING:
    from litestar import Litestar

VERSION = "1.0.0"
METHODS = ("get", "post", "patch", "delete")

PROBLEM: dict[str, Any] = {
    "type": "object",
    "title": "Problem",
    "description": "A refusal (RFC 9457). Compare `code`; it is stable.",
    "required": ["type", "code", "title", "status", "requestId"],
    "properties": {
        "type": {"type": "string"},
        "code": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "requestId": {"type": "string"},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "message"],
                "properties": {"pointer": {"type": "string"}, "message": {"type": "string"}},
            },
        },
    },
}

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body give the first answer again; another body is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


class QuantitySchema(OpenAPISchemaPlugin):
    """How a quantity is described: Litestar knows Decimal, not our narrower kind."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return value is Quantity

    def to_openapi_schema(self, field_definition: Any, schema_creator: Any) -> Schema:
        return Schema(
            type=OpenAPIType.NUMBER,
            exclusive_minimum=-1_000_000_000,
            exclusive_maximum=1_000_000_000,
            description=f"At most {QUANTITY_PLACES} decimal places.",
        )


def openapi_config(service: str) -> OpenAPIConfig:
    """Litestar's part of the document."""
    return OpenAPIConfig(title=f"Restock {service}", version=VERSION, use_handler_docstrings=True)


def document(app: "Litestar", service: str) -> dict[str, Any]:
    """The whole document of a service's routes."""
    made: dict[str, Any] = app.openapi_schema.to_schema()
    made.pop("servers", None)
    components = made.setdefault("components", {})
    components.setdefault("schemas", {})["Problem"] = PROBLEM
    components["securitySchemes"] = {
        "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
    }
    operations = {
        handler.opt["operation"].name: handler.opt["operation"]
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if "operation" in handler.opt
    }
    for path in made["paths"].values():
        for method in METHODS:
            if method in path:
                _complete(path[method], operations[path[method]["operationId"]], service)
    return made


def _complete(described: dict[str, Any], operation: Operation, service: str) -> None:
    described["tags"] = [service]
    described["security"] = [] if operation.public else [{"token": []}]
    if operation.key is not None:
        described.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    described["responses"] = {
        status: answer
        for status, answer in described["responses"].items()
        if int(status) < 400  # Litestar's own 400 has another shape than our problems
    }
    for status, kinds in sorted(_refusals(described, operation).items()):
        described["responses"][str(status)] = {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }


def _refusals(described: dict[str, Any], operation: Operation) -> dict[int, list[type[Fault]]]:
    kinds: list[type[Fault]] = list(operation.faults)
    if not operation.public:
        kinds.append(Unauthenticated)
    if "requestBody" in described:
        kinds += [Malformed, TooLarge]
    if "requestBody" in described or described.get("parameters"):
        kinds.append(Invalid)
    if operation.key is not None:
        kinds.append(KeyReused)
    kinds += [Limited, Unavailable, Internal]
    by_status: dict[int, list[type[Fault]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return by_status
