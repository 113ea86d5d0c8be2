"""Routes: how they are declared, and how one is found for a request."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from types import NoneType
from typing import Any, Literal, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec

from restock.kernel.faults import Fault, MethodNotAllowed, NotFound
from restock.kernel.parameters import Plan, plan_of
from restock.kernel.reply import Reply

KeyRule = Literal["kept", "ledger"] | None

_BRACES = re.compile(r"\{(\w+):(\w+)\}")
# what may stand in a path: as which type it is read, and how its text looks
_KINDS: dict[str, tuple[type, str]] = {
    "str": (str, "([^/]+)"),
    "uuid": (UUID, "([0-9A-Fa-f-]{32,36})"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """One operation over HTTP, as its decorator says; `function` is what is called.

    What is worked out of these: the `plan` of its arguments, the kinds of the `places` in its path,
    and the kind of content it `gives`, None for nothing.
    """

    method: str
    path: str
    function: Callable[..., Any]
    summary: str
    answers: int
    faults: tuple[type[Fault], ...]
    public: bool
    single: bool
    key: KeyRule
    tagged: bool
    hidden: bool
    plan: Plan = field(init=False)
    places: tuple[type, ...] = field(init=False)
    gives: Any = field(init=False)

    def __post_init__(self) -> None:
        found = _BRACES.findall(self.path)
        object.__setattr__(self, "gives", _content(get_type_hints(self.function).get("return")))
        object.__setattr__(self, "places", tuple(_KINDS[kind][0] for _, kind in found))
        object.__setattr__(self, "plan", plan_of(self.function, [name for name, _ in found]))

    @property
    def name(self) -> str:
        """The operation's name."""
        return self.function.__name__

    @property
    def template(self) -> str:
        """The path as OpenAPI writes it."""
        return _BRACES.sub(r"{\1}", self.path)


Declare = Callable[[Callable[..., Any]], Route]


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
        tagged: bool = False,
        hidden: bool = False,
    ) -> Declare:
        def declare(function: Callable[..., Any]) -> Route:
            rule: KeyRule = ("kept" if writes and not public else None) if key == "default" else key
            if single and rule == "kept":
                raise ValueError(f"{function.__name__}: a kept answer needs a transaction")
            return Route(
                method=method,
                path=path,
                function=function,
                summary=summary,
                answers=answers,
                faults=tuple(faults),
                public=public,
                single=single,
                key=rule,
                tagged=tagged,
                hidden=hidden,
            )

        return declare

    route.__doc__ = f"""Declare a {method} route.

    `answers` is the status of success. `faults` are the refusals it may give, documented in the
    OpenAPI. `public` routes need no token and have no `who`. `single` operations are one statement
    in its implicit transaction. `key` says what an Idempotency-Key does: "kept" (the edge keeps
    the answer; the default for POST and PATCH), "ledger" (the operation sees to it), None.
    `tagged` says that the answer has an ETag.
    `hidden` routes are for operators: neither documented nor counted.
    """
    return route


get = _declare("GET")
post = _declare("POST")
patch = _declare("PATCH")
delete = _declare("DELETE")


Methods = dict[str, Route]


class Router:
    """All routes of a service, by path and method.

    A path without braces is looked up as it is, and comes before one with. Those are tried in one
    regular expression, in the order of their declaration.
    """

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[str, Methods] = {}
        placed: dict[str, Methods] = {}
        for route in routes:
            path = _BRACES.sub(r"{\2}", route.path)
            methods = (placed if route.places else self._fixed).setdefault(path, {})
            if methods.setdefault(route.method, route) is not route:
                raise ValueError(f"{route.method} {route.path} is declared twice")
        # an alternative ends in an empty group, whose number tells which one matched
        self._ends: dict[int, Methods] = {}
        alternatives, groups = [], 0
        for path, methods in placed.items():
            alternatives.append(_pattern(path) + "()")
            groups += path.count("{") + 1
            self._ends[groups] = methods
        self._placed = re.compile("|".join(alternatives) or "(?!)")

    def find(self, method: str, path: str) -> tuple[Route, list[Any]]:
        """The route, and what stands at the places in its path.

        Raises NotFound and MethodNotAllowed.
        """
        methods = self._fixed.get(path)
        if methods is not None:
            return _offered(methods, method), []
        match = self._placed.fullmatch(path)
        if match is None or match.lastindex is None:
            raise NotFound()
        end = match.lastindex
        methods = self._ends[end]
        kinds = next(iter(methods.values())).places
        texts = match.groups()[end - 1 - len(kinds) : end - 1]
        try:
            values: list[Any] = [
                msgspec.convert(text, kind) for text, kind in zip(texts, kinds, strict=True)
            ]
        except msgspec.ValidationError:
            raise NotFound() from None
        return _offered(methods, method), values


def _content(returned: Any) -> Any:
    """What an answer holds, whether it stands in a Reply or by itself."""
    kind = get_args(returned)[0] if get_origin(returned) is Reply else returned
    return None if kind is NoneType else kind


def _pattern(path: str) -> str:
    """The regular expression of a path such as `/items/{uuid}`."""
    fixed, *rest = path.split("{")
    pattern = re.escape(fixed)
    for part in rest:
        kind, _, fixed = part.partition("}")
        pattern += _KINDS[kind][1] + re.escape(fixed)
    return pattern


def _offered(methods: Methods, method: str) -> Route:
    route = methods.get(method)
    if route is None:
        raise MethodNotAllowed(headers={"Allow": ", ".join(sorted([*methods, "OPTIONS"]))})
    return route
