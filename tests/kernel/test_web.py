"""Routes: found by path and method, their arguments read, their answers written."""

from collections.abc import AsyncIterator
from typing import Annotated, Any
from uuid import UUID

import pytest
import pytest_asyncio
from msgspec import Raw

from restock.kernel.faults import Conflict, MethodNotAllowed, NotFound
from restock.kernel.reply import Reply
from restock.kernel.routing import Router
from restock.kernel.service import Service
from restock.kernel.web import ClientInfo, Header, delete, get, openapi_document, patch, post
from restock.kernel.wire import Answer, Wire
from tests.fixtures.running import RunningService, running_service
from tests.fixtures.tokens import token_for


class Asked(Answer):
    text: str | None
    flag: bool | None
    number: int
    thing: UUID | None


class Part(Wire):
    name: str


@get("/asked", public=True, summary="What was asked")
async def read_asked(
    number: int, text: str | None = None, flag: bool | None = None, thing: UUID | None = None
) -> Asked:
    return Asked(text=text, flag=flag, number=number, thing=thing)


@get("/things/{thing_id:uuid}", public=True)
async def get_thing(thing_id: UUID) -> dict[str, UUID]:
    return {"thing": thing_id}


@delete("/things/{thing_id:uuid}", public=True, answers=204)
async def delete_thing(thing_id: UUID) -> None: ...


@get("/things/none", public=True)
async def get_none() -> list[int]:
    return []


@get("/names/{name:str}/of/{thing_id:uuid}", public=True)
async def get_name(thing_id: UUID, name: str) -> Reply[dict[str, Any]]:
    return Reply({"name": name, "thing": thing_id}, status=202, headers={"X-Name": "given"})


@get("/tag", public=True)
async def read_tag(tag: Annotated[str | None, Header("If-Match", "A tag.")]) -> dict[str, Any]:
    return {"tag": tag}


@patch("/tag", public=True, tagged=True)
async def change_tag(tag: Annotated[str, Header("If-Match", unless=Conflict)], data: Part) -> Part:
    return Part(name=tag)


@get("/raw", public=True)
async def read_raw() -> Reply[Part]:
    return Reply(Raw(b'{"name": "1.50"}'))


@get("/raws", public=True)
async def list_raw() -> Reply[list[Part]]:
    return Reply([Raw(b'{"name":1.50}'), Raw(b"2.0")])


@get("/page", public=True)
async def read_page() -> Reply[str]:
    return Reply("ä", media_type="text/html")


@post("/client", public=True)
async def read_client(client: ClientInfo, data: Part) -> dict[str, str]:
    return {"address": client.address, "agent": client.user_agent, "name": data.name}


@get("/mine")
async def read_mine(who: Any) -> dict[str, str]:
    return {"role": who.role}


ROUTES = (
    read_asked,
    get_thing,
    delete_thing,
    get_none,
    get_name,
    read_tag,
    change_tag,
    read_raw,
    list_raw,
    read_page,
    read_client,
    read_mine,
)
SERVICE = Service(
    name="inventory", port=3101, package="tests.kernel", routes=ROUTES, database=False
)
THING = UUID("01a20941-1828-76a9-aec3-d2ca76be2b44")


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def parts() -> AsyncIterator[RunningService]:
    no_postgres: Any = None
    async with running_service(SERVICE, no_postgres) as running:
        yield running


@pytest.mark.parametrize(
    ("query", "read"),
    [
        ("number=1", {}),
        ("number=7&number=1", {}),
        ("number=1&unknown=2", {}),
        ("number=1&text=", {"text": ""}),
        ("number=1&text=a+b%26c%C3%A4", {"text": "a b&cä"}),
        ("number=1&text=1", {"text": "1"}),
        ("number=1&text=null", {"text": "null"}),
        ("number=1&flag=true", {"flag": True}),
        ("number=1&flag=FALSE", {"flag": False}),
        ("number=1&flag=0", {"flag": False}),
        (f"number=1&thing={THING}", {"thing": str(THING)}),
    ],
)
async def test_a_query_is_read_as_its_kinds(
    parts: RunningService, query: str, read: dict[str, Any]
) -> None:
    answer = await parts.ask("GET", f"/asked?{query}")
    nothing = {"text": None, "flag": None, "thing": None}
    assert (answer.status, answer.json) == (200, nothing | {"number": 1} | read)


