"""Statements that forgot for whom they run: the tenant's condition taken out of each of them."""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from restock.kernel.database import Tx

# workspace_id = $1, r.buyer_workspace_id = $1, account_id = $1, user_id = ANY($1); not the
# conditions that join one table to another
CONDITION = re.compile(
    r"(?<![\w.])((?:\w+\.)?(?:\w+_)?(?:workspace_id|account_id|user_id))"
    r"\s*=\s*(\$\d+|ANY\s*\(\$\d+\))"
)


def without_tenant(sql: str) -> tuple[str, int]:
    """The statement with conditions that hold for every row instead, and how many there were.

    Each still names its parameter, whose number and type must stay.
    """
    return CONDITION.subn(r"((\1 = \2) IS NOT NULL)", sql)


@contextmanager
def forgetful(monkeypatch: pytest.MonkeyPatch) -> Iterator[Counter[str]]:
    """Every statement of every service without them; which they were."""
    taken: Counter[str] = Counter()
    call = Tx._call

    async def forgetful_call(tx: Tx, method: str, sql: str, args: tuple[Any, ...]) -> Any:
        changed, number = without_tenant(sql)
        if number:
            taken[" ".join(sql.split())] += 1
        return await call(tx, method, changed, args)

    with monkeypatch.context() as patch:
        patch.setattr(Tx, "_call", forgetful_call)
        yield taken
