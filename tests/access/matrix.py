"""The matrix, played: each line of the policy by each of its callers."""

import json
from collections import Counter

from restock.kernel.ids import new_id
from tests.access.calls import PARAMETER, Call, Line, call_of
from tests.access.stage import CANARY, Person, Stage
from tests.fixtures.running import Answered

NO_TOKENS = (None, "", "nonsense", "a.b.c")
# whose answers may show what is the owner's
INSIDERS = {"colleague", "user", "vendor", "admin", "buyer"}
IDS = {"item_id", "notification_id", "request_id", "session_id", "vendor_id"}


async def play(
    stage: Stage, line: Line, counted: Counter[str], refusal: str = "auth.unauthenticated"
) -> list[str]:
    """What was wrong, in words; every refused call must have left every row as it was.

    `refusal` is the code that is told to whoever has no token.
    """
    wrong = []
    for name, expected in line.expected.items():
        who = stage.caller(name)
        call = call_of(stage, line)
        before = await stage.digest(line.service)
        owners = await stage.digest(line.service, of=stage.people["owner"])
        answer = await _ask(stage, call, who)
        counted["calls in the matrix"] += 1
        said = f"{line} by {name}"
        if answer.status != expected:
            wrong.append(f"{said}: {answer.status} instead of {expected}: {answer.body!r}")
        if answer.status >= 400 and await stage.digest(line.service) != before:
            wrong.append(f"{said}: refused with {answer.status}, and yet something changed")
        if name not in INSIDERS:
            if CANARY.encode() in answer.body:
                wrong.append(f"{said}: the answer shows what is the owner's")
            is_public = line.operation.is_public or line.name == "change_vendor:activity"
            after = await stage.digest(line.service, of=stage.people["owner"])
            if not is_public and after != owners:
                wrong.append(f"{said}: the owner's rows are not as they were")
        if answer.status == 401 and name == "nobody":
            wrong += await _in_vain(stage, line, call, refusal)
        if answer.status == 404 and who is not None:
            wrong += await _unlike_nothing(stage, line, who, answer, said)
        if answer.status < 300 and line.operation.method != "GET":
            await stage.make_things(line.service)
    return wrong


async def _in_vain(stage: Stage, line: Line, call: Call, code: str) -> list[str]:
    """What is no token at all is refused like none."""
    wrong = []
    for token in NO_TOKENS:
        answer = await stage.services[line.service].ask(
            call.operation.method, call.path, token=token, **call.more
        )
        said = (answer.status, answer.json["code"], answer.headers["WWW-Authenticate"])
        if said != (401, code, "Bearer"):
            wrong.append(f"{line} with the token {token!r}: {said}")
    return wrong


async def _unlike_nothing(
    stage: Stage, line: Line, who: Person, answer: Answered, said: str
) -> list[str]:
    """Asked for what is nowhere, the same must be said, byte for byte but the request's id."""
    named = IDS & set(PARAMETER.findall(line.operation.path))
    if line.name == "contact_vendor":  # the item in its body is what isn't the caller's
        return []
    assert named, f"{line} is 404 by no id"
    nowhere = call_of(stage, line, **{name: new_id() for name in named})
    other = await _ask(stage, nowhere, who)
    if _without_id(answer) != _without_id(other):
        return [f"{said}: {answer.body!r} tells a foreign thing from none: {other.body!r}"]
    return []


async def _ask(stage: Stage, call: Call, who: Person | None) -> Answered:
    return await stage.ask(
        call.operation.service, who, call.operation.method, call.path, **call.more
    )


def _without_id(answer: Answered) -> tuple[int, bytes, dict[str, str]]:
    request_id = json.dumps(answer.json["requestId"]).encode()
    headers = {
        name.lower(): value
        for name, value in answer.headers.items()
        if name.lower() not in {"x-request-id", "date"}
    }
    return answer.status, answer.body.replace(request_id, b'""'), headers