@pytest.mark.parametrize(
    ("query", "pointers"),
    [
        ("", ["/number"]),
        ("number=", ["/number"]),
        ("number=+1", ["/number"]),
        ("number=1_0", ["/number"]),
        ("number=1.5", ["/number"]),
        ("number=" + "9" * 5000, ["/number"]),
        ("number=1&flag=", ["/flag"]),
        ("number=1&flag=yes", ["/flag"]),
        ("number=1&flag=null", ["/flag"]),
        ("number=1&thing=null", ["/thing"]),
        ("number=1&thing=x", ["/thing"]),
        ("flag=perhaps&thing=x&text=a", ["/number", "/flag", "/thing"]),
    ],
)
async def test_what_is_not_of_its_kind_is_refused_by_name(
    parts: RunningService, query: str, pointers: list[str]
) -> None:
    answer = await parts.ask("GET", f"/asked?{query}")
    assert (answer.status, answer.json["code"]) == (422, "request.invalid")
    assert [error["pointer"] for error in answer.json["errors"]] == pointers


@pytest.mark.parametrize("form", [str(THING), str(THING).upper(), THING.hex])
async def test_an_id_may_stand_in_the_path(parts: RunningService, form: str) -> None:
    answer = await parts.ask("GET", f"/things/{form}")
    assert (answer.status, answer.json) == (200, {"thing": str(THING)})


async def test_several_places_are_given_by_name(parts: RunningService) -> None:
    answer = await parts.ask("GET", f"/names/a%20b/of/{THING}")
    assert (answer.status, answer.json) == (202, {"name": "a b", "thing": str(THING)})
    assert answer.headers["X-Name"] == "given"


async def test_a_fixed_path_comes_first(parts: RunningService) -> None:
    assert (await parts.ask("GET", "/things/none")).json == []


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/things",
        "/things/",
        "/things/x",
        f"/things/{{{THING}}}",
        f"/things/urn:uuid:{THING}",
        f"/things/{THING}/",
        f"/things//{THING}",
        f"//things/{THING}",
        "/things/" + "-" * 32,
        f"/names/a/b/of/{THING}",
        f"/names/a%2Fb/of/{THING}",
        "/Page",
    ],
)
async def test_each_operation_has_one_path(parts: RunningService, path: str) -> None:
    answer = await parts.ask("GET", path)
    assert (answer.status, answer.json["code"]) == (404, "request.not_found")
    assert answer.json["requestId"] == answer.headers["X-Request-Id"]


@pytest.mark.parametrize("method", ["HEAD", "PUT", "POST", "PATCH", "TRACE", "PROPFIND"])
async def test_another_method_is_refused_with_those_there_are(
    parts: RunningService, method: str
) -> None:
    answer = await parts.ask(method, f"/things/{THING}")
    assert (answer.status, answer.headers["Allow"]) == (405, "DELETE, GET, OPTIONS")
    assert method == "HEAD" or answer.json["code"] == "request.method_not_allowed"


async def test_options_says_what_is_offered(parts: RunningService) -> None:
    answer = await parts.ask("OPTIONS", f"/things/{THING}")
    assert (answer.status, answer.body) == (204, b"")
    assert answer.headers["Allow"] == "DELETE, GET, OPTIONS"
    assert (await parts.ask("OPTIONS", "/things/x")).status == 404


async def test_nothing_to_say_has_no_body(parts: RunningService) -> None:
    answer = await parts.ask("DELETE", f"/things/{THING}")
    assert (answer.status, answer.body) == (204, b"")
    assert "Content-Length" not in answer.headers
    assert "Content-Type" not in answer.headers
    assert UUID(answer.headers["X-Request-Id"])


@pytest.mark.parametrize("sent", [None, "", '"1"', "*"])
async def test_a_header_is_an_argument(parts: RunningService, sent: str | None) -> None:
    headers = {} if sent is None else {"If-Match": sent}
    assert (await parts.ask("GET", "/tag", headers=headers)).json == {"tag": sent}


async def test_a_header_that_is_needed_has_a_refusal_of_its_own(parts: RunningService) -> None:
    body = {"name": "a"}
    answer = await parts.ask("PATCH", "/tag", json=body, headers={"If-Match": "x"})
    assert (answer.status, answer.json) == (200, {"name": "x"})
    assert (await parts.ask("PATCH", "/tag", json=body)).json["code"] == "request.conflict"


async def test_json_that_is_there_already_is_written_as_it_is(parts: RunningService) -> None:
    one = await parts.ask("GET", "/raw")
    assert (one.body, one.headers["Content-Type"]) == (b'{"name": "1.50"}', "application/json")
    assert (await parts.ask("GET", "/raws")).body == b'[{"name":1.50},2.0]'


async def test_text_of_another_kind_says_its_encoding(parts: RunningService) -> None:
    page = await parts.ask("GET", "/page")
    assert page.body.decode() == "ä"
    assert page.headers["Content-Type"] == "text/html; charset=utf-8"


