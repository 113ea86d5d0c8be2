"""A service's OpenAPI document, read off its routes; shapes are as msgspec describes them."""

from collections.abc import Iterable, Iterator, Sequence
from inspect import cleandoc
from typing import Any

import msgspec

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
from restock.kernel.paging import CURSOR, LIMIT_DEFAULT, LIMIT_MOST, BadCursor
from restock.kernel.routing import Route
from restock.kernel.wire import NO_NUL, QUANTITY_LIMIT, QUANTITY_PLACES, Wire

DONE = {200: "Done.", 201: "Made.", 204: "Done; nothing to say."}
VERSION = "1.0.0"
ABOUT = """\
Answers to a path that is not listed are 404, to a method that is not listed of one that is 405,
with the methods there are in `Allow`; OPTIONS is answered with them (204). Each is a `Problem`.
"""
BODY = (
    "JSON in UTF-8; it is read as that whatever its Content-Type says. In an object each name "
    "stands once."
)

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
        "schema": {"type": "string", "pattern": f"^{CURSOR}$"},
    },
]

HEADERS: dict[str, dict[str, Any]] = {
    "X-Request-Id": {
        "description": "What the logs call this request.",
        "required": True,
        "schema": {"type": "string", "format": "uuid"},
    },
    "Link": {
        "description": '`<…>; rel="next"` where there is a next page (RFC 8288).',
        "schema": {"type": "string"},
    },
    "ETag": {
        "description": "The version, quoted: what If-Match takes.",
        "required": True,
        "schema": {"type": "string", "pattern": '^"[0-9]+"$'},
    },
    "Idempotent-Replayed": {
        "description": "There when this is the first answer again, under its Idempotency-Key.",
        "schema": {"type": "string", "const": "true"},
    },
    "Retry-After": {
        "description": "Seconds to wait.",
        "required": True,
        "schema": {"type": "integer", "minimum": 1},
    },
    "WWW-Authenticate": {"required": True, "schema": {"type": "string", "const": "Bearer"}},
}

IDEMPOTENCY_KEY: dict[str, Any] = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "description": "The same key and body give the first answer again; another body is refused.",
    "schema": {"type": "string", "minLength": 1, "maxLength": 200, "pattern": "^[!-~]+$"},
}


def document(service: str, routes: Sequence[Route]) -> dict[str, Any]:
    """The whole document of a service's routes."""
    schemas = Schemas(routes)
    paths: dict[str, dict[str, Any]] = {}
    for route in routes:
        if not route.hidden:
            described = _operation(route, service, schemas)
            paths.setdefault(route.template, {})[route.method.lower()] = described
    return {
        "info": {"title": f"Restock {service}", "version": VERSION, "description": ABOUT},
        "openapi": "3.1.0",
        "paths": paths,
        "components": {
            "schemas": schemas.named | {"Problem": PROBLEM},
            "headers": HEADERS,
            "securitySchemes": {
                "token": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}
            },
        },
    }


class Schemas:
    """How msgspec describes whatever the routes take and give; structs by their name."""

    def __init__(self, routes: Iterable[Route]) -> None:
        kinds = [kind for route in routes for kind in _kinds(route)]
        self._kinds = kinds
        described, named = msgspec.json.schema_components(
            kinds,
            schema_hook=lambda _kind: QUANTITY,
            ref_template="#/components/schemas/{name}",
        )
        self._described = [on_the_wire(schema) for schema in described]
        self.named = {name: on_the_wire(schema) for name, schema in sorted(named.items())}
        for kind in kinds:
            if _is_edit(kind):
                self.named[kind.__name__]["minProperties"] = 1

    def of(self, kind: Any) -> dict[str, Any]:
        """The schema of one of them."""
        found: dict[str, Any] = self._described[self._kinds.index(kind)]
        return found


