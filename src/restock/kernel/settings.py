"""Settings come from the environment, into one typed class per service.

The field `password_queue` of auth is `RESTOCK_AUTH_PASSWORD_QUEUE`; fields of the whole
system name their variable themselves. No secret has a default. This is the one place that reads
the environment.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, get_type_hints

import msgspec
from msgspec import Meta


class SettingsError(Exception):
    """A setting is missing or not acceptable. The message names the variable."""


def shared(variable: str, *, secret: bool = False) -> dict[str, Any]:
    """`Meta.extra` of a field that belongs to the whole system, not to one service."""
    return {"variable": variable, "secret": secret}


SECRET: dict[str, Any] = {"secret": True}
TOKEN_MINUTES_MOST = 60
LAST_PORT = 3110  # of the defaults: every other of them stays a port where this one does

# An unescaped character of a password ends what is before it, and drivers then repeat the rest as
# a port or a host that they don't find. So nothing after a URL's server may hold an @.
_DATABASE_URL = r"^(postgres(ql)?://[^/?#@]*(@[^/?#@]*)?([/?][^@]*)?)?$"
_SERVER = r"((nats|tls|ws|wss)://)?[^/?#@,\s]+(@[^/?#@,\s]+)?/?"
_NATS_URL = rf"^({_SERVER}(\s*,\s*{_SERVER})*)?$"
_ESCAPED = "in whose password / ? # @ , are written %2F %3F %23 %40 %2C"
_A_DATABASE = f"must be a URL, postgresql://USER:PASSWORD@HOST/DATABASE, {_ESCAPED}"
_A_NATS = f"must be a URL, nats://HOST:PORT, or several with commas, {_ESCAPED}"
_AN_OFFSET = f"must be a whole number from 0 to {65535 - LAST_PORT}, so that every port is one"


class ServiceSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What every service is told."""

    host: Annotated[str, Meta(description="Address the service listens on.")] = "127.0.0.1"
    port: Annotated[
        int, Meta(ge=0, le=65535, description="Port; 0 is the service's own, plus the offset.")
    ] = 0
    workers: Annotated[int, Meta(ge=1, le=64, description="Worker processes.")] = 1
    database_url: Annotated[
        str,
        Meta(
            pattern=_DATABASE_URL,
            description="PostgreSQL of the service, as its own role.",
            extra=SECRET | {"wanted": _A_DATABASE},
        ),
    ] = ""
    migrate_url: Annotated[
        str,
        Meta(
            pattern=_DATABASE_URL,
            description="The same database, as the owner of its tables.",
            extra=SECRET | {"wanted": _A_DATABASE},
        ),
    ] = ""
    pool_size: Annotated[
        int, Meta(ge=1, le=200, description="Database connections of one worker, at most.")
    ] = 6
    nats_user: Annotated[str, Meta(description="The service's NATS user.")] = ""
    nats_password: Annotated[str, Meta(description="Its password.", extra=SECRET)] = ""

    nats_url: Annotated[
        str,
        Meta(
            pattern=_NATS_URL,
            description="NATS server.",
            extra=shared("RESTOCK_NATS_URL", secret=True) | {"wanted": _A_NATS},
        ),
    ] = ""
    jwks_url: Annotated[
        str,
        Meta(
            description="Where the public keys of access tokens are read.",
            extra=shared("RESTOCK_JWKS_URL"),
        ),
    ] = ""
    issuer: Annotated[
        str, Meta(description="The `iss` of access tokens.", extra=shared("RESTOCK_ISSUER"))
    ] = "restock"
    audience: Annotated[
        str, Meta(description="The `aud` of access tokens.", extra=shared("RESTOCK_AUDIENCE"))
    ] = "restock"
    token_minutes: Annotated[
        int,
        Meta(
            ge=1,
            le=TOKEN_MINUTES_MOST,
            description="Life of an access token, in minutes.",
            extra=shared("RESTOCK_TOKEN_MINUTES"),
        ),
    ] = 15
    port_offset: Annotated[
        int,
        Meta(
            ge=0,
            le=65535 - LAST_PORT,
            description="Added to every port.",
            extra=shared("RESTOCK_PORT_OFFSET") | {"wanted": _AN_OFFSET},
        ),
    ] = 0
    log_level: Annotated[
        Literal["debug", "info", "warning", "error"],
        Meta(description="The least severe log line written.", extra=shared("RESTOCK_LOG_LEVEL")),
    ] = "info"
    log_format: Annotated[
        Literal["json", "text"],
        Meta(description="Log lines for machines or people.", extra=shared("RESTOCK_LOG_FORMAT")),
    ] = "json"
    worker: Annotated[
        int,
        Meta(ge=0, description="This worker's number, from 0.", extra=shared("RESTOCK_WORKER")),
    ] = 0
    listen_fd: Annotated[
        int,
        Meta(
            ge=-1,
            description="A listening socket handed over by a parent; -1 is none.",
            extra=shared("RESTOCK_LISTEN_FD"),
        ),
    ] = -1


