"""Statements that forgot for whom they run: the tenant's condition taken out of each of them."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from restock.kernel.database import Tx

# A column that says whose a row is: workspace_id, r.buyer_workspace_id, account.id
TENANT = (
    r"(?:(?:\w+\.)?(?:\w+_)?(?:workspace_id|account_id|user_id)|(?:accounts?|workspaces?)\.id)"
    r"(?![\w.])"
)
# workspace_id = $1, r.buyer_workspace_id = $1, account_id = $1, user_id = ANY($1); not the
# conditions that join one table to another
CONDITION = re.compile(rf"(?<![\w.])({TENANT})\s*=\s*(\$\d+|ANY\s*\(\$\d+\))")
JOIN = re.compile(rf"(?<![\w.]){TENANT}\s*=\s*{TENANT}")
# What a parameter is called where it takes the part of a table: $1 AS user_id, unnest($1) d (…)
CALLED = re.compile(
    rf"\$\d+(?:::[\w\[\]]+)?\s+AS\s+({TENANT})"
    rf"|unnest\s*\([^()]*\)[\w\s]*\([^()]*?(?<![\w.])({TENANT})[^()]*\)",
    re.IGNORECASE,
)
WORD = re.compile(r"'(?:[^']|'')*'|[\w.$]+|\S")
BEGIN_CONDITION = {"WHERE", "ON", "USING", "HAVING"}
END_CONDITION = {
    "CONFLICT", "DO", "FOR", "FROM", "GROUP", "JOIN", "LIMIT", "ORDER", "RETURNING", "SELECT",
    "SET", "UNION", "VALUES",
}  # fmt: skip
# Statements that have to do with a tenant in another way, by a part of them, and why.
OTHERWISE = {
    "INSERT INTO feeds AS f": "adds to the feeds of the accounts in an event, reads what it added",
    "INSERT INTO vendor_people (user_id, vendor_id)": "adds a row for each account in an event",
}


@dataclass
class Forgotten:
    """Statements without the conditions that were taken out of them, and those nothing could be
    taken out of though they name a tenant in a condition.
    """

    taken: Counter[str] = field(default_factory=Counter)
    closed: set[str] = field(default_factory=set)


def without_tenant(sql: str) -> tuple[str, int]:
    """The statement with conditions that hold for every row instead, and how many there were.

    Each still names its parameter, whose number and type must stay.
    """
    return CONDITION.subn(r"((\1 = \2) IS NOT NULL)", sql)


def closed(sql: str) -> list[str]:
    """The columns of tenants in conditions that `without_tenant` doesn't know, however written.

    A statement with one is not opened by it: its own condition would hold what the wall should.
    """
    if any(part in sql for part in OTHERWISE):
        return []
    rest = CONDITION.sub("true", re.sub(r"--[^\n]*", "", sql))
    found = [one or other for one, other in CALLED.findall(rest)]
    rest = JOIN.sub("true", rest)
    outside: list[bool] = []
    inside = False
    for word in WORD.findall(re.sub(r"(?i)distinct\s+from", "=", rest)):
        if word == "(":
            outside.append(inside)
        elif word == ")":
            inside = outside.pop()
        elif word.upper() in BEGIN_CONDITION | END_CONDITION:
            inside = word.upper() in BEGIN_CONDITION
        elif inside and re.fullmatch(TENANT, word):
            found.append(word)
    return found


@contextmanager
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Forgotten]:
    """Every statement of every service without them."""
    forgotten = Forgotten()
    call = Tx._call

    async def forgetful_call(tx: Tx, method: str, sql: str, args: tuple[Any, ...]) -> Any:
        changed, number = without_tenant(sql)
        if number:
            forgotten.taken[" ".join(sql.split())] += 1
        # while nobody is known yet, at sign-in, there is no tenant to forget
        if closed(sql) and not tx.tenant.everybody:
            forgotten.closed.add(" ".join(sql.split()))
        return await call(tx, method, changed, args)

    with monkeypatch.context() as patch:
        patch.setattr(Tx, "_call", forgetful_call)
        yield forgotten
