"""What the service's own role may do to its tables, and what never leaves them."""

import base64
from typing import Any

import asyncpg
import pytest

from tests.auth.conftest import PASSWORD, Auth

FORBIDDEN = [
    "UPDATE accounts SET role = 'admin'",
    "UPDATE accounts SET email = 'x@example.org'",
    "UPDATE accounts SET workspace_id = uuidv7()",
    "DELETE FROM accounts",
    "UPDATE workspaces SET name = 'x'",
    "UPDATE members SET role = 'owner'",
    "DELETE FROM members",
    "UPDATE sessions SET account_id = uuidv7()",
    "UPDATE sessions SET created_at = now()",
    "UPDATE sessions SET id = uuidv7()",
    "UPDATE signing_keys SET kid = 'x'",
    "UPDATE signing_keys SET public_jwk = '{}'",
    "UPDATE secrets SET value = value",
    "DELETE FROM secrets",
    "UPDATE outbox SET data = '{}'",
    "TRUNCATE sessions",
    "CREATE TABLE mine (id int)",
    "ALTER TABLE accounts ADD COLUMN x int",
    "DROP TABLE accounts",
]


async def test_the_service_may_do_no_more_than_it_does(auth: Auth) -> None:
    for statement in FORBIDDEN:
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await auth.service.execute(statement)


async def test_no_secret_is_in_any_answer(auth: Auth) -> None:
    answers = [await auth.register("ada@example.org"), await auth.register("ada@example.org")]
    answers += [await auth.login("ada@example.org"), await auth.login("ada@example.org", "x" * 12)]
    token, refresh_token = answers[0].json["token"], answers[0].json["refreshToken"]
    answers += [await auth.refresh(refresh_token), await auth.refresh("rr1." + "A" * 72)]
    for path in ("/api/auth/verify", "/api/auth/sessions", "/.well-known/jwks.json", "/health"):
        answers.append(await auth.ask("GET", path, token=token))
    answers.append(await auth.ask("GET", "/metrics"))
    answers.append(await auth.register("bob@example.org", password="short"))
    answers.append(await auth.ask("POST", "/api/auth/login", json={"password": PASSWORD}))
    answers.append(await auth.ask("POST", "/api/auth/logout", token=token))
    told = b"\n".join(answer.body + str(dict(answer.headers)).encode() for answer in answers)
    told += str([dict(row) for row in await auth.service.fetch("SELECT * FROM outbox")]).encode()
    for secret in await secrets(auth):
        assert secret not in told


async def secrets(auth: Auth) -> list[bytes]:
    """Everything in the tables that must never leave them, in the spellings it might leave in."""
    row: Any = await auth.owner.fetchrow(
        "SELECT (SELECT password_hash FROM accounts) AS hash,"
        " (SELECT array_agg(private_pem) FROM signing_keys) AS pems,"
        " (SELECT array_agg(value) FROM secrets) AS values"
    )
    assert len(row["pems"]) == 2  # the key that signs, and the next one
    found = [PASSWORD.encode(), row["hash"].encode(), row["hash"].rpartition("$")[2].encode()]
    for pem in row["pems"]:
        body = pem.splitlines()[1:-1]
        number = base64.b64decode("".join(body))[36:68]
        found += [body[0].encode(), *_in_base64(number)]
    for value in row["values"]:
        found += [value, value.hex().encode(), *_in_base64(value)]
    return [*found, b"password_hash", b"private_pem"]


def _in_base64(raw: bytes) -> list[bytes]:
    return [
        base64.b64encode(raw).rstrip(b"="),
        base64.urlsafe_b64encode(raw).rstrip(b"="),
    ]
