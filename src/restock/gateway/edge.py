"""The public listener: how HTTP is read, what is logged of it, and the chain behind it."""

from typing import Any

from restock.gateway.filters import ACCOUNT, filters
from restock.gateway.matching import virtual_host
from restock.gateway.refusals import local_replies
from restock.gateway.routes_table import ROUTES
from restock.gateway.settings import Settings

STATS = "edge"

_EXTENSIONS = "type.googleapis.com/envoy.extensions"
_SUBJECT = f"%FILTER_STATE({ACCOUNT}:PLAIN)%"


def listener(settings: Settings) -> dict[str, Any]:
    """Envoy's only public listener, plain HTTP/1.1 and HTTP/2."""
    return {
        "name": STATS,
        "address": {
            "socket_address": {
                "address": settings.listen_host,
                "port_value": settings.public_port,
            }
        },
        # One socket: a second Envoy on this port fails, instead of quietly taking a share of it.
        "enable_reuse_port": False,
        "connection_balance_config": {"exact_balance": {}},
        "per_connection_buffer_limit_bytes": 65536,
        "filter_chains": [
            {
                "filters": [
                    {
                        "name": "envoy.filters.network.http_connection_manager",
                        "typed_config": _connection_manager(settings),
                    }
                ]
            }
        ],
    }


def _connection_manager(settings: Settings) -> dict[str, Any]:
    return {
        "@type": f"{_EXTENSIONS}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": STATS,
        "server_name": "restock",
        **_trust(settings),
        **_strictness(settings),
        "http2_protocol_options": {
            "max_concurrent_streams": 100,
            "initial_stream_window_size": 65536,
            "initial_connection_window_size": 1048576,
        },
        "upgrade_configs": [{"upgrade_type": "websocket", "enabled": False}],
        "drain_timeout": "1s",
        "local_reply_config": local_replies(),
        "access_log": [_access_log(settings)] if settings.access_log else [],
        "http_filters": filters(settings),
        "route_config": {
            "name": STATS,
            "virtual_hosts": [virtual_host(settings, ROUTES)],
        },
    }


def _trust(settings: Settings) -> dict[str, Any]:
    """Whose word is taken: nobody's, not even a loopback client's, beyond our own proxies."""
    return {
        "use_remote_address": True,
        "xff_num_trusted_hops": settings.trusted_hops,
        "skip_xff_append": True,  # the filters write it anew
        # An empty list would mean loopback and private networks: whoever comes from there could
        # set the request id and Envoy's own headers.
        "internal_address_config": {
            "cidr_ranges": [{"address_prefix": "255.255.255.255", "prefix_len": 32}]
        },
        "preserve_external_request_id": settings.trust_request_id,
        "always_set_request_id_in_response": True,
    }


def _strictness(settings: Settings) -> dict[str, Any]:
    longest = max(settings.read_timeout, settings.write_timeout)
    return {
        "normalize_path": True,
        "merge_slashes": True,
        "path_with_escaped_slashes_action": "REJECT_REQUEST",
        "max_request_headers_kb": 32,
        "request_headers_timeout": f"{settings.headers_timeout}s",
        "request_timeout": f"{settings.body_timeout}s",
        "stream_idle_timeout": f"{max(30, longest + 5)}s",
        "common_http_protocol_options": {
            "idle_timeout": f"{settings.idle_timeout}s",
            "max_headers_count": 64,
            "headers_with_underscores_action": "REJECT_REQUEST",
        },
    }


def _access_log(settings: Settings) -> dict[str, Any]:
    """A line for each request; a query may hold a secret or a search, so it is left out."""
    if settings.log_format == "text":
        text = (
            "%START_TIME% gateway %REQ(:METHOD)% %PATH(NQ)% %RESPONSE_CODE% %DURATION% ms "
            f"%UPSTREAM_CLUSTER% {_SUBJECT} %STREAM_ID% %RESPONSE_CODE_DETAILS%\n"
        )
        log_format: dict[str, Any] = {"text_format_source": {"inline_string": text}}
    else:
        log_format = {"json_format": _ACCESS_FIELDS}
    return {
        "name": "access",
        "typed_config": {
            "@type": f"{_EXTENSIONS}.access_loggers.stream.v3.StdoutAccessLog",
            "log_format": log_format,
        },
    }


_ACCESS_FIELDS = {
    "timestamp": "%START_TIME%",
    "level": "info",
    "event": "request",
    "service": "gateway",
    "method": "%REQ(:METHOD)%",
    "path": "%PATH(NQ)%",
    "status": "%RESPONSE_CODE%",
    "details": "%RESPONSE_CODE_DETAILS%",
    "flags": "%RESPONSE_FLAGS%",
    "milliseconds": "%DURATION%",
    "upstream": "%UPSTREAM_CLUSTER%",
    "attempts": "%UPSTREAM_REQUEST_ATTEMPT_COUNT%",
    "address": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
    "request_id": "%STREAM_ID%",
    "traceparent": "%REQ(TRACEPARENT)%",
    "user_id": _SUBJECT,
}