class Setting(msgspec.Struct, frozen=True):
    """One setting as `restock check` shows it."""

    variable: str
    value: str
    description: str
    is_set: bool


S = TypeVar("S", bound=ServiceSettings)


def environment() -> dict[str, str]:
    """A copy of the process's environment, for those who start other processes."""
    return dict(os.environ)


def load(kind: type[S], service: str, environ: Mapping[str, str] | None = None) -> S:
    """Read a service's settings.

    Raises SettingsError naming every variable that isn't acceptable.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    problems = []
    for name, variable, annotation, meta in _fields(kind, service):
        text = environ.get(variable)
        if text is None or text == "":
            continue
        try:
            values[name] = _read(annotation, meta.extra or {}, text)
        except ValueError as error:
            problems.append(f"{variable}: {error}")
    if problems:
        raise SettingsError("; ".join(problems))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise SettingsError(f"settings of {service}: {error}") from error


def describe(settings: ServiceSettings, service: str) -> list[Setting]:
    """Every setting with its value, secrets hidden."""
    shown = []
    for name, variable, _annotation, meta in _fields(type(settings), service):
        value = getattr(settings, name)
        if (meta.extra or {}).get("secret"):
            text = "(hidden)" if value else "(not set)"
        else:
            text = ",".join(value) if isinstance(value, list | tuple) else str(value)
        default = _default(type(settings), name)
        shown.append(Setting(variable, text, meta.description or "", value != default))
    return shown


def _read(annotation: Any, extra: Mapping[str, Any], text: str) -> Any:
    """The value that is meant. Raises ValueError, saying what would be right.

    `extra["wanted"]` says it where the type's own words don't; `extra["judge"]` takes the value
    and raises ValueError for what a type can't tell.
    """
    kind = msgspec.inspect.type_info(annotation)
    if isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    given: Any = text
    wanted = extra.get("wanted")
    if isinstance(kind, msgspec.inspect.ListType | msgspec.inspect.VarTupleType):
        given = [part.strip() for part in text.split(",") if part.strip()]
    elif isinstance(kind, msgspec.inspect.LiteralType):
        given = text.strip().lower()
        wanted = f"must be one of {', '.join(map(str, kind.values))}"
    try:
        value = msgspec.convert(given, annotation, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(wanted or str(error)) from error
    if judge := extra.get("judge"):
        judge(value)
    return value


def _fields(kind: type, service: str) -> Iterator[tuple[str, str, Any, Meta]]:
    hints = get_type_hints(kind, include_extras=True)
    for name in kind.__struct_fields__:  # type: ignore[attr-defined]
        annotation = hints[name]
        metas = [m for m in getattr(annotation, "__metadata__", ()) if isinstance(m, Meta)]
        meta = next((m for m in metas if m.description), Meta(description=""))
        own = f"RESTOCK_{service.upper()}_{name.upper()}"
        yield name, (meta.extra or {}).get("variable", own), annotation, meta


def _default(kind: type, name: str) -> Any:
    field = next(field for field in msgspec.structs.fields(kind) if field.name == name)
    if field.default_factory is not msgspec.NODEFAULT:
        return field.default_factory()
    return None if field.default is msgspec.NODEFAULT else field.default
