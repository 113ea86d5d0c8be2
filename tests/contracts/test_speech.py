"""How every operation takes what HTTP lets one say besides: other methods, other kinds of content,
other encodings. The documents' first words (`info.description`) say the same.
"""

from typing import Any

import pytest

from restock.kernel.openapi import ABOUT
from restock.kernel.wire import encode
from tests.contracts.operations import DOCUMENTS, OPERATIONS

SERVICES = ("auth", "inventory", "notification", "vendor")
METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND")
KINDS = (
    None,
    "application/json",
    "application/json; charset=utf-8",
    "application/json; charset=latin-1",
    "text/plain",
    "application/x-www-form-urlencoded",
    "multipart/form-data; boundary=x",
    "application/octet-stream",
    "nonsense",
)
BODY: dict[str, Any] = {"name": "crème", "unknown": 1}


def _offered(service: str) -> dict[str, set[str]]:
    """The methods that are documented, by path."""
    found: dict[str, set[str]] = {}
    for operation in OPERATIONS:
        if operation.service == service:
            found.setdefault(operation.somewhere, set()).add(operation.method)
    return found


@pytest.mark.parametrize("service", SERVICES)
async def test_a_method_that_is_not_offered_is_405_with_those_that_are(
    service: str, make_service: Any, token_for: Any
) -> None:
    running, token = await make_service(service), token_for()
    for path, offered in _offered(service).items():
        allowed = ", ".join(sorted(offered | {"OPTIONS"}))
        for who in (None, token):
            for method in METHODS:
                if method in offered:
                    continue
                answer = await running.ask(method, path, token=who)
                assert (answer.status, answer.headers["Allow"]) == (405, allowed), (method, path)
                if method != "HEAD":
                    assert answer.json["code"] == "request.method_not_allowed"
            answer = await running.ask("OPTIONS", path, token=who)
            assert (answer.status, answer.headers["Allow"], answer.body) == (204, allowed, b"")
    assert DOCUMENTS[service]["info"]["description"] == ABOUT


@pytest.mark.parametrize("service", SERVICES)
async def test_a_body_is_json_in_utf8_whatever_it_is_called(
    service: str, make_service: Any, token_for: Any
) -> None:
    running, token = await make_service(service), token_for()
    for operation in OPERATIONS:
        if operation.service != service or operation.body is None:
            continue
        path = operation.somewhere
        for kind in KINDS:
            headers = {"Content-Type": kind or "", "If-Match": '"1"'}
            for body, status in (
                (encode(BODY), 422),
                (encode(BODY).decode().encode("latin-1"), 400),
                (encode(BODY).decode().encode("utf-16"), 400),
                (b"name=cr%C3%A8me", 400),
            ):
                answer = await running.ask(
                    operation.method, path, token=token, body=body, headers=headers
                )
                assert answer.status == status, (str(operation), kind, body, answer.body)
                assert answer.headers["Content-Type"] == "application/problem+json"
