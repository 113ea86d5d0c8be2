"""The pages people read: the API reference and the events, both without anything from elsewhere."""

from functools import cache
from html import escape
from pathlib import Path

import msgspec
from swagger_ui_bundle import swagger_ui_path

from restock.events import Event, auth, inventory, vendor

# Scripts and styles are files of ours: nothing inline, nothing from another host. Swagger UI's
# style sheet has its icons as data: images.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)
HTML = "text/html"

_KINDS = {
    ".css": "text/css",
    ".js": "text/javascript",
    ".png": "image/png",
}
_BUNDLED = ("swagger-ui.css", "swagger-ui-bundle.js", "favicon-32x32.png")

REFERENCE_PAGE = """\
<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Restock API</title>
<link rel="icon" href="/docs/favicon-32x32.png">
<link rel="stylesheet" href="/docs/swagger-ui.css">
<link rel="stylesheet" href="/docs/restock.css">
<main id="reference"><p>The reference needs JavaScript; the document is
<a href="/openapi.json">/openapi.json</a>.</p></main>
<script src="/docs/swagger-ui-bundle.js"></script>
<script src="/docs/restock.js"></script>
</html>
"""

_OWN = {
    "restock.js": """\
window.ui = SwaggerUIBundle({
  url: "/docs/openapi-3.0.json",
  dom_id: "#reference",
  deepLinking: true,
  filter: true,
  persistAuthorization: false,
  displayRequestDuration: true,
  defaultModelsExpandDepth: 0,
  validatorUrl: null,
  tagsSorter: "alpha",
});
""",
    "restock.css": """\
body { margin: 0; font-family: sans-serif; }
main.events { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; line-height: 1.5; }
main.events table { border-collapse: collapse; width: 100%; margin: 0.5rem 0 1.5rem; }
main.events th, main.events td {
  border-bottom: 1px solid #ccc; padding: 0.3rem 0.6rem; text-align: left; vertical-align: top;
}
main.events code { font-size: 0.95em; }
main.events h3 { margin: 1.8rem 0 0.3rem; }
""",
}

# What travels on sockets belongs to notification; here it is in words.
_SOCKET_MESSAGES = (
    ("new_notification", "to clients", "A stored notification, as GET /api/notifications has it."),
    ("vendor_contact_request", "to clients", "A request to a vendor, heard by its people."),
    ("sync", "to clients", "Right after each CONNECT: the feed's head and how much is unread."),
    ("unread_count", "to clients", "How many notifications are unread, whenever that changes."),
    ("auth_expiring", "to clients", "60 s before the token's end: renew it, or be closed."),
    ("authenticate", "from clients", "A fresh token of the same account; acknowledged."),
    ("subscribe", "from clients", "Asks whether this socket hears an account's feed."),
)

_INTRODUCTION = """\
<h1>Events</h1>
<p>What services tell each other, and what sockets hear. HTTP is in <a href="/docs">/docs</a>.</p>
<h2>Between services</h2>
<p>CloudEvents 1.0 JSON on NATS JetStream; the subject is the event's <code>type</code>, the
<code>Nats-Msg-Id</code> its <code>id</code>. At least once and in no promised order: compare
<code>seq</code>. Fields are only ever added.</p>
"""
_SOCKETS = """\
<h2>On sockets</h2>
<p>Socket.IO v4 at <code>/socket.io</code>, namespace <code>/</code>, websocket and polling.
Connect with <code>{auth: {token}}</code>; reconnecting resumes without loss.</p>
"""


def static_file(name: str) -> tuple[bytes, str] | None:
    """A file of the reference page and its media type; None for any other name."""
    if name in _OWN:
        return _OWN[name].encode(), _KINDS[Path(name).suffix]
    if name in _BUNDLED:
        return _bundled(name), _KINDS[Path(name).suffix]
    return None


@cache
def events_page() -> str:
    """Every event of every owner with its fields, and the messages on sockets."""
    sections = [_INTRODUCTION]
    for owner in (auth, inventory, vendor):
        sections += [_section(kind) for kind in _events_of(owner.__name__)]
    rows = "".join(
        f"<tr><td><code>{name}</code></td><td>{way}</td><td>{escape(what)}</td></tr>"
        for name, way, what in _SOCKET_MESSAGES
    )
    sections += [_SOCKETS, f"<table><tr><th>message<th>goes<th>what it is</tr>{rows}</table>"]
    return (
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Restock events</title>'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<link rel="stylesheet" href="/docs/restock.css">'
        f'<main class="events">{"".join(sections)}</main></html>'
    )


def _events_of(module: str) -> list[type[Event]]:
    """The events declared in a module: those with a subject, in the order they stand there."""
    found = []
    waiting: list[type[Event]] = [Event]
    while waiting:
        kind = waiting.pop(0)
        waiting += kind.__subclasses__()
        if kind.__module__ == module and "subject" in kind.__dict__:
            found.append(kind)
    return sorted(found, key=lambda kind: kind.subject)


def _section(kind: type[Event]) -> str:
    about = escape(" ".join((kind.__doc__ or "").split()))
    rows = "".join(
        f"<tr><td><code>{field.encode_name}</code></td><td>{escape(_type_name(field.type))}</td>"
        f"<td>{'' if field.required else 'optional'}</td></tr>"
        for field in _fields(kind)
    )
    subject = kind.subject
    return (
        f'<h3 id="{subject}"><code>{subject}</code></h3><p>{about}</p>'
        f"<table><tr><th>field<th>type<th></tr>{rows}</table>"
    )


def _fields(kind: type) -> tuple[msgspec.inspect.Field, ...]:
    described = msgspec.inspect.type_info(kind)
    assert isinstance(described, msgspec.inspect.StructType)  # noqa: S101 (events are structs)
    return described.fields


def _type_name(kind: msgspec.inspect.Type) -> str:
    if isinstance(kind, msgspec.inspect.UnionType):
        return " or ".join(_type_name(part) for part in kind.types)
    if isinstance(kind, msgspec.inspect.ListType):
        return f"list of {_type_name(kind.item_type)}"
    if isinstance(kind, msgspec.inspect.StructType):
        parts = (f"{field.encode_name}: {_type_name(field.type)}" for field in kind.fields)
        return "{" + ", ".join(parts) + "}"
    names = {
        "UUIDType": "UUID",
        "StrType": "text",
        "DecimalType": "number",
        "IntType": "integer",
        "BoolType": "true or false",
        "DateTimeType": "date and time (RFC 3339)",
        "NoneType": "null",
    }
    return names.get(type(kind).__name__, type(kind).__name__.removesuffix("Type").lower())


@cache
def _bundled(name: str) -> bytes:
    return Path(str(swagger_ui_path)).joinpath(name).read_bytes()
