"""The checks each request passes, in their order, as Envoy's HTTP filters.

CORS stands first, so a browser may read every refusal; the limit by address stands before the
token check, so guessing tokens is limited too; the limit by account after it, by the token's
`sub`. A filter that only some routes need is off, and those routes switch it on: each one that
runs costs every request (docs/decisions/0019).
"""

import math
from fractions import Fraction
from typing import Any

from restock.gateway.clusters import KEYS
from restock.gateway.settings import Settings

CORS = "envoy.filters.http.cors"
SANITIZE = "restock.sanitize"
LIMIT_ADDRESS = "restock.limit_address"
LIMIT_LOGIN = "restock.limit_login"
TOKEN = "envoy.filters.http.jwt_authn"  # noqa: S105 (a filter's name)
ORIGIN = "restock.origin"
LIMIT_ACCOUNT = "restock.limit_account"
STRANGERS_BODY = "restock.strangers_body"
BODY = "envoy.filters.http.body_size_limit"
WHOLE_BODY = "envoy.filters.http.buffer"
ROUTER = "envoy.filters.http.router"

# The token's `sub`, once the token is found good, for what comes after in Envoy. It also reaches
# the services, which do not look at it.
ACCOUNT_HEADER = "x-restock-account"
# The same for the log: what is refused before any filter ran still has the client's own header.
ACCOUNT = "restock.account"

TOKEN_REQUIRED = "token"  # noqa: S105 (a requirement's name)

EXPOSED_HEADERS = ("etag", "link", "location", "retry-after", "x-request-id")
ACCEPTED_HEADERS = (
    "authorization",
    "content-type",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "traceparent",
)
# A client may not say who it is or where it comes from: only the token and the connection do.
SPOOFABLE_PREFIXES = (
    "x-auth-",
    "x-account-",
    "x-internal",
    "x-original-",
    "x-restock-",
    "x-rewrite-",
    "x-user",
    "x-workspace",
)
SPOOFABLE_HEADERS = (
    "forwarded",
    "x-client-ip",
    "x-forwarded-host",
    "x-forwarded-port",
    "x-forwarded-prefix",
    "x-forwarded-user",
    "x-http-method-override",
    "x-real-ip",
    "x-role",
)

_HTTP = "type.googleapis.com/envoy.extensions.filters.http"
_FILTER_CONFIG = "type.googleapis.com/envoy.config.route.v3.FilterConfig"
_OVERWRITE = "OVERWRITE_IF_EXISTS_OR_ADD"
_ALWAYS = {"default_value": {"numerator": 100, "denominator": "HUNDRED"}}
# Beyond this nobody without a token needs anything, and what Envoy waits for it holds in memory.
_STRANGERS_BYTES = 64 * 1024
_BUCKETS = 50_000  # per limit; the least recently used is forgotten beyond
_BY_ADDRESS: dict[str, Any] = {
    # an IPv6 client owns a whole /64: its addresses share one bucket
    "masked_remote_address": {"v4_prefix_mask_len": 32, "v6_prefix_mask_len": 64}
}


def filters(settings: Settings) -> list[dict[str, Any]]:
    """Envoy's http_filters, in order."""
    chain = [_cors()] if settings.origins else []
    chain.append(_sanitize(settings))
    if settings.rate_address:
        chain.append(_limit_address(settings.rate_address))
    if settings.rate_login:
        chain.append(_limit_login(settings.rate_login))
    chain += [_token(settings), _remember_account()]
    chain.append(_origin() | {"disabled": True})
    if settings.rate_account:
        chain.append(_limit_account(settings.rate_account))
    few = min(_STRANGERS_BYTES, settings.max_body)
    chain.append(_limit_body(STRANGERS_BODY, few) | {"disabled": True})
    # before the one that waits: a length that is too much is refused as soon as it is announced
    chain.append(_limit_body(BODY, settings.max_body))
    # a service gets a request when its body is there: otherwise whoever sends bodies slowly would
    # hold the connections to it, and others wait
    chain.append(_filter(WHOLE_BODY, "buffer.v3.Buffer", max_request_bytes=settings.max_body))
    chain.append(_filter(ROUTER, "router.v3.Router", suppress_envoy_headers=True))
    return chain


