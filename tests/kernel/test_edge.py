"""The edge: who may come in, what is committed, what a key does."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import pytest
from multidict import CIMultiDict

from restock.kernel.ids import new_id
from restock.kernel.service import Context
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for
from tests.kernel.conftest import MakeSample

PATH = "/api/notes"


async def texts(notes: RunningService) -> list[str]:
    return [row["text"] for row in await notes.fetch("SELECT text FROM notes ORDER BY number")]


async def test_an_answer_is_committed_before_it_arrives(notes: RunningService) -> None:
    made = await notes.ask("POST", PATH, token=token_for(), json={"text": "a", "amount": 1.5})
    assert made.status == 201
    assert made.json == {"number": 1, "text": "a", "amount": 1.5}
    assert made.headers["Location"] == "/api/notes/1"
    assert await texts(notes) == ["a"]


async def test_a_refusal_undoes_what_was_written(notes: RunningService) -> None:
    refused = await notes.ask("POST", PATH + ":refused", token=token_for(), json={"text": "a"})
    assert refused.status == 409
    assert refused.headers["Content-Type"] == "application/problem+json"
    assert refused.json["code"] == "notes.text_taken"
    assert refused.json["available"] == 2.5
    assert refused.json["requestId"] == refused.headers["X-Request-Id"]
    assert await texts(notes) == []


async def test_a_refusal_may_leave_a_trace(notes: RunningService) -> None:
    refused = await notes.ask("POST", PATH + ":traced", token=token_for(), json={"text": "a"})
    assert refused.status == 409
    assert await texts(notes) == ["a"]


async def test_no_trace_leaves_a_key_claimed_without_an_answer(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    path = PATH + ":traced-early"
    for _ in range(2):
        refused = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
        assert refused.status == 428
    assert await texts(notes) == []
    refused = await notes.ask("POST", path, token=token, json={"text": "a"})
    assert (refused.status, await texts(notes)) == (428, ["a"])


async def test_a_bug_is_a_500_without_its_details_and_undoes_everything(
    notes: RunningService,
) -> None:
    broken = await notes.ask("POST", PATH + ":broken", token=token_for(), json={"text": "a"})
    assert broken.status == 500
    assert broken.json["code"] == "request.internal"
    assert b"a bug" not in broken.body
    assert await texts(notes) == []


async def test_a_commit_that_fails_is_a_503(notes: RunningService) -> None:
    lost = await notes.ask("POST", PATH + ":lost", token=token_for(), json={"text": "a"})
    assert lost.status == 503
    assert lost.headers["Retry-After"] == "1"
    assert await texts(notes) == []


@pytest.mark.parametrize("header", ["", "Bearer", "Basic abc", "Bearer a.b.c", "Bearer \xff"])
async def test_no_token_is_a_401(notes: RunningService, header: str) -> None:
    answer = await notes.ask("GET", PATH, headers={"Authorization": header} if header else {})
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"] == "Bearer"


async def test_a_revoked_session_is_refused_also_when_its_token_is_known(
    notes: RunningService,
) -> None:
    session_id = new_id()
    token = token_for(session_id=session_id)
    assert (await notes.ask("GET", PATH, token=token)).status == 200
    principal = await notes.context.verifier.verify(token)
    notes.context.verifier.revocations.add(session_id, principal.expires_at)
    assert (await notes.ask("GET", PATH, token=token)).status == 401


async def test_nobody_comes_in_before_revocations_were_read(notes: RunningService) -> None:
    notes.context.verifier.revocations.ready = False
    assert (await notes.ask("GET", PATH, token=token_for())).status == 503
    assert (await notes.ask("GET", "/health")).status == 503


async def test_unknown_paths_and_methods_are_problems(notes: RunningService) -> None:
    missing = await notes.ask("GET", "/api/nothing", token=token_for())
    assert (missing.status, missing.json["code"]) == (404, "request.not_found")
    wrong = await notes.ask("DELETE", "/api/open")
    assert (wrong.status, wrong.json["code"]) == (405, "request.method_not_allowed")
    for path in ("/api/open/", "/api//open", "//api/open"):
        assert (await notes.ask("GET", path)).status == 404, path
    no_id = await notes.ask("GET", PATH + "/not-a-uuid", token=token_for())
    assert no_id.status == 404
    assert (await notes.ask("GET", "/api/open")).json == {"open": "yes"}


async def test_a_key_gives_the_first_answer_again(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    first = await notes.ask("POST", PATH, token=token, json={"text": "a"}, headers=headers)
    again = await notes.ask("POST", PATH, token=token, json={"text": "a"}, headers=headers)
    assert (first.status, first.body) == (again.status, again.body)
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert await texts(notes) == ["a"]


async def test_a_kept_answer_is_its_accounts_own(notes: RunningService) -> None:
    """Neither a colleague nor a stranger is given it, or told by a 422 that the key was used."""
    workspace_id, headers = new_id(), {"Idempotency-Key": "k1"}
    tokens = [token_for(workspace_id=workspace_id) for _ in range(2)] + [token_for()]
    for number, token in enumerate(tokens):
        made = await notes.ask(
            "POST", PATH, token=token, json={"text": str(number)}, headers=headers
        )
        assert made.status == 201
        assert made.json["text"] == str(number)
        assert "Idempotent-Replayed" not in made.headers


async def test_what_is_undone_under_a_key_tells_nobody(notes: RunningService) -> None:
    told: list[str] = []
    async with notes.context.database.tx() as tx:
        await tx.execute("SELECT 1")
        tx.after_commit(lambda: told.append("undone"))
        await tx.savepoint()
        await tx.rollback_to_savepoint()  # as the edge does before it keeps a refusal
        tx.after_commit(lambda: told.append("kept"))
    assert told == ["kept"]


async def test_a_key_is_refused_for_another_request(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    await notes.ask("POST", PATH, token=token, json={"text": "a"}, headers=headers)
    other = await notes.ask("POST", PATH, token=token, json={"text": "b"}, headers=headers)
    assert (other.status, other.json["code"]) == (422, "request.idempotency_key_reused")
    path = PATH + ":refused"
    elsewhere = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
    assert elsewhere.status == 422
    assert await texts(notes) == ["a"]


async def test_a_key_belongs_to_its_account(notes: RunningService) -> None:
    headers = {"Idempotency-Key": "k1"}
    for _ in range(2):
        made = await notes.ask("POST", PATH, token=token_for(), json={"text": "a"}, headers=headers)
        assert made.status == 201
    assert await texts(notes) == ["a", "a"]


async def test_a_refusal_is_kept_too_and_a_500_is_not(notes: RunningService) -> None:
    token = token_for()
    headers = {"Idempotency-Key": "k1"}
    path = PATH + ":refused"
    first = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
    again = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
    assert first.status == again.status == 409
    assert first.body == again.body
    headers = {"Idempotency-Key": "k2"}
    for _ in range(2):
        broken = await notes.ask(
            "POST", PATH + ":broken", token=token, json={"text": "a"}, headers=headers
        )
        assert broken.status == 500
        assert "Idempotent-Replayed" not in broken.headers
    assert await texts(notes) == []


async def test_concurrent_duplicates_have_one_effect(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    answers = await asyncio.gather(
        *(
            notes.ask("POST", PATH, token=token, json={"text": "a"}, headers=headers)
            for _ in range(8)
        )
    )
    assert {(answer.status, answer.body) for answer in answers} == {
        (201, b'{"number":1,"text":"a","amount":0}')
    }
    assert await texts(notes) == ["a"]


@pytest.mark.parametrize("key", ["", "a b", "x" * 201, "\xe4"])
async def test_a_key_that_is_none_is_refused(notes: RunningService, key: str) -> None:
    answer = await notes.ask(
        "POST", PATH, token=token_for(), json={"text": "a"}, headers={"Idempotency-Key": key}
    )
    assert answer.status == 422
    assert await texts(notes) == []


async def test_a_ledger_key_reaches_the_operation(notes: RunningService) -> None:
    answer = await notes.ask(
        "POST",
        PATH + ":ledger",
        token=token_for(),
        json={"text": "a"},
        headers={"Idempotency-Key": "k1"},
    )
    text, key, digest = answer.json["text"].split("/")
    assert (text, key, len(digest)) == ("a", "k1", 64)


async def test_an_error_swallowed_on_the_way_is_never_acknowledged(notes: RunningService) -> None:
    answer = await notes.ask("POST", PATH + ":swallowed", token=token_for(), json={"text": "a"})
    assert (answer.status, answer.json["code"]) == (500, "request.internal")
    assert await texts(notes) == []


async def test_what_fails_after_the_commit_does_not_unsay_it(notes: RunningService) -> None:
    answer = await notes.ask("POST", PATH + ":noisy", token=token_for(), json={"text": "a"})
    assert answer.status == 201
    assert await texts(notes) == ["a"]


@pytest.mark.parametrize("amount", ["10000", "100000", "500000000", "1e8", "10000.5"])
async def test_an_amount_comes_back_in_plain_digits(notes: RunningService, amount: str) -> None:
    body = b'{"text":"a","amount":%s}' % amount.encode()
    made = await notes.ask("POST", PATH, token=token_for(), body=body)
    assert made.body == b'{"number":1,"text":"a","amount":%s}' % (
        {"1e8": "100000000"}.get(amount, amount).encode()
    )


async def test_half_a_body_does_not_use_up_its_key(notes: RunningService) -> None:
    token, whole = token_for(), b'{"text":"a"}'
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
        f"Idempotency-Key: k1\r\nContent-Length: {len(whole)}\r\n\r\n"
    )
    host, _, port = notes.url.removeprefix("http://").partition(":")
    _reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(head.encode() + whole[:5])
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    made = await notes.ask("POST", PATH, token=token, body=whole, headers={"Idempotency-Key": "k1"})
    assert made.status == 201


@asynccontextmanager
async def gate(_context: Context) -> AsyncIterator[asyncio.Event]:
    yield asyncio.Event()


async def test_a_key_holds_no_connection_before_the_first_statement(
    make_sample: MakeSample,
) -> None:
    notes = await make_sample(open=gate, pool_size="1")
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    waiting = [
        asyncio.create_task(
            notes.ask("POST", PATH + ":slow", token=token, json={"text": "a"}, headers=headers)
        )
        for _ in range(4)
    ]
    for _ in range(20):
        assert (await notes.ask("GET", PATH, token=token)).status == 200
    notes.context.resources.set()
    answers = await asyncio.gather(*waiting)
    assert {(answer.status, answer.body) for answer in answers} == {
        (201, b'{"number":1,"text":"a","amount":0}')
    }
    assert await texts(notes) == ["a"]


async def test_a_refusal_for_its_headers_leaves_the_key_good(notes: RunningService) -> None:
    token, headers = token_for(), {"Idempotency-Key": "k1"}
    path = PATH + ":headers"
    refused = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
    assert refused.status == 428
    headers["If-Match"] = '"1"'
    made = await notes.ask("POST", path, token=token, json={"text": "a"}, headers=headers)
    assert made.status == 201


async def test_a_busy_pool_is_not_a_database_that_is_away(make_sample: MakeSample) -> None:
    notes = await make_sample(pool_size="1")
    async with notes.context.database.tx() as tx:
        await tx.execute("SELECT 1")
        health = await notes.ask("GET", "/health")
        assert health.json["checks"]["database"] == "ok"


async def test_a_request_has_one_idempotency_key(notes: RunningService) -> None:
    headers = [("Authorization", f"Bearer {token_for()}"), ("Idempotency-Key", "k1")]
    async with aiohttp.ClientSession() as session:
        for key in ("k1", "k2"):
            sent = CIMultiDict([*headers, ("Idempotency-Key", key)])
            async with session.post(notes.url + PATH, json={"text": "a"}, headers=sent) as answer:
                assert answer.status == 422
                assert (await answer.json())["code"] == "request.bad_idempotency_key"
    assert await notes.fetchval("SELECT count(*) FROM notes") == 0
