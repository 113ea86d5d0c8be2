"""The table says what is public; nothing else is reachable."""

import pytest

from restock.gateway.routes_table import ROUTES, Entry, Route
from restock.kernel.web import openapi_document
from restock.system import load
from tests.gateway.stubs import Front

BELONGS = {
    "/api/auth/verify": "auth",
    "/api/inventory/items": "inventory",
    "/api/inventory/movements:batch": "inventory",
    "/api/vendors": "vendor",
    "/api/vendors/requests": "vendor",
    "/api/notifications": "notification",
    "/api/notifications/unread-count": "notification",
}
PUBLIC = {
    "/api/auth/login": "auth",
    "/api/auth/register": "auth",
    "/api/auth/refresh": "auth",
    "/health": "gateway",
    "/docs": "gateway",
    "/docs/swagger-ui.css": "gateway",
    "/openapi.json": "gateway",
    "/events.html": "gateway",
}


def test_nothing_is_public_by_accident() -> None:
    public = {route.path for route in ROUTES if route.entry is Entry.PUBLIC}
    assert public == {
        *("/api/auth/login", "/api/auth/register", "/api/auth/refresh"),
        "/.well-known/jwks.json",
        *("/health", "/docs", "/openapi.json", "/events.html"),
    }
    assert [route.path for route in ROUTES if route.entry is Entry.SOCKET] == ["/socket.io"]


@pytest.mark.parametrize("service", ["auth", "inventory", "notification", "vendor"])
def test_every_operation_of_a_service_is_reached_as_it_says_itself(service: str) -> None:
    """Public there is public here, and what asks for a token there asks for one here."""
    document = openapi_document(load(service))
    operations = [
        (path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in ("get", "post", "patch", "delete")
    ]
    assert operations
    for path, operation in operations:
        route = next(route for route in ROUTES if _fits(route, path))
        assert route.service.value == service, path
        assert (route.entry is Entry.PUBLIC) == (operation["security"] == []), path


def _fits(route: Route, path: str) -> bool:
    return path == route.path or (route.tree and path.startswith(f"{route.path}/"))


@pytest.mark.parametrize(("path", "service"), BELONGS.items())
async def test_a_path_reaches_its_service(edge: Front, path: str, service: str) -> None:
    async with edge.request("GET", path, headers=edge.bearer()) as answer:
        assert (await answer.json())["service"] == service
    assert [seen.path for seen in edge.services[service].seen] == [path]


@pytest.mark.parametrize("path", BELONGS)
async def test_it_needs_a_token(edge: Front, path: str) -> None:
    async with edge.request("GET", path) as answer:
        assert answer.status == 401
    assert all(not stub.seen for stub in edge.services.values())


@pytest.mark.parametrize(("path", "service"), PUBLIC.items())
async def test_a_public_path_needs_none(edge: Front, path: str, service: str) -> None:
    async with edge.request("POST", path) as answer:
        assert (await answer.json())["service"] == service


async def test_a_bad_token_does_not_close_a_public_path(edge: Front) -> None:
    """A client whose token has just ended must be able to refresh it."""
    ended = edge.bearer(exp=1)
    async with edge.request("POST", "/api/auth/refresh", headers=ended) as answer:
        assert answer.status == 200


async def test_the_keys_are_public(edge: Front) -> None:
    async with edge.request("GET", "/.well-known/jwks.json") as answer:
        assert await answer.json() == edge.signer.jwks


@pytest.mark.parametrize(
    "path",
    [
        *("/", "/metrics", "/openapi/inventory.json", "/openapi/auth.json", "/api", "/api/"),
        *("/api/inventoryx", "/socket.iox", "/healthx", "/health/", "/ready", "/stats"),
        *("/api/auth/login/", "/api/auth/", "/api/auth/verify/", "/api/inventory/items/?limit=1"),
        *("/docs/", "/api/vendors/x/", "/.well-known/jwks.json/"),
        *("/.well-known", "/.well-known/jwks.json/x", "/API/inventory/items", "/internal"),
    ],
)
async def test_anything_else_is_not_there(edge: Front, path: str) -> None:
    async with edge.request("GET", path, headers=edge.bearer()) as answer:
        assert answer.status == 404
        assert (await answer.json())["code"] == "gateway.route_not_found"
    assert all(not stub.seen for stub in (*edge.services.values(), *edge.workers))
