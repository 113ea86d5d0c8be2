"""The gateway process's own HTTP: the API reference and the description of events."""

from restock.gateway import pages, reference
from restock.gateway.readiness import Services
from restock.kernel.faults import NotFound
from restock.kernel.reply import Reply
from restock.kernel.web import get

FRESH = {"Cache-Control": "no-cache"}
KEPT = {"Cache-Control": "public, max-age=3600"}
JSON = "application/json"


@get("/openapi.json", public=True, summary="The OpenAPI document of all services")
async def read_openapi(resources: Services) -> Reply[bytes]:
    """Merged from the documents of the services that answer."""
    found = await reference.current(resources)
    return Reply(found.newer, media_type=JSON, headers=FRESH)


@get("/docs", public=True, summary="The API reference, for people")
async def read_reference() -> Reply[str]:
    """A page that reads the OpenAPI document of all services."""
    headers = {"Content-Security-Policy": pages.POLICY} | FRESH
    return Reply(pages.REFERENCE_PAGE, media_type=pages.HTML, headers=headers)


@get("/docs/openapi-3.0.json", public=True, summary="The same document in OpenAPI 3.0")
async def read_openapi_3_0(resources: Services) -> Reply[bytes]:
    """What the reference page reads."""
    found = await reference.current(resources)
    return Reply(found.older, media_type=JSON, headers=FRESH)


@get(
    "/docs/{name:str}",
    public=True,
    faults=(NotFound,),
    summary="A file of the API reference",
)
async def read_reference_file(name: str) -> Reply[bytes]:
    """Scripts, styles and the icon."""
    found = pages.static_file(name)
    if found is None:
        raise NotFound()
    content, kind = found
    return Reply(content, media_type=kind, headers=KEPT)


@get("/events.html", public=True, summary="Events and socket messages, for people")
async def read_events() -> Reply[str]:
    """What services tell each other, and what sockets hear."""
    headers = {"Content-Security-Policy": pages.POLICY} | FRESH
    return Reply(pages.events_page(), media_type=pages.HTML, headers=headers)


ROUTES = (
    read_openapi,
    read_reference,
    read_openapi_3_0,
    read_reference_file,
    read_events,
)
