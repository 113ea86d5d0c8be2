"""A service's OpenAPI document: paths as Litestar reads them off the routes, shapes as msgspec
describes them, and what the edge adds to each.
"""

from collections.abc import Iterator
from decimal import Decimal
from inspect import cleandoc
from typing import TYPE_CHECKING, Any, get_args

import msgspec
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
from restock.kernel.paging import LIMIT_DEFAULT, LIMIT_MOST, BadCursor
from restock.kernel.wire import QUANTITY_LIMIT, QUANTITY_PLACES, Quantity

if TYPE_CHECKING:
    from litestar import Litestar

DONE = {200: "Done.", 201: "Made.", 204: "Done; nothing to say."}
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

QUANTITY: dict[str, Any] = {
    "type": "number",
    "exclusiveMinimum": -QUANTITY_LIMIT,
    "exclusiveMaximum": QUANTITY_LIMIT,
    "description": f"At most {QUANTITY_PLACES} decimal places.",
}

PAGE: list[dict[str, Any]] = [
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "description": "Rows of a page.",
        "schema": {
            "type": "integer",
            "minimum": 1,
            "maximum": LIMIT_MOST,
            "default": LIMIT_DEFAULT,
        },
    },
    {
        "name": "cursor",
        "in": "query",
        "required": False,
        "description": "From the `Link` of the page before.",
        "schema": {"type": "string"},
    },
]

LINK: dict[str, Any] = {
    "description": '`<…>; rel="next"` where there is a next page (RFC 8288).',
    "schema": {"type": "string"},
}

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body give the first answer again; another body is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200},
}


class NumberSchema(OpenAPISchemaPlugin):
    """Quantities are numbers on the wire; Litestar would describe a Decimal as text."""

    @staticmethod
    def is_plugin_supported_type(value: Any) -> bool:
        return value in (Quantity, Decimal)

    def to_openapi_schema(self, field_definition: Any, schema_creator: Any) -> Schema:
        return Schema(type=OpenAPIType.NUMBER)


def openapi_config(service: str) -> OpenAPIConfig:
    """Litestar's part of the document."""
    return OpenAPIConfig(title=f"Restock {service}", version=VERSION, use_handler_docstrings=True)


def document(app: "Litestar", service: str) -> dict[str, Any]:
    """The whole document of a service's routes."""
    made: dict[str, Any] = app.openapi_schema.to_schema()
    made.pop("servers", None)
    handlers = {
        handler.opt["operation"].name: handler
        for route in app.routes
        for handler in getattr(route, "route_handlers", [])
        if "operation" in handler.opt
    }
    made["components"] = {
        "schemas": _shapes(handlers.values()) | {"Problem": PROBLEM},
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}},
    }
    for path in made["paths"].values():
        for method in METHODS:
            if method in path:
                _complete(path[method], handlers[path[method]["operationId"]], service)
    return made


def _complete(described: dict[str, Any], handler: Any, service: str) -> None:
    operation: Operation = handler.opt["operation"]
    parameters = described.setdefault("parameters", [])
    for parameter in parameters:
        for noise in ("deprecated", "allowEmptyValue", "allowReserved"):
            parameter.pop(noise, None)
    described.pop("deprecated", None)
    described["tags"] = [service]
    described["security"] = [] if operation.public else [{"token": []}]
    if "page" in handler.parsed_fn_signature.parameters:
        parameters += PAGE
    if operation.key is not None:
        parameters.append(IDEMPOTENCY_KEY)
    described["responses"] = {
        status: answer | {"description": DONE[int(status)]}
        for status, answer in described["responses"].items()
        if int(status) < 400  # Litestar's own 400 has another shape than our problems
    }
    if "page" in handler.parsed_fn_signature.parameters:
        described["responses"]["200"]["headers"] = {"Link": LINK}
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
    if "requestBody" in described or described["parameters"]:
        kinds.append(Invalid)
    if PAGE[-1] in described["parameters"]:
        kinds.append(BadCursor)
    if operation.key is not None:
        kinds.append(KeyReused)
    kinds += [Limited, Unavailable, Internal]
    by_status: dict[int, list[type[Fault]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return by_status


def _shapes(handlers: Any) -> dict[str, Any]:
    """The schemas of every struct that the handlers take or give, and of those within."""
    structs: dict[str, type] = {}
    for handler in handlers:
        for kind in handler.fn.__annotations__.values():
            structs |= {struct.__name__: struct for struct in _structs(kind)}
    _, schemas = msgspec.json.schema_components(
        [structs[name] for name in sorted(structs)],
        schema_hook=lambda _kind: QUANTITY,
        ref_template="#/components/schemas/{name}",
    )
    return {name: on_the_wire(schema) for name, schema in sorted(schemas.items())}


def _structs(kind: Any) -> Iterator[type]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        yield kind
    for part in get_args(kind):
        yield from _structs(part)


def on_the_wire(schema: Any) -> Any:
    """msgspec's schema as it holds here: a Decimal is a number, a moment always has its zone."""
    if isinstance(schema, list):
        return [on_the_wire(part) for part in schema]
    if not isinstance(schema, dict):
        return schema
    if schema.get("format") == "decimal":
        return {name: part for name, part in schema.items() if name != "format"} | {
            "type": "number"
        }
    described = {name: on_the_wire(part) for name, part in schema.items()}
    if isinstance(described.get("description"), str):
        described["description"] = cleandoc(described["description"])
    return described
