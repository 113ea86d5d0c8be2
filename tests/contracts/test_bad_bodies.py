"""Bodies no operation can want, sent to each that takes one: refused as a 4xx problem, never a 500.

What single fields may hold is in the services' own test_bad_input.
"""

from typing import Any
from uuid import uuid4

import pytest

from restock.kernel.ids import new_id
from tests.conftest import MakeService
from tests.contracts.operations import OPERATIONS
from tests.fixtures.figures import Figures
from tests.fixtures.tokens import token_for

MIB = 1024 * 1024
DEEP = MIB // 2  # as deep as a body that isn't too large can be
BODIES: dict[str, bytes] = {
    "nothing": b"",
    "no JSON": b"{",
    "deep arrays": b"[" * DEEP + b"]" * DEEP,
    "deep objects": b'{"a":' * (DEEP // 4) + b"1" + b"}" * (DEEP // 4),
    "deep and open": b"[" * DEEP,
    "bad UTF-8": b'{"name": "\xff\xfe", "reason": "\xc3\x28"}',
    "overlong UTF-8": b'{"name": "\xc0\xaf"}',
    "lone surrogates": b'{"name": "\\ud800", "reason": "\\udfff", "email": "\\ud800@x.org"}',
    "raw surrogates": b'{"name": "\xed\xa0\x80"}',
    "a byte order mark": b"\xef\xbb\xbf{}",
    "UTF-16": '{"name": "x"}'.encode("utf-16"),
    "NaN": b'{"quantity": NaN, "delta": Infinity, "minThreshold": -Infinity}',
    "huge exponents": b'{"quantity": 1e400, "delta": -1E+999999999, "minThreshold": 1e-999999}',
    "10^400": b'{"quantity": 1' + b"0" * 400 + b', "delta": 1' + b"0" * 400 + b"}",
    "2^63": b'{"quantity": 9223372036854775808, "expectedVersion": 9223372036854775808}',
    "300,000 digits": b'{"quantity": ' + b"9" * 300_000 + b"}",
    "a NUL": b'{"name": "a\\u0000b", "reason": "\\u0000", "email": "\\u0000@x.org"}',
    "a raw NUL": b'{"name": "a\x00b"}',
    "the same key twice": b'{"delta": 1, "delta": "x", "quantity": 1, "quantity": []}',
    "70,000 keys": b"{" + b",".join(b'"k%d":0' % n for n in range(70_000)) + b"}",
    "null": b"null",
    "a number": b"5",
    "a text": b'"x"',
    "comments": b'{/* x */ "name": "x"}',
    "more after it": b"{} {}",
    "strange members": b'{"__proto__": {"role": "admin"}, "constructor": 1, "": null}',
    "the last byte too many": b'"' + b"x" * (MIB - 1) + b'"',
}
REFUSED = {400, 404, 413, 415, 422, 428}


TAKING = [operation for operation in OPERATIONS if "requestBody" in operation.described]


@pytest.mark.parametrize("service", ["auth", "inventory", "vendor", "notification"])
async def test_no_body_is_a_500(make_service: MakeService, service: str, figures: Figures) -> None:
    running = await make_service(service)
    token, asked = token_for(user_id=new_id(), workspace_id=new_id()), 0
    for operation in (each for each in TAKING if each.service == service):
        url = operation.somewhere
        own: dict[str, Any] = {} if operation.is_public else {"token": token}
        for what, body in BODIES.items():
            headers = {"If-Match": '"1"', "Idempotency-Key": uuid4().hex}
            answer = await running.ask(operation.method, url, body=body, headers=headers, **own)
            assert answer.status in REFUSED, f"{operation}: {what} is {answer.status}"
            assert answer.headers["Content-Type"] == "application/problem+json"
            assert answer.json["code"]
            asked += 1
    assert (await running.ask("GET", "/health")).json["checks"]["database"] == "ok"
    figures.add("bodies that are none refused", asked)
