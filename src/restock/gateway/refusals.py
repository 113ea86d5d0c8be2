"""What the gateway itself refuses, in the words of the whole system: problem+json.

Envoy knows a status and a detail of its own making; here each becomes a stable `code` and a
neutral title, so a client sees one shape whoever refused it.
"""

from dataclasses import dataclass
from typing import Any

PROBLEM = "application/problem+json"

_CEL_FILTER = "envoy.extensions.access_loggers.filters.cel.v3.ExpressionFilter"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Envoy's answer `status` (with details that begin with `because`) as the client gets it.

    `answer` replaces the status; `headers` are set on the answer.
    """

    status: int
    code: str
    title: str
    because: str = ""
    answer: int | None = None
    headers: tuple[tuple[str, str], ...] = ()


# Envoy has no id for what it can't even read; then one of its own is made.
_REQUEST_ID = '%COALESCE({"operators": ["STREAM_ID", "UNIQUE_ID"]})%'
_BEARER = (("www-authenticate", "Bearer"),)
_RETRY_SOON = (("retry-after", "1"),)
_TOKEN = ("gateway.token_invalid", "A valid access token is required")

# The first that fits is taken: those with a reason stand above the general one of their status.
REFUSALS: tuple[Refusal, ...] = (
    Refusal(
        status=400,
        code="gateway.request_malformed",
        title="The request is not acceptable HTTP",
    ),
    Refusal(  # nothing can be said of a token while no key is known
        status=401,
        because="jwt_authn_access_denied{Jwks_remote_fetch",
        answer=503,
        code="gateway.keys_unavailable",
        title="Tokens can't be checked at the moment: try again",
        headers=_RETRY_SOON,
    ),
    Refusal(status=401, code=_TOKEN[0], title=_TOKEN[1], headers=_BEARER),
    Refusal(  # a token for another audience is no token here
        status=403,
        because="jwt_authn",
        answer=401,
        code=_TOKEN[0],
        title=_TOKEN[1],
        headers=_BEARER,
    ),
    Refusal(
        status=403,
        because="upgrade_failed",
        code="gateway.upgrade_refused",
        title="Only /socket.io speaks WebSocket",
    ),
    Refusal(
        status=403,
        code="gateway.origin_refused",
        title="This web origin may not connect",
    ),
    Refusal(status=404, code="gateway.route_not_found", title="There is nothing at this address"),
    Refusal(
        status=408,
        code="gateway.request_too_slow",
        title="The request did not arrive in time",
    ),
    Refusal(status=413, code="gateway.body_too_large", title="The body is too large"),
    Refusal(
        status=429,
        code="gateway.rate_limited",
        title="Too many requests: wait and try again",
    ),
    Refusal(status=431, code="gateway.headers_too_large", title="The headers are too large"),
    Refusal(
        status=502,
        code="gateway.service_failed",
        title="The service did not answer properly",
        headers=_RETRY_SOON,
    ),
    Refusal(
        status=503,
        code="gateway.service_unavailable",
        title="The service is not available at the moment: try again",
        headers=_RETRY_SOON,
    ),
    Refusal(
        status=504,
        code="gateway.service_too_slow",
        title="The service did not answer in time",
        headers=_RETRY_SOON,
    ),
)

TO_TRY_AGAIN = (429, 502, 503, 504)  # each comes with a Retry-After
_ANYTHING_ELSE = ("gateway.refused", "The request was refused")
# what a socket or an unknown address is told; no operation of a service is
_OF_NO_OPERATION = (403, 404)


def local_replies() -> dict[str, Any]:
    """Envoy's LocalReplyConfig for every refusal of its own."""
    return {
        "mappers": [_mapper(refusal) for refusal in REFUSALS],
        "body_format": _body(*_ANYTHING_ELSE),
    }


def of_operations(*, public: bool) -> dict[int, list[Refusal]]:
    """What Envoy itself may answer to a service's operation, by the status a client sees.

    A `public` operation's token isn't looked at.
    """
    found: dict[int, list[Refusal]] = {}
    for refusal in REFUSALS:
        about_tokens = refusal.status in (401, 403)
        status = refusal.answer or refusal.status
        if status not in _OF_NO_OPERATION and not (public and about_tokens):
            found.setdefault(status, []).append(refusal)
    return found


def _mapper(refusal: Refusal) -> dict[str, Any]:
    by_status = {
        "status_code_filter": {
            "comparison": {
                "op": "EQ",
                "value": {"default_value": refusal.status, "runtime_key": "none"},
            }
        }
    }
    mapper: dict[str, Any] = {
        "filter": by_status,
        "body_format_override": _body(refusal.code, refusal.title),
    }
    if refusal.because:
        by_detail = {
            "extension_filter": {
                "name": "envoy.access_loggers.extension_filters.cel",
                "typed_config": {
                    "@type": f"type.googleapis.com/{_CEL_FILTER}",
                    "expression": f"response.code_details.startsWith('{refusal.because}')",
                },
            }
        }
        mapper["filter"] = {"and_filter": {"filters": [by_status, by_detail]}}
    if refusal.answer:
        mapper["status_code"] = refusal.answer
    if refusal.headers:
        mapper["headers_to_add"] = [
            {
                "header": {"key": name, "value": value},
                "append_action": "OVERWRITE_IF_EXISTS_OR_ADD",
            }
            for name, value in refusal.headers
        ]
    return mapper


def _body(code: str, title: str) -> dict[str, Any]:
    return {
        "json_format": {
            "type": "about:blank",
            "code": code,
            "title": title,
            "status": "%RESPONSE_CODE%",
            "requestId": _REQUEST_ID,
        },
        "content_type": PROBLEM,
    }