async def test_the_client_is_the_address_the_gateway_saw(parts: RunningService) -> None:
    claimed = {"X-Forwarded-For": "6.6.6.6, 1.2.3.4", "User-Agent": "x" * 300}
    answer = await parts.ask("POST", "/client", json={"name": "a"}, headers=claimed)
    assert answer.json == {"address": "1.2.3.4", "agent": "x" * 200, "name": "a"}
    assert (await parts.ask("POST", "/client", json={"name": "a"})).json["address"] == "127.0.0.1"


async def test_a_second_authorization_is_refused(parts: RunningService) -> None:
    token = token_for()
    assert (await parts.ask("GET", "/mine", token=token)).json == {"role": "user"}
    two: Any = [("Authorization", f"Bearer {token}")] * 2
    async with parts._session.get(parts.url + "/mine", headers=two) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        (str(THING), str(THING)),
        (THING.hex.upper(), str(THING)),
        ("00000000-0000-0000-0000-000000000000", None),
        ("nonsense", None),
        ("", None),
    ],
)
async def test_a_request_has_an_id(parts: RunningService, given: str, kept: str | None) -> None:
    answer = await parts.ask("GET", "/things/none", headers={"X-Request-Id": given})
    found = answer.headers["X-Request-Id"]
    assert str(UUID(found)) == found
    assert (found == kept) if kept else found != given


async def test_requests_are_counted_by_operation_and_status(parts: RunningService) -> None:
    await parts.ask("GET", "/names/a/of/" + str(THING))
    await parts.ask("GET", "/mine")
    await parts.ask("GET", "/nothing")
    exposed = (await parts.ask("GET", "/metrics")).body.decode()
    counted = 'restock_http_requests_total{operation="%s",service="inventory",status="%d"}'
    assert counted % ("get_name", 202) in exposed
    assert counted % ("read_mine", 401) in exposed
    assert 'restock_http_request_seconds_bucket{le="10.0",operation="get_name"' in exposed
    assert "read_metrics" not in exposed


async def test_a_websocket_is_refused(parts: RunningService) -> None:
    asking = {
        "Connection": "Upgrade",
        "Upgrade": "websocket",
        "Sec-WebSocket-Version": "13",
        "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
    }
    assert (await parts.ask("GET", "/things/none", headers=asking)).status == 403


def test_routes_do_not_hide_each_other() -> None:
    with pytest.raises(ValueError, match="declared twice"):
        Router([get_none, get("/things/none")(get_none.function)])
    router = Router([get_thing, get_name])
    assert router.find("GET", f"/things/{THING}") == (get_thing, [THING])
    assert router.find("GET", f"/names/a/of/{THING}") == (get_name, ["a", THING])
    with pytest.raises(NotFound):
        router.find("GET", "/things/none")
    with pytest.raises(MethodNotAllowed):
        router.find("POST", f"/things/{THING}")
    with pytest.raises(NotFound):
        Router([]).find("GET", "/")


def test_a_declaration_that_can_not_work_is_refused() -> None:
    async def function(number) -> None: ...  # type: ignore[no-untyped-def]

    with pytest.raises(TypeError, match="of what kind"):
        get("/")(function)
    with pytest.raises(ValueError, match="needs a transaction"):
        patch("/", single=True)(get_none.function)
    with pytest.raises(KeyError):
        get("/{thing_id:thing}")(get_thing.function)


def test_the_document_says_what_the_routes_take() -> None:
    paths = openapi_document(SERVICE)["paths"]
    assert list(paths["/things/{thing_id}"]) == ["get", "delete"]
    asked = {found["name"]: found for found in paths["/asked"]["get"]["parameters"]}
    assert {name: (found["in"], found["required"]) for name, found in asked.items()} == {
        "number": ("query", True),
        "text": ("query", False),
        "flag": ("query", False),
        "thing": ("query", False),
    }
    assert asked["flag"]["schema"] == {"type": "boolean"}
    assert paths["/tag"]["get"]["parameters"] == [
        {
            "name": "If-Match",
            "in": "header",
            "required": False,
            "description": "A tag.",
            "schema": {"type": "string"},
        }
    ]
    changed = paths["/tag"]["patch"]
    assert changed["parameters"][0]["required"]
    assert set(changed["responses"]["200"]["headers"]) == {"X-Request-Id", "ETag"}
    assert set(changed["responses"]["503"]["headers"]) == {"X-Request-Id", "Retry-After"}
    assert set(paths["/mine"]["get"]["responses"]["401"]["headers"]) == {
        "X-Request-Id",
        "WWW-Authenticate",
    }
    raws = paths["/raws"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    assert raws == {"type": "array", "items": {"$ref": "#/components/schemas/Part"}}
    assert "/metrics" not in paths