def _is_edit(kind: Any) -> bool:
    """Whether everything in a shape may be left out; not all of it, then nothing was asked."""
    is_asked = isinstance(kind, type) and issubclass(kind, Wire)
    fields = msgspec.structs.fields(kind) if is_asked else ()
    return bool(fields) and all(part.default is msgspec.UNSET for part in fields)


def _kinds(route: Route) -> Iterator[Any]:
    yield from (parameter.kind for parameter in route.plan.parameters)
    if route.plan.body is not None:
        yield route.plan.body
    if route.gives is not None:
        yield route.gives


def _operation(route: Route, service: str, schemas: Schemas) -> dict[str, Any]:
    described: dict[str, Any] = {"summary": route.summary}
    if route.function.__doc__:
        described["description"] = cleandoc(route.function.__doc__)
    described["operationId"] = route.name
    described["parameters"] = _parameters(route, schemas)
    if route.plan.body is not None:
        described["requestBody"] = {
            "description": BODY,
            "content": {"application/json": {"schema": schemas.of(route.plan.body)}},
            "required": True,
        }
    described["responses"] = {str(route.answers): _success(route, schemas)}
    for status, kinds in sorted(_refusals(route).items()):
        described["responses"][str(status)] = {
            "description": "; ".join(f"`{kind.code}`: {kind.title}" for kind in kinds),
            "headers": _refusal_headers(kinds),
            "content": {
                "application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}
            },
        }
    described["tags"] = [service]
    described["security"] = [] if route.public else [{"token": []}]
    return described


def _parameters(route: Route, schemas: Schemas) -> list[dict[str, Any]]:
    found = []
    for parameter in route.plan.parameters:
        described: dict[str, Any] = {
            "name": parameter.name,
            "in": parameter.place,
            "required": parameter.required,
        }
        if parameter.description:
            described["description"] = parameter.description
        if parameter.example is not None:
            described["example"] = parameter.example
        described["schema"] = schemas.of(parameter.kind)
        if described["schema"] == {"type": "string"} and parameter.place != "header":
            described["schema"] = described["schema"] | NO_NUL
        found.append(described)
    if route.plan.paged:
        found += PAGE
    if route.key is not None:
        found.append(IDEMPOTENCY_KEY)
    return found


def _success(route: Route, schemas: Schemas) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    headers += ["Link"] if route.plan.paged else []
    headers += ["ETag"] if route.tagged else []
    headers += ["Idempotent-Replayed"] if route.key == "kept" else []
    described: dict[str, Any] = {"description": DONE[route.answers], "headers": _headers(headers)}
    if route.gives in (bytes, str):
        described["content"] = {"*/*": {}}
    elif route.gives is not None:
        described["content"] = {"application/json": {"schema": schemas.of(route.gives)}}
    return described


def _refusal_headers(kinds: Sequence[type[Fault]]) -> dict[str, Any]:
    headers = ["X-Request-Id"]
    headers += ["WWW-Authenticate"] if kinds[0].status == Unauthenticated.status else []
    headers += ["Retry-After"] if issubclass(kinds[0], Limited) else []  # of a status: all or none
    return _headers(headers)


def _headers(names: Iterable[str]) -> dict[str, Any]:
    return {name: {"$ref": f"#/components/headers/{name}"} for name in names}


def _refusals(route: Route) -> dict[int, list[type[Fault]]]:
    kinds: list[type[Fault]] = list(route.faults)
    if not route.public:
        kinds.append(Unauthenticated)
    if route.plan.body is not None:
        kinds += [Malformed, TooLarge]
    if route.plan.body is not None or route.plan.parameters or route.plan.paged or route.key:
        kinds.append(Invalid)
    if route.plan.paged:
        kinds.append(BadCursor)
    if route.key is not None:
        kinds.append(KeyReused)
    kinds += [Limited, Unavailable, Internal]
    by_status: dict[int, list[type[Fault]]] = {}
    for kind in dict.fromkeys(kinds):
        by_status.setdefault(kind.status, []).append(kind)
    return by_status


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
