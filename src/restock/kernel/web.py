"""HTTP: how routes are declared, and the application made of them.

    @post("/api/inventory/items", answers=201, faults=(SkuTaken,))
    async def create_item(who: Principal, tx: Tx, data: NewItem) -> Item: ...

The function's name is the OpenAPI operationId, the key of the access matrix and the metric label.
Given by name: `who`, `tx`, `key`, `page`, `client`, `resources`; `data` is the decoded body.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

import asyncpg
from litestar import Litestar, Request, Response
from litestar import get as litestar_get
from litestar.di import NamedDependency, Provide
from litestar.enums import ScopeType
from litestar.exceptions import HTTPException, ValidationException
from litestar.handlers import HTTPRouteHandler
from litestar.middleware import DefineMiddleware
from litestar.params import FromPath, FromQuery, JSONBody, SkipValidationMarker
from litestar.types import Message, Receive, Scope, Send

from restock.kernel import faults
from restock.kernel.edge import (
    BODY_MOST,
    ClientGone,
    Edge,
    Exchange,
    KeyRule,
    Operation,
    problem_messages,
)
from restock.kernel.faults import Fault, FieldError
from restock.kernel.health import health_routes
from restock.kernel.idempotency import REPLAYED, AlreadyAnswered
from restock.kernel.openapi import NumberSchema, document, openapi_config
from restock.kernel.paging import BadCursor, read_page
from restock.kernel.reply import Reply
from restock.kernel.service import Asgi, Context, Service
from restock.kernel.telemetry import REQUEST_SECONDS, REQUESTS, log, request_id, start_request
from restock.kernel.wire import MalformedBody, decode, encode

__all__ = ["ClientInfo", "Reply", "create_app", "delete", "get", "patch", "post"]

Declare = Callable[[Callable[..., Any]], HTTPRouteHandler]


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request came from: the address the gateway saw, and the program as it names itself.

    Neither is proved: they are shown to people, nothing is decided by them.
    """

    address: str
    user_agent: str


def _declare(method: Literal["GET", "POST", "PATCH", "DELETE"]) -> Callable[..., Declare]:
    writes = method in ("POST", "PATCH")

    def route(
        path: str,
        *,
        summary: str = "",
        answers: int = 200,
        faults: Sequence[type[Fault]] = (),
        public: bool = False,
        single: bool = False,
        key: KeyRule | Literal["default"] = "default",
        tag: str | None = None,
    ) -> Declare:
        def declare(function: Callable[..., Any]) -> HTTPRouteHandler:
            rule: KeyRule = ("kept" if writes and not public else None) if key == "default" else key
            if single and rule == "kept":
                raise ValueError(f"{function.__name__}: a kept answer needs a transaction")
            operation = Operation(function.__name__, public, single, rule, tuple(faults))
            handler = HTTPRouteHandler(
                path,
                http_method=method,
                operation_id=function.__name__,
                status_code=answers,
                summary=summary or None,
                description=function.__doc__,
                tags=[tag] if tag else None,
                opt={"operation": operation},
            )
            _mark(function, path)
            return handler(function)

        return declare

    route.__doc__ = f"""Declare a {method} route.

    `answers` is the status of success. `faults` are the refusals it may give, documented in the
    OpenAPI. `public` routes need no token and have no `who`. `single` operations are one statement
    in its implicit transaction. `key` says what an Idempotency-Key does: "kept" (the edge keeps
    the answer; the default for POST and PATCH), "ledger" (the operation sees to it), None.
    """
    return route


get = _declare("GET")
post = _declare("POST")
patch = _declare("PATCH")
delete = _declare("DELETE")


def _mark(function: Callable[..., Any], path: str) -> None:
    """Tell Litestar where each parameter comes from; here it follows from the name alone."""
    kind: Any
    for name, kind in function.__annotations__.items():
        if hasattr(kind, "__metadata__") or name == "return":
            continue
        if name in GIVEN:
            marker: Any = NamedDependency
            kind = Annotated[kind, SkipValidationMarker()]
        elif name == "data":
            marker = JSONBody
        elif f"{{{name}:" in path:
            marker = FromPath
        else:
            marker = FromQuery
        function.__annotations__[name] = marker[kind]


class JsonRequest(Request[Any, Any, Any]):
    """A request whose body is read once, strictly, straight into the route's shape."""

    async def json(self) -> Any:
        field = self.route_handler.parsed_fn_signature.parameters["data"]
        return decode(await self.body(), field.annotation)

    async def body(self) -> bytes:
        # an empty body isn't JSON either; Litestar would take it for a missing argument
        found = await super().body()
        if not found and "data" in self.route_handler.parsed_fn_signature.parameters:
            raise MalformedBody("A JSON body is expected.")
        return found


def create_app(context: Context) -> Asgi:
    """The service's ASGI application."""
    service = context.service
    litestar = Litestar(
        route_handlers=[*service.routes, *health_routes(context), _document_route(service)],
        middleware=[DefineMiddleware(Edge, context=context)],
        dependencies=GIVEN,
        exception_handlers={
            Fault: _refuse,
            HTTPException: _refuse_http,
            AlreadyAnswered: _answer_again,
            ClientGone: _nobody_listens,
            asyncpg.DataError: _refuse_value,
            500: _fail,
        },
        request_class=JsonRequest,
        response_class=Reply,
        request_max_body_size=BODY_MOST,
        openapi_config=None,
        plugins=[NumberSchema()],
        logging_config=None,
    )
    app: Asgi = Entrance(litestar, service.name)
    return service.mount(context, app) if service.mount else app


