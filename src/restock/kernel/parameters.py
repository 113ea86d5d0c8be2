"""Where the arguments of a route come from: worked out once, when the route is declared.

By name: what the edge knows (`who`, `tx`, `key`, …) and `data`, the decoded body. Of the others
those in the path's braces are parts of it, those annotated with `Header` are headers, and the rest
is asked for in the query.
"""

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from operator import attrgetter
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Literal, get_args, get_origin, get_type_hints

import msgspec

from restock.kernel.faults import Fault, FieldError, Invalid
from restock.kernel.paging import read_page
from restock.kernel.wire import MalformedBody, decode

if TYPE_CHECKING:
    from restock.kernel.edge import Exchange

Resolver = Callable[["Exchange"], Any]


@dataclass(frozen=True, slots=True)
class Header:
    """Marks an argument as a header: `Annotated[str | None, Header("If-Match")] = None`.

    `unless` is what is raised when it isn't there: then it is required. `example` is a value.
    """

    name: str
    description: str | None = None
    unless: type[Fault] | None = None
    example: str | None = None


@dataclass(frozen=True, slots=True)
class ClientInfo:
    """Where a request came from: the address the gateway saw, and the program as it names itself.

    The address holds for requests that came by the gateway, and failed sign-ins are counted by it;
    the program's name is a claim, and only shown to people.
    """

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class Parameter:
    """What a client fills in beside the body, as the documents say it."""

    name: str
    place: Literal["path", "query", "header"]
    kind: Any
    required: bool = True
    description: str | None = None
    unless: type[Fault] | None = None
    example: str | None = None


@dataclass(frozen=True, slots=True)
class Asked:
    """Reads a parameter of the query or a header, as what it should be."""

    parameter: Parameter
    find: Callable[["Exchange"], str | None]
    default: Any

    def __call__(self, exchange: "Exchange") -> Any:
        """The value. Raises Invalid, naming the parameter, and what is raised without it."""
        text = self.find(exchange)
        if text is None:
            if self.parameter.unless is not None:
                raise self.parameter.unless()
            if self.parameter.required:
                raise self._invalid("Missing, and required")
            return self.default
        try:
            return msgspec.convert(text, self.parameter.kind, strict=False)
        except msgspec.ValidationError as error:
            raise self._invalid(str(error)) from None

    def _invalid(self, message: str) -> Invalid:
        return Invalid(errors=[FieldError("/" + self.parameter.name, message)])


@dataclass(frozen=True, slots=True)
class Plan:
    """How the arguments of a route's function are got, in their order.

    `body` is the shape of `data`, None without; `paged` routes take a `page`. `filters` are the
    parameters of the query by name: they hold for the next page too.
    """

    resolvers: tuple[Resolver, ...]
    parameters: tuple[Parameter, ...]
    filters: tuple[str, ...]
    body: Any
    paged: bool

    def arguments(self, exchange: "Exchange") -> list[Any]:
        """All of them. Raises Invalid, naming every parameter that isn't acceptable or else what
        is wrong with the body, and whatever reading a page or a body raises."""
        try:
            return [resolve(exchange) for resolve in self.resolvers]
        except Invalid as first:
            raise self._all_refused(exchange) or first from None

    def _all_refused(self, exchange: "Exchange") -> Invalid | None:
        errors: list[FieldError] = []
        for resolve in self.resolvers:
            if isinstance(resolve, Asked) and resolve.parameter.unless is None:
                try:
                    resolve(exchange)
                except Invalid as refused:
                    errors += refused.errors
        return Invalid(errors=errors) if errors else None


def plan_of(function: Callable[..., Any], places: list[str]) -> Plan:
    """The plan for a function whose path has `places` in braces.

    Raises TypeError for an argument of no stated kind.
    """
    kinds = get_type_hints(function, include_extras=True)
    resolvers: list[Resolver] = []
    parameters: list[Parameter] = []
    for name, argument in inspect.signature(function).parameters.items():
        if name in GIVEN:
            resolvers.append(GIVEN[name])
            continue
        if name not in kinds:
            raise TypeError(f"{function.__name__}: of what kind is {name}?")
        if name == "data":
            resolvers.append(_body(kinds[name]))
        elif name in places:
            parameters.append(Parameter(name, "path", kinds[name]))
            resolvers.append(_place(places.index(name)))
        else:
            asked = _asked(name, kinds[name], argument.default)
            parameters.append(asked.parameter)
            resolvers.append(asked)
    filters = tuple(each.name for each in parameters if each.place == "query")
    paged = _page in resolvers
    return Plan(tuple(resolvers), tuple(parameters), filters, kinds.get("data"), paged)


def _asked(name: str, kind: Any, default: Any) -> Asked:
    marks = get_args(kind)[1:] if get_origin(kind) is Annotated else ()
    mark = next((mark for mark in marks if isinstance(mark, Header)), None)
    bare = get_args(kind)[0] if mark is not None else kind
    optional = default is not inspect.Parameter.empty or NoneType in get_args(bare)
    default = None if default is inspect.Parameter.empty else default
    if mark is None:
        parameter = Parameter(name, "query", _without_none(bare), not optional)
        return Asked(parameter, _in_query(name), default)
    parameter = Parameter(
        mark.name,
        "header",
        _without_none(bare),
        mark.unless is not None or not optional,
        mark.description,
        mark.unless,
        mark.example,
    )
    return Asked(parameter, _in_headers(mark.name), default)


def _without_none(kind: Any) -> Any:
    """None stands for what was left out; in a URL or a header "null" is a text like others."""
    left = [option for option in get_args(kind) if option is not NoneType]
    return left[0] if NoneType in get_args(kind) and len(left) == 1 else kind


def _in_query(name: str) -> Callable[["Exchange"], str | None]:
    # the last of several counts
    return lambda exchange: dict(exchange.query).get(name)


def _in_headers(name: str) -> Callable[["Exchange"], str | None]:
    wanted = name.lower().encode()

    def find(exchange: "Exchange") -> str | None:
        value = exchange.headers.get(wanted)
        return None if value is None else value.decode("latin-1")

    return find


def _place(position: int) -> Resolver:
    return lambda exchange: exchange.places[position]


def _body(kind: Any) -> Resolver:
    def read(exchange: "Exchange") -> Any:
        if not exchange.body:
            raise MalformedBody("A JSON body is expected.")
        return decode(exchange.body, kind)

    return read


def _page(exchange: "Exchange") -> Any:
    return read_page(exchange.path, exchange.query, exchange.route.plan.filters)


def _tx(exchange: "Exchange") -> Any:
    return exchange.open_tx()


def _client(exchange: "Exchange") -> ClientInfo:
    # the gateway appends the address it saw; what stands before it is the caller's own claim
    forwarded = exchange.headers.get(b"x-forwarded-for", b"").decode("latin-1")
    seen = forwarded.rpartition(",")[2].strip()
    agent = exchange.headers.get(b"user-agent", b"").decode("latin-1")
    return ClientInfo((seen or exchange.peer)[:64], agent[:200])


GIVEN: dict[str, Resolver] = {
    "who": attrgetter("who"),
    "tx": _tx,
    "key": attrgetter("key"),
    "page": _page,
    "client": _client,
    "resources": attrgetter("context.resources"),
}
