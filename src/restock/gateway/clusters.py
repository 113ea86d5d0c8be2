"""Envoy's clusters: where each service answers, and how much may be sent there at once."""

import ipaddress
from typing import Any
from urllib.parse import urlsplit

from restock.gateway.routes_table import Service
from restock.gateway.settings import Settings

SOCKETS = Service.SOCKETS.value
KEYS = "keys"  # the JWKS has its own, so that a flood of logins can't keep it from being read

Address = tuple[str, int]

_HTTP_OPTIONS = "envoy.extensions.upstreams.http.v3.HttpProtocolOptions"
# Below the keep-alive of our services (75 s), so that it is Envoy that closes an unused
# connection: were it the service, a request could be on its way into a closing one.
_UPSTREAM_IDLE = "60s"


def clusters(settings: Settings) -> list[dict[str, Any]]:
    """Every cluster: one per service, one for all sockets and one per socket worker."""
    workers = settings.socket_workers()
    http = [
        _cluster(service.value, settings.upstreams(service.value), settings)
        for service in Service
        if service is not Service.SOCKETS
    ]
    return [
        *http,
        _keys_cluster(settings),
        _socket_cluster(SOCKETS, workers, settings),
        *(
            _socket_cluster(socket_cluster(number), [worker], settings)
            for number, worker in enumerate(workers)
        ),
    ]


def socket_cluster(worker: int) -> str:
    """The cluster of one notification worker's sockets."""
    return f"{SOCKETS}-{worker}"


def is_one(addresses: list[Address]) -> bool:
    """Whether there is surely just one place: a name may stand for several."""
    return len(addresses) == 1 and _is_ip(addresses[0][0])


def _cluster(name: str, addresses: list[Address], settings: Settings) -> dict[str, Any]:
    limits = {
        "max_connections": settings.upstream_connections,
        "max_pending_requests": settings.max_requests,
        "max_requests": settings.max_requests,
        "retry_budget": {"budget_percent": {"value": 20}, "min_retry_concurrency": 10},
    }
    return {
        "name": name,
        **_endpoints(name, addresses),
        "connect_timeout": "1s",
        "typed_extension_protocol_options": {
            _HTTP_OPTIONS: {
                "@type": f"type.googleapis.com/{_HTTP_OPTIONS}",
                "explicit_http_config": {"http_protocol_options": {}},
                "common_http_protocol_options": {"idle_timeout": _UPSTREAM_IDLE},
            }
        },
        "circuit_breakers": {"thresholds": [limits]},
        **_ejection(addresses),
    }


def _socket_cluster(name: str, addresses: list[Address], settings: Settings) -> dict[str, Any]:
    """Every open socket holds a connection and a request, so these are bounded as clients are."""
    cluster = _cluster(name, addresses, settings)
    limits = cluster["circuit_breakers"]["thresholds"][0]
    limits["max_connections"] = limits["max_requests"] = settings.max_connections
    return cluster | {"lb_policy": "LEAST_REQUEST"}


def _keys_cluster(settings: Settings) -> dict[str, Any]:
    parts = urlsplit(settings.keys_url)
    secure = parts.scheme == "https"
    host = parts.hostname or "127.0.0.1"
    cluster = {
        "name": KEYS,
        **_endpoints(KEYS, [(host, parts.port or (443 if secure else 80))]),
        "connect_timeout": "1s",
    }
    if secure:
        cluster["transport_socket"] = {
            "name": "envoy.transport_sockets.tls",
            "typed_config": {
                "@type": "type.googleapis.com/"
                "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext",
                "sni": host,
                "auto_sni_san_validation": True,
                "common_tls_context": {
                    "validation_context": {"trusted_ca": {"filename": settings.keys_authorities}}
                },
            },
        }
    return cluster


def _endpoints(name: str, addresses: list[Address]) -> dict[str, Any]:
    endpoints = [
        {
            "endpoint": {
                "address": {"socket_address": {"address": host, "port_value": port}},
            }
        }
        for host, port in addresses
    ]
    return {
        "type": "STATIC" if all(_is_ip(host) for host, _ in addresses) else "STRICT_DNS",
        "load_assignment": {"cluster_name": name, "endpoints": [{"lb_endpoints": endpoints}]},
    }


def _ejection(addresses: list[Address]) -> dict[str, Any]:
    """A place that can't be reached is left out for a moment, but never the last one.

    A 500 says nothing about the place, so it doesn't count. Where there is only one place, leaving
    it out would merely prolong each restart.
    """
    if len(addresses) < 2:
        return {}
    return {
        "outlier_detection": {
            "split_external_local_origin_errors": True,
            "enforcing_consecutive_5xx": 0,
            "enforcing_success_rate": 0,
            "enforcing_local_origin_success_rate": 0,
            "consecutive_local_origin_failure": 3,
            "interval": "1s",
            "base_ejection_time": "2s",
            "max_ejection_time": "10s",
            "max_ejection_percent": 50,
        }
    }


def _is_ip(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True
