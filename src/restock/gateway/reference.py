"""One API reference of all services: their OpenAPI documents merged, and made readable."""

import asyncio
from collections.abc import Mapping
from typing import Any

from restock.gateway.readiness import Reference, Services
from restock.gateway.refusals import PROBLEM as PROBLEM_TYPE
from restock.gateway.refusals import TO_TRY_AGAIN, of_operations
from restock.gateway.settings import SERVICE_PORTS
from restock.kernel.openapi import HEADERS, PROBLEM
from restock.kernel.wire import encode

METHODS = ("get", "post", "put", "patch", "delete", "head", "options")

Document = dict[str, Any]

_ABOUT = """\
Stock that stays true, and vendors who hear of it at once.

Register or log in, then send the token as `Authorization: Bearer …`. Refusals are
`application/problem+json` with a stable `code`. POST and PATCH take an `Idempotency-Key`; lists
go on at `Link: <…>; rel="next"`. What is told on sockets and between services is in
[the description of events](/events.html)."""

_REQUEST_ID = "X-Request-Id"
_PERHAPS = HEADERS[_REQUEST_ID] | {"required": False}
_RETRY = {"Retry-After": {"$ref": "#/components/headers/Retry-After"}}

_HEALTH: Document = {
    "operationId": "health",
    "tags": ["gateway"],
    "summary": "How the whole is",
    "description": "Each service's own state; degraded is working, with something away.",
    "security": [],
    "responses": {
        "200": {"description": "Everything works."},
        "503": {"description": "Something doesn't."},
    },
}


async def current(services: Services) -> Reference:
    """The reference, at most a few seconds old; services are asked once for all who wait."""

    async def make() -> Reference:
        merged = merge(await fetch_documents(services))
        return Reference(encode(merged), encode(in_openapi_3_0(merged)))

    return await services.reference.get(make)


async def fetch_documents(services: Services) -> dict[str, Document]:
    """The document of each service that answers, by its name."""
    names = list(SERVICE_PORTS)
    found = await asyncio.gather(
        *(
            services.get(services.settings.upstreams(name)[0], f"/openapi/{name}.json")
            for name in names
        )
    )
    return {
        name: document
        for name, document in zip(names, found, strict=True)
        if isinstance(document, dict) and "paths" in document
    }


def merge(documents: Mapping[str, Document]) -> Document:
    """One document, with what the gateway itself may answer to each operation.

    A name that two services give to different things gets the service's name. A service that
    didn't answer is missing, and named in the description.
    """
    schemas: Document = {"Problem": PROBLEM}
    headers: Document = {"Retry-After": HEADERS["Retry-After"]}
    paths: Document = {}
    security: Document = {}
    operations: set[str] = set()
    for service, document in documents.items():
        components = document.get("components", {})
        own = components.get("schemas", {})
        renamed = {
            name: f"{service.capitalize()}{name}"
            for name, schema in own.items()
            if name in schemas and schemas[name] != schema
        }
        for name, schema in own.items():
            schemas[renamed.get(name, name)] = _point(schema, renamed)
        for path, item in document["paths"].items():
            paths[path] = _point(item, renamed)
            for operation in _operations(paths[path]):
                if operation["operationId"] in operations:
                    operation["operationId"] = f"{service}_{operation['operationId']}"
                operations.add(operation["operationId"])
                operation["responses"] = _with_refusals(operation)
        headers |= components.get("headers", {})
        security |= components.get("securitySchemes", {})
    missing = [name for name in SERVICE_PORTS if name not in documents]
    absent = f"\n\n**Not answering now, and so not shown: {', '.join(missing)}.**"
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Restock",
            "version": "1",
            "description": _ABOUT + (absent if missing else ""),
        },
        "servers": [{"url": "/"}],
        "tags": [{"name": name} for name in (*documents, "gateway")],
        "paths": paths | {"/health": {"get": _HEALTH | {"responses": _with_refusals(_HEALTH)}}},
        "components": {"schemas": schemas, "headers": headers, "securitySchemes": security},
    }


def _with_refusals(operation: Document) -> Document:
    """An operation's answers, and those it gets from the gateway in the service's place."""
    answers: Document = dict(operation["responses"])
    for status, refusals in of_operations(public=operation.get("security") == []).items():
        said = "; ".join(dict.fromkeys(f"`{each.code}`: {each.title}" for each in refusals))
        if own := answers.get(str(status)):
            own = own | {"description": f"{own['description']}; {said}"}
            if status == 400:  # what can't even be read has an id in its problem alone
                own["headers"] = own.get("headers", {}) | {_REQUEST_ID: _PERHAPS}
            answers[str(status)] = own
        else:
            answers[str(status)] = {
                "description": said,
                "headers": {_REQUEST_ID: _PERHAPS} | (_RETRY if status in TO_TRY_AGAIN else {}),
                "content": {PROBLEM_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}},
            }
    return dict(sorted(answers.items()))


def _operations(item: Document) -> list[Document]:
    return [item[method] for method in METHODS if method in item]


def _point(node: Any, renamed: Mapping[str, str]) -> Any:
    """A copy in which references follow the new names."""
    if isinstance(node, list):
        return [_point(entry, renamed) for entry in node]
    if not isinstance(node, dict):
        return node
    copy = {key: _point(value, renamed) for key, value in node.items()}
    reference = copy.get("$ref")
    if isinstance(reference, str):
        place, _, name = reference.rpartition("/")
        copy["$ref"] = f"{place}/{renamed.get(name, name)}"
    return copy


def in_openapi_3_0(document: Document) -> Document:
    """The same in OpenAPI 3.0, which is what the reference page can read."""
    return {**_older(document), "openapi": "3.0.3"}


def _older(node: Any) -> Any:
    if isinstance(node, list):
        return [_older(entry) for entry in node]
    if not isinstance(node, dict):
        return node
    # names of fields look like keywords: their schemas are turned, they themselves are not
    copy = {
        key: {name: _older(schema) for name, schema in value.items()}
        if key == "properties" and isinstance(value, dict)
        else _older(value)
        for key, value in node.items()
    }
    _turn_null(copy)
    if "const" in copy:
        copy["enum"] = [copy.pop("const")]
    if isinstance(copy.get("examples"), list):
        copy["example"] = copy.pop("examples")[0]
    for bound in ("Minimum", "Maximum"):
        exclusive = copy.get(f"exclusive{bound}")
        if isinstance(exclusive, int | float) and not isinstance(exclusive, bool):
            copy[bound.lower()] = exclusive
            copy[f"exclusive{bound}"] = True
    return copy


def _turn_null(schema: Document) -> None:
    """ "or null" is a type of its own in 3.1 and a mark in 3.0."""
    if isinstance(schema.get("type"), list):
        types = [kind for kind in schema["type"] if kind != "null"]
        schema["nullable"] = len(types) < len(schema["type"])
        schema["type"] = types[0] if types else "string"
    for choice in ("oneOf", "anyOf"):
        options = schema.get(choice)
        if isinstance(options, list) and {"type": "null"} in options:
            schema["nullable"] = True
            left = [option for option in options if option != {"type": "null"}]
            schema.pop(choice)
            if len(left) == 1 and "$ref" in left[0]:
                schema["allOf"] = left
            elif len(left) == 1:
                schema |= left[0]
            else:
                schema[choice] = left
