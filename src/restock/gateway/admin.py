"""Envoy's admin: what may be asked of it, where, and by whom.

Whatever changes Envoy is asked on a Unix socket in a directory of the gateway's user. A port, on
loopback too, is within reach of any page that a browser on this machine shows, so there are only
readings on it.
"""

import re
from pathlib import Path
from typing import Any

from restock.gateway.settings import Settings

LISTENER = "readings"
CLUSTER = "admin"
READINGS = ("/ready", "/stats", "/stats/prometheus", "/clusters", "/listeners")
# What supervision needs besides; no endpoint that shows the configuration or ends Envoy.
DRAIN = "/drain_listeners"

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_OWNER_ONLY = 0o600


def on_pipe(pipe: Path) -> dict[str, Any]:
    """The admin of an Envoy that the gateway process supervises."""
    return {
        "address": {"pipe": {"path": str(pipe), "mode": _OWNER_ONLY}},
        "allow_paths": [_only((*READINGS, DRAIN))],
    }


def on_port(settings: Settings) -> dict[str, Any]:
    """The admin of an Envoy that runs elsewhere: readings only."""
    return {
        "address": _address(settings),
        "allow_paths": [_only(READINGS)],
    }


def readings_listener(settings: Settings) -> dict[str, Any]:
    """The readings of an admin that is on a pipe, for GET on the admin's port."""
    get = {"name": ":method", "string_match": {"exact": "GET"}}
    routes = [
        {"match": {"path": path, "headers": [get]}, "route": {"cluster": CLUSTER}}
        for path in READINGS
    ]
    hosts = [{"name": LISTENER, "domains": ["*"], "routes": routes}]
    router = {"@type": f"{_EXTENSIONS}.filters.http.router.v3.Router"}
    connections = {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": LISTENER,
        "http_filters": [{"name": "envoy.filters.http.router", "typed_config": router}],
        "route_config": {"name": LISTENER, "virtual_hosts": hosts},
    }
    manager = {"name": "envoy.filters.network.http_connection_manager", "typed_config": connections}
    return {
        "name": LISTENER,
        "address": _address(settings),
        "enable_reuse_port": False,
        # a flood of clients must not hide what it does
        "ignore_global_conn_limit": True,
        "filter_chains": [{"filters": [manager]}],
    }


def cluster(pipe: Path) -> dict[str, Any]:
    """Where the readings come from."""
    endpoint = {"endpoint": {"address": {"pipe": {"path": str(pipe)}}}}
    return {
        "name": CLUSTER,
        "type": "STATIC",
        "connect_timeout": "1s",
        "load_assignment": {
            "cluster_name": CLUSTER,
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }


def _only(paths: tuple[str, ...]) -> dict[str, Any]:
    """Exactly these; here Envoy compares the query too."""
    return {"safe_regex": {"regex": rf"({'|'.join(map(re.escape, paths))})(\?.*)?"}}


def _address(settings: Settings) -> dict[str, Any]:
    return {
        "socket_address": {"address": "127.0.0.1", "port_value": settings.envoy_admin_port},
    }