def cors_policy(settings: Settings) -> dict[str, Any]:
    """Per-route CORS: exact origins only; preflights of others end here, without permission."""
    return {
        "@type": f"{_HTTP}.cors.v3.CorsPolicy",
        "allow_origin_string_match": [{"exact": origin} for origin in settings.origins],
        "allow_methods": "GET,HEAD,POST,PATCH,PUT,DELETE",
        "allow_headers": ",".join(ACCEPTED_HEADERS),
        "expose_headers": ",".join(EXPOSED_HEADERS),
        "max_age": "600",
        "forward_not_matching_preflights": False,
    }


def require_token() -> dict[str, Any]:
    """Per-route: only with a valid access token."""
    return {
        "@type": f"{_HTTP}.jwt_authn.v3.PerRouteConfig",
        "requirement_name": TOKEN_REQUIRED,
    }


def switch_on() -> dict[str, Any]:
    """Per-route: a filter that is off elsewhere runs here."""
    return {"@type": _FILTER_CONFIG, "config": {}}


def check_origin(settings: Settings) -> dict[str, Any]:
    """Per-route: a browser's page may connect from a listed origin or from the gateway's own."""
    ids: list[dict[str, Any]] = [{"header": {"name": "origin", "present_match": True}}]
    ids += [
        {"not_id": {"header": {"name": "origin", "string_match": {"exact": origin}}}}
        for origin in settings.origins
    ]
    foreign = {"and_ids": {"ids": ids}}
    policy = {
        "permissions": [{"any": True}],
        "principals": [foreign],
        "condition": _not_own_host(),
        "cel_config": {"enable_string_concat": True},
    }
    return {
        "@type": f"{_HTTP}.rbac.v3.RBACPerRoute",
        "rbac": {"rules": {"action": "DENY", "policies": {"foreign_origin": policy}}},
    }


def no_body() -> dict[str, Any]:
    """Per-route, by filter: nothing is waited for, nor is what comes a body."""
    return {name: {"@type": _FILTER_CONFIG, "disabled": True} for name in (BODY, WHOLE_BODY)}


def bucket(rate: float) -> dict[str, Any]:
    """Envoy's token bucket for `rate` requests a second, which may be below one.

    The burst is five times the rate, and at least 10.
    """
    share = Fraction(rate).limit_denominator(1000)
    if share.numerator == 0:
        share = Fraction(1, math.ceil(1 / rate))
    return {
        "max_tokens": max(10, math.ceil(rate * 5)),
        "tokens_per_fill": share.numerator,
        "fill_interval": f"{share.denominator}s",
    }


def _cors() -> dict[str, Any]:
    return _filter(CORS, "cors.v3.Cors")


