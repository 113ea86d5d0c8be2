"""Strangers at the door: sign-ins from addresses of their own choice, and what was hashed."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from restock.auth.hashing import Hashing as Process
from tests.auth.conftest import PASSWORD, Auth
from tests.fixtures.running import Answered

WRONG = "not the password"
HOME = "192.0.2.1"
STRANGER = "203.0.113.66"
ACCOUNT_MOST, ADDRESS_MOST = 10, 50  # the settings' defaults


async def sign_in(
    auth: Auth, address: str, email: str = "ada@example.org", password: str = PASSWORD
) -> Answered:
    return await auth.login(email, password, **{"X-Forwarded-For": address})


async def guess(auth: Auth, address: str, email: str = "ada@example.org") -> Answered:
    return await sign_in(auth, address, email, WRONG)


async def statuses(auth: Auth, times: int, address: str, email: str = "ada@example.org") -> Any:
    """What so many guesses in a row are answered."""
    return [(await guess(auth, address, email)).status for _ in range(times)]


def refused(answer: Answered) -> int:
    """For how many seconds this answer refuses guesses."""
    assert (answer.status, answer.json.get("code")) == (429, "auth.too_many_guesses"), answer.body
    return int(answer.headers["Retry-After"])


async def settle(auth: Auth, email: str, home: str = HOME) -> Answered:
    """Somebody makes an account at home."""
    body = {"email": email, "name": "Ada", "password": PASSWORD}
    headers = {"X-Forwarded-For": home}
    answer = await auth.ask("POST", "/api/auth/register", json=body, headers=headers)
    assert answer.status == 201
    return answer


async def settle_many(auth: Auth, number: int) -> list[str]:
    """So many accounts, signed in nowhere yet; their e-mails."""
    await settle(auth, "first@example.org")
    await auth.owner.execute(
        """
        WITH fresh AS (
            SELECT uuidv7() AS id, uuidv7() AS workspace_id, number
            FROM generate_series(1, $1) AS number
        ), workspace AS (
            INSERT INTO workspaces (id, name) SELECT workspace_id, 'Many' FROM fresh
        ), account AS (
            INSERT INTO accounts (id, workspace_id, email, name, role, password_hash)
            SELECT fresh.id, fresh.workspace_id, 'many' || number || '@example.org', 'Many',
                   'user', first.password_hash
            FROM fresh, accounts AS first
        )
        INSERT INTO members (workspace_id, account_id, role)
        SELECT workspace_id, id, 'owner' FROM fresh
        """,
        number,
    )
    return [f"many{place}@example.org" for place in range(1, number + 1)]


async def wait_over(auth: Auth) -> None:
    """Let every refusal that is running end."""
    await auth.owner.execute(
        "UPDATE sign_in_failures SET refused_until = now() WHERE refused_until > now()"
    )


async def age(auth: Auth, table: str, column: str, days: float) -> None:
    """Let time pass for the rows of a table."""
    await auth.owner.execute(
        f"UPDATE {table} SET {column} = {column} - $1::interval", timedelta(days=days)
    )


async def counted(auth: Auth) -> list[int]:
    """How many failures each counter has, the least first."""
    rows = await auth.service.fetch("SELECT failures FROM sign_in_failures ORDER BY failures")
    return [row["failures"] for row in rows]


class Hashing:
    """Passwords that were really looked at; a right one may be held back for a while."""

    def __init__(self) -> None:
        self.looked_at = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.held = asyncio.Event()

    @contextmanager
    def watched(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
        verify = Process.verify

        async def watch(process: Process, stored: str, password: str) -> bool:
            self.looked_at += 1
            if password == PASSWORD and not self.gate.is_set():
                self.held.set()
                await asyncio.wait_for(self.gate.wait(), 30)
            return await verify(process, stored, password)

        with monkeypatch.context() as patch:
            patch.setattr(Process, "verify", watch)
            try:
                yield
            finally:
                self.gate.set()
