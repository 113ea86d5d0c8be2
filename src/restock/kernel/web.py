"""HTTP: how routes are declared, and the application made of them (decision 0012).

    @post("/api/inventory/items", answers=201, faults=(SkuTaken,))
    async def create_item(who: Principal, tx: Tx, data: NewItem) -> Item: ...

The function's name is the OpenAPI operationId, the key of the access matrix and the metric label.
Its arguments are given by name, see `parameters`.
"""

import asyncio
import time
from functools import cache
from typing import Any

from restock.kernel.edge import Exchange, messages, problem
from restock.kernel.faults import Fault, MethodNotAllowed
from restock.kernel.health import health_routes
from restock.kernel.openapi import document
from restock.kernel.parameters import ClientInfo, Header
from restock.kernel.reply import Answer, Reply
from restock.kernel.routing import Route, Router, delete, get, patch, post
from restock.kernel.service import Asgi, Context, Service
from restock.kernel.telemetry import OperationMetrics, start_request
from restock.kernel.wire import encode

__all__ = [
    "ClientInfo",
    "Header",
    "Reply",
    "create_app",
    "delete",
    "get",
    "openapi_document",
    "patch",
    "post",
]


def create_app(context: Context) -> Asgi:
    """The service's ASGI application."""
    service = context.service
    app: Asgi = Application(context)
    return service.mount(context, app) if service.mount else app


def openapi_document(service: Service) -> dict[str, Any]:
    """The service's OpenAPI document, made from its routes alone."""
    return document(service.name, service.routes)


class Application:
    """Finds the route of each request, gives it its id, counts it and times it."""

    def __init__(self, context: Context) -> None:
        service = context.service
        routes = [*service.routes, *health_routes(context), _document_route(service)]
        self._context = context
        self._router = Router(routes)
        self._metrics = {
            route.name: OperationMetrics(service.name, route.name)
            for route in routes
            if not route.hidden
        }

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            await send({"type": "websocket.close", "code": 1000})
            return
        pairs = scope["headers"]
        headers = dict(pairs)
        if len(headers) != len(pairs):
            headers = dict(reversed(pairs))  # of headers that came twice the first counts
        began = time.perf_counter()
        request_id = start_request(headers.get(b"x-request-id", b"").decode("latin-1")).encode()
        try:
            route, places = self._router.find(scope["method"], scope["path"])
        except Fault as fault:
            await _send(send, _nowhere(scope["method"], fault), request_id)
            return
        status = 500
        try:
            exchange = Exchange(self._context, route, places, scope, headers)
            answer = await exchange.answer(receive)
            status = answer.status
            await _send(send, answer, request_id)
        finally:
            metrics = self._metrics.get(route.name)
            if metrics is not None:
                metrics.record(status, time.perf_counter() - began)


def _nowhere(method: str, fault: Fault) -> Answer:
    if method == "OPTIONS" and isinstance(fault, MethodNotAllowed):
        return Answer(204, [(b"allow", fault.headers["Allow"].encode())], b"")
    return problem(fault)


async def _send(send: Any, answer: Answer, request_id: bytes) -> None:
    answer.headers.append((b"x-request-id", request_id))
    for message in messages(answer):
        await send(message)


def _document_route(service: Service) -> Route:
    made = cache(lambda: encode(openapi_document(service)))

    @get(f"/openapi/{service.name}.json", public=True, hidden=True)
    async def read_openapi() -> Reply[bytes]:
        return Reply(await asyncio.to_thread(made))

    return read_openapi