def _sanitize(settings: Settings) -> dict[str, Any]:
    # one expression for all, since each looks at every header; Envoy has names in lower case
    spoofable = f"({'|'.join(SPOOFABLE_PREFIXES)}).*"
    request: list[dict[str, Any]] = [
        {"remove_on_match": {"key_matcher": {"safe_regex": {"regex": spoofable}}}}
    ]
    request += [{"remove": name} for name in SPOOFABLE_HEADERS]
    # Services get exactly one address, the one that Envoy worked out.
    request.append(_append("x-forwarded-for", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"))
    response = [
        _append("x-content-type-options", "nosniff"),
        _append("cache-control", "no-store", "ADD_IF_ABSENT"),
    ]
    if settings.origins:
        response.append(_append("vary", "Origin", "APPEND_IF_EXISTS_OR_ADD"))
    return _filter(
        SANITIZE,
        "header_mutation.v3.HeaderMutation",
        mutations={"request_mutations": request, "response_mutations": response},
    )


def _limit_address(rate: float) -> dict[str, Any]:
    return _limit(
        LIMIT_ADDRESS,
        rate,
        entries=[{"key": "masked_remote_address"}],
        rate_limits=[{"actions": [_BY_ADDRESS]}],
    )


def _limit_login(rate: float) -> dict[str, Any]:
    """One bucket per address for all routes that switch it on."""
    limit = _limit(
        LIMIT_LOGIN,
        rate,
        entries=[{"key": "masked_remote_address"}],
        rate_limits=[{"actions": [_BY_ADDRESS]}],
    )
    return limit | {"disabled": True}


def _limit_account(rate: float) -> dict[str, Any]:
    subject = {"descriptor_key": "sub", "header_name": ACCOUNT_HEADER}
    return _limit(
        LIMIT_ACCOUNT,
        rate,
        entries=[{"key": "sub"}],
        rate_limits=[{"actions": [{"request_headers": subject}]}],
    )


def _limit(
    name: str, rate: float, *, entries: list[dict[str, Any]], **which: Any
) -> dict[str, Any]:
    wait = max(1, math.ceil(1 / rate))
    return _filter(
        name,
        "local_ratelimit.v3.LocalRateLimit",
        stat_prefix=name.removeprefix("restock."),
        # the default is 20, and then twenty others reset a bucket that is empty
        max_dynamic_descriptors=_BUCKETS,
        # what no bucket below is for: never empty
        token_bucket={"max_tokens": 1 << 30, "tokens_per_fill": 1 << 30, "fill_interval": "1s"},
        always_consume_default_token_bucket=False,
        filter_enabled=_ALWAYS,
        filter_enforced=_ALWAYS,
        response_headers_to_add=[
            {"header": {"key": "retry-after", "value": str(wait)}, "append_action": _OVERWRITE}
        ],
        descriptors=[{"entries": entries, "token_bucket": bucket(rate)}],
        **which,
    )


def _limit_body(name: str, size: int) -> dict[str, Any]:
    return _filter(name, "body_size_limit.v3.BodySizeLimit", max_request_bytes=size)


def _remember_account() -> dict[str, Any]:
    account = {"text_format_source": {"inline_string": f"%REQ({ACCOUNT_HEADER})%"}}
    kept = {
        "object_key": ACCOUNT,
        "factory_key": "envoy.string",
        "format_string": account | {"omit_empty_values": True},
        "skip_if_empty": True,
    }
    return _filter(ACCOUNT, "set_filter_state.v3.Config", on_request_headers=[kept])


def _token(settings: Settings) -> dict[str, Any]:
    provider = {
        "issuer": settings.issuer,
        "audiences": [settings.audience],
        "require_expiration": True,
        "clock_skew_seconds": 5,
        # services check the token again: it must reach them
        "forward": True,
        "from_headers": [
            {"name": "Authorization", "value_prefix": "Bearer "},
            {"name": "Authorization", "value_prefix": "bearer "},
        ],
        # not the payload as metadata: copying all claims costs more than any other filter does
        "claim_to_headers": [{"header_name": ACCOUNT_HEADER, "claim_name": "sub"}],
        "jwt_cache_config": {"jwt_cache_size": 1000},
        "remote_jwks": {
            "http_uri": {"uri": settings.keys_url, "cluster": KEYS, "timeout": "2s"},
            "cache_duration": f"{settings.keys_seconds}s",
            "async_fetch": {"failed_refetch_duration": "1s"},
        },
    }
    return _filter(
        TOKEN,
        "jwt_authn.v3.JwtAuthentication",
        providers={"access": provider},
        requirement_map={TOKEN_REQUIRED: {"provider_name": "access"}},
    )


def _origin() -> dict[str, Any]:
    return _filter(ORIGIN, "rbac.v3.RBAC")


def _not_own_host() -> dict[str, Any]:
    """CEL, already parsed: request.headers['origin'] is not scheme + '://' + request.host."""
    origin = {
        "call_expr": {
            "function": "_[_]",
            "args": [_select("headers"), {"const_expr": {"string_value": "origin"}}],
        }
    }
    own = {
        "call_expr": {
            "function": "_+_",
            "args": [
                {
                    "call_expr": {
                        "function": "_+_",
                        "args": [
                            _select("scheme"),
                            {"const_expr": {"string_value": "://"}},
                        ],
                    }
                },
                _select("host"),
            ],
        }
    }
    return {"call_expr": {"function": "_!=_", "args": [origin, own]}}


def _select(field: str) -> dict[str, Any]:
    return {"select_expr": {"operand": {"ident_expr": {"name": "request"}}, "field": field}}


def _append(name: str, value: str, action: str = _OVERWRITE) -> dict[str, Any]:
    return {"append": {"header": {"key": name, "value": value}, "append_action": action}}


def _filter(name: str, kind: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "typed_config": {"@type": f"{_HTTP}.{kind}", **fields}}