def openapi_document(service: Service) -> dict[str, Any]:
    """The service's OpenAPI document, made from its routes alone."""
    litestar = Litestar(
        route_handlers=[*service.routes],
        dependencies=GIVEN,
        response_class=Reply,
        openapi_config=openapi_config(service.name),
        plugins=[NumberSchema()],
        logging_config=None,
    )
    return document(litestar, service.name)


def _document_route(service: Service) -> Any:
    made: list[bytes] = []

    @litestar_get(f"/openapi/{service.name}.json", include_in_schema=False, sync_to_thread=True)
    def read_openapi() -> Response[bytes]:
        if not made:
            made.append(encode(openapi_document(service)))
        return Response(made[0], media_type="application/json")

    return read_openapi


class Entrance:
    """Outermost: gives each request its id, counts it and times it."""

    def __init__(self, app: Any, service: str) -> None:
        self.app = app
        self.service = service

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self.app(scope, receive, send)
            return
        given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
        path = scope["path"]
        chosen = start_request(given.decode("latin-1")).encode()
        started = time.perf_counter()
        status = 500

        async def with_request_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", chosen)]
            await send(message)

        try:
            if "//" in path or (path.endswith("/") and path != "/"):
                # Litestar would take it for the path without; the gateway's rules are by path, so
                # each operation has one spelling only
                for part in problem_messages(faults.NotFound()):
                    await with_request_id(part)
                return
            await self.app(scope, receive, with_request_id)
        finally:
            handler: Any = scope.get("route_handler")
            operation = handler.opt.get("operation") if handler is not None else None
            if operation is not None:
                REQUESTS.labels(self.service, operation.name, status).inc()
                taken = time.perf_counter() - started
                REQUEST_SECONDS.labels(self.service, operation.name).observe(taken)


def _given(provider: Callable[..., Any]) -> Provide:
    return Provide(provider, sync_to_thread=False)


def _exchange(request: Request[Any, Any, Any]) -> Exchange:
    exchange: Exchange = request.scope["state"]["exchange"]
    return exchange


def _who(request: Request[Any, Any, Any]) -> Any:
    return _exchange(request).who


def _tx(request: Request[Any, Any, Any]) -> Any:
    return _exchange(request).open_tx()


def _key(request: Request[Any, Any, Any]) -> Any:
    return _exchange(request).key


def _resources(request: Request[Any, Any, Any]) -> Any:
    return _exchange(request).context.resources


def _page(request: Request[Any, Any, Any]) -> Any:
    return read_page(request.scope["path"], request.query_params.multi_items())


def _client(request: Request[Any, Any, Any]) -> Any:
    # the gateway appends the address it saw; what stands before it is the caller's own claim
    forwarded = request.headers.get("x-forwarded-for", "").rpartition(",")[2].strip()
    peer = request.scope["client"]
    address = forwarded or (peer[0] if peer else "")
    return ClientInfo(address[:64], request.headers.get("user-agent", "")[:200])


GIVEN = {
    "who": _given(_who),
    "tx": _given(_tx),
    "key": _given(_key),
    "page": _given(_page),
    "client": _given(_client),
    "resources": _given(_resources),
}


def _problem(fault: Fault) -> Reply[Any]:
    return Reply(
        fault.problem(request_id() or ""),
        status_code=fault.status,
        media_type="application/problem+json",
        headers=fault.headers,
    )


def _refuse(_request: Any, fault: Fault) -> Reply[Any]:
    return _problem(fault)


_BY_STATUS: dict[int, type[Fault]] = {
    400: faults.Malformed,
    401: faults.Unauthenticated,
    403: faults.Forbidden,
    404: faults.NotFound,
    405: faults.MethodNotAllowed,
    413: faults.TooLarge,
}


def _refuse_http(_request: Any, error: HTTPException) -> Reply[Any]:
    """Litestar's own refusals, in our words."""
    if isinstance(error, ValidationException):
        extra = error.extra if isinstance(error.extra, list) else []
        errors = [FieldError("/" + str(e.get("key", "")), str(e.get("message"))) for e in extra]
        return _problem(faults.Invalid(errors=errors))
    kind = _BY_STATUS.get(error.status_code)
    if kind is None and "disconnected" in error.detail:  # Litestar has no class for it
        return _nobody_listens(_request, ClientGone())
    if kind is None:
        return _fail(_request, error)
    return _problem(kind())


def _answer_again(_request: Any, answered: AlreadyAnswered) -> Reply[Any]:
    headers = dict([*answered.headers, REPLAYED])
    return Reply(
        answered.body,
        status_code=answered.status,
        media_type=headers.pop("content-type", "application/json"),
        headers={name: value for name, value in headers.items() if name != "content-length"},
    )


def _nobody_listens(_request: Any, _error: ClientGone) -> Reply[Any]:
    return _problem(faults.Malformed("The request ended before its body did."))


def _refuse_value(request: Request[Any, Any, Any], error: asyncpg.DataError) -> Reply[Any]:
    """What came by the URL and no PostgreSQL type can hold. Anywhere else it is our mistake."""
    if isinstance(error, asyncpg.CharacterNotInRepertoireError):
        return _problem(faults.Invalid("Text must not contain a NUL character."))
    if "cursor" in request.query_params:
        return _problem(BadCursor())
    return _fail(request, error)


def _fail(_request: Any, error: Exception) -> Reply[Any]:
    log.error("request.failed", exc_info=error)
    return _problem(faults.Internal())
