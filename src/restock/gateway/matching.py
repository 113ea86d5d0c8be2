"""The routes table as Envoy's virtual host: how each path is matched, timed and tried again."""

import re
from typing import Any

from restock.gateway import filters
from restock.gateway.clusters import SOCKETS, Address, is_one, socket_cluster
from restock.gateway.routes_table import Entry, Limit, Repeat, Route
from restock.gateway.settings import Settings

# What was never sent may be sent again, whatever it is.
_NEVER_SENT = "connect-failure,refused-stream,reset-before-request"
_PERHAPS_SENT = "connect-failure,refused-stream,reset,retriable-status-codes"

_IS_READ: dict[str, Any] = {
    "name": ":method",
    "string_match": {"safe_regex": {"regex": "GET|HEAD"}},
}
_IS_KEYED: list[dict[str, Any]] = [
    {"name": ":method", "string_match": {"safe_regex": {"regex": "POST|PATCH"}}},
    {"name": "idempotency-key", "present_match": True},
]
# Envoy has taken away an Upgrade that Connection doesn't name.
_IS_UPGRADE: list[dict[str, Any]] = [
    {"name": ":method", "string_match": {"exact": "GET"}},
    {"name": "upgrade", "string_match": {"exact": "websocket", "ignore_case": True}},
]


def virtual_host(settings: Settings, table: tuple[Route, ...]) -> dict[str, Any]:
    """Envoy's only virtual host: the table, in its order."""
    routes: list[dict[str, Any]] = []
    for route in table:
        if route.entry is Entry.SOCKET:
            routes += _socket_routes(route, settings)
        else:
            routes += _http_routes(route, settings)
    nothing: dict[str, Any] = {"match": {"prefix": "/"}, "direct_response": {"status": 404}}
    routes.append(nothing | {"typed_per_filter_config": filters.no_body()})
    host: dict[str, Any] = {"name": "restock", "domains": ["*"], "routes": routes}
    if settings.origins:
        host["typed_per_filter_config"] = {filters.CORS: filters.cors_policy(settings)}
    return host


def _http_routes(route: Route, settings: Settings) -> list[dict[str, Any]]:
    """Reads apart from writes: each kind has its own time, and its own reasons to be repeated.

    The time is that of the whole. Tries have none of their own: a slow answer would be cut short
    and asked for once more, of a service that is already slow.
    """
    config: dict[str, Any] = {}
    if route.entry is Entry.TOKEN:
        config[filters.TOKEN] = filters.require_token()
    else:
        config[filters.STRANGERS_BODY] = filters.switch_on()
    if route.limit is Limit.LOGIN and settings.rate_login:
        config[filters.LIMIT_LOGIN] = filters.switch_on()
    action: dict[str, Any] = {"cluster": route.service.value}
    places = settings.upstreams(route.service.value)
    again = _NEVER_SENT if route.repeat is Repeat.NOTHING else _PERHAPS_SENT
    read = action | {
        "timeout": f"{settings.read_timeout}s",
        "retry_policy": _again(again, places),
    }
    write = action | {
        "timeout": f"{settings.write_timeout}s",
        "retry_policy": _again(_NEVER_SENT, places),
    }
    kinds: list[tuple[list[dict[str, Any]], dict[str, Any]]] = [([_IS_READ], read)]
    if route.repeat is Repeat.KEYED:
        kinds.append((_IS_KEYED, write | {"retry_policy": _again(_PERHAPS_SENT, places)}))
    kinds.append(([], write))
    own = {"typed_per_filter_config": config}
    routes = [
        {"match": _path(route) | ({"headers": headers} if headers else {}), "route": what, **own}
        for headers, what in kinds
    ]
    if route.limit is Limit.LOGIN:
        # nothing is there, but to a limit it is the same name
        slashed = {"path": f"{route.path}/"}
        routes.append({"match": slashed, "direct_response": {"status": 404}, **own})
    return routes


def _socket_routes(route: Route, settings: Settings) -> list[dict[str, Any]]:
    """A handshake goes to any worker; what carries a `sid` to the worker whose number leads it."""
    # naming a filter that is off switches it on
    config = {filters.ORIGIN: filters.check_origin(settings)}
    targets = [
        (socket_cluster(number), [{"name": "sid", "string_match": {"prefix": f"{number}-"}}])
        for number in range(len(settings.socket_workers()))
    ]
    routes = []
    for cluster, query in [*targets, (SOCKETS, [])]:
        for upgrade in (True, False):
            action = _socket_action(cluster, settings)
            if upgrade:  # what comes then are frames
                action["upgrade_configs"] = [{"upgrade_type": "websocket", "enabled": True}]
                own = config | filters.no_body()
            else:
                own = config | {filters.STRANGERS_BODY: filters.switch_on()}
            match = _path(route)
            if upgrade:
                match |= {"headers": _IS_UPGRADE}
            if query:
                match |= {"query_parameters": query}
            routes.append({"match": match, "route": action, "typed_per_filter_config": own})
    return routes


def _socket_action(cluster: str, settings: Settings) -> dict[str, Any]:
    """No limit on the whole: a poll is held until there is something to say."""
    return {
        "cluster": cluster,
        "timeout": "0s",
        "idle_timeout": f"{settings.socket_idle_timeout}s",
        "retry_policy": _again(_NEVER_SENT, settings.socket_workers()),
    }


def _again(when: str, places: list[Address]) -> dict[str, Any]:
    """Twice more; elsewhere, where there may be another place."""
    policy: dict[str, Any] = {
        "retry_on": when,
        "num_retries": 2,
        "retry_back_off": {"base_interval": "0.05s", "max_interval": "0.5s"},
    }
    if "retriable-status-codes" in when:
        policy["retriable_status_codes"] = [503]
    if not is_one(places):
        policy["retry_host_predicate"] = [
            {
                "name": "envoy.retry_host_predicates.previous_hosts",
                "typed_config": {
                    "@type": "type.googleapis.com/envoy.extensions.retry.host."
                    "previous_hosts.v3.PreviousHostsPredicate"
                },
            }
        ]
        # of two places, each draw is the one that just failed half the time
        policy["host_selection_retry_max_attempts"] = 12
    return policy


def _path(route: Route) -> dict[str, Any]:
    """Nothing ends in a slash: a second name of a thing is one that a check forgets."""
    if not route.tree:
        return {"path": route.path}
    if route.entry is Entry.SOCKET:
        return {"path_separated_prefix": route.path}
    return {"safe_regex": {"regex": rf"{re.escape(route.path)}(/.*[^/])?"}}
