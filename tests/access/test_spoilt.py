"""A good body of every operation with one thing wrong in it: refused, and nothing has changed."""

from collections.abc import Iterator
from typing import Any

import pytest

from restock.kernel.wire import encode
from tests.access.calls import LINES, Line, call_of
from tests.access.stage import Stage
from tests.fixtures.figures import Figures

WITH_BODY = [line for line in LINES if line.operation.body is not None]
NUL = "a\0b"


def texts(body: Any, pointer: str = "") -> Iterator[tuple[str, Any]]:
    """A text with a NUL in place of each text in it; its pointer, and the whole body."""
    for name, value in body.items():
        if isinstance(value, str):
            yield f"{pointer}/{name}", body | {name: NUL}
        elif isinstance(value, list):
            for place, changed in texts(value[0], f"{pointer}/{name}/0"):
                yield place, body | {name: [changed]}


def twice(body: Any) -> Iterator[bytes]:
    """Each member once more, with the value it has: whichever counts, the body is good."""
    whole = encode(body)
    for name, value in body.items():
        yield whole[:-1] + b"," + encode({name: value})[1:]
        if isinstance(value, list):
            for inner in twice(value[0]):
                yield encode(body | {name: []}).replace(b"[]", b"[" + inner + b"]")


@pytest.mark.parametrize("line", WITH_BODY, ids=str)
async def test_a_good_body_with_one_thing_wrong_is_refused(
    stage: Stage, line: Line, figures: Figures
) -> None:
    who = stage.caller("buyer" if line.name == "contact_vendor" else "admin")
    call = call_of(stage, line)
    good, headers = call.more["json"], call.more.get("headers", {})

    async def ask(body: bytes) -> Any:
        operation = call.operation
        return await stage.ask(
            line.service, who, operation.method, call.path, body=body, headers=headers
        )

    before, tried = await stage.digest(line.service), 0
    for body in twice(good):
        answer = await ask(body)
        assert answer.status == 400, (body, answer.body)
        assert answer.json["code"] == "request.malformed"
        tried += 1
    for pointer, changed in texts(good):
        answer = await ask(encode(changed))
        assert answer.status == 422, (pointer, answer.body)
        assert [error["pointer"] for error in answer.json["errors"]] == [pointer]
        tried += 1
    assert tried
    assert await stage.digest(line.service) == before
    assert (await ask(encode(good))).status < 300, "it was the one thing"
    await stage.make_things(line.service)
    figures.add("good bodies spoilt", tried)
