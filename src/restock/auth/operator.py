"""What an operator does to auth from a command, without HTTP."""

from datetime import timedelta
from functools import partial
from uuid import UUID

from restock.auth import keys, operations
from restock.auth.domain import password_problem
from restock.auth.passwords import hash_password
from restock.kernel.database import Database
from restock.kernel.faults import FieldError, Invalid
from restock.kernel.revision import require_served


async def create_admin(
    database_url: str, *, email: str, password: str, name: str | None = None
) -> UUID:
    """Make an account of role admin; its id. `name` is the part before the @ unless given.

    Raises Invalid for an e-mail address or a password that would be refused at registration,
    EmailTaken, and DatabaseAway.
    """
    problem = password_problem(password)
    if problem is not None:
        raise Invalid(errors=[FieldError("/password", problem)])
    database = _database(database_url, "restock account")
    try:
        async with database.tx() as tx:
            account = await operations.create_admin(
                tx,
                email=email,
                name=name or email.partition("@")[0],
                password_hash=hash_password(password),
            )
    finally:
        await database.close()
    return account.id


async def rotate_keys(database_url: str, *, public_for: timedelta) -> str | None:
    """Let the next signing key sign from now on; its kid.

    None when it hasn't been public for so long: not everybody has read it. Raises DatabaseAway.
    """
    database = _database(database_url, "restock keys")
    try:
        async with database.tx() as tx:
            return await keys.rotate(tx, signed_for=timedelta(0), public_for=public_for)
    finally:
        await database.close()


async def replace_keys(database_url: str) -> None:
    """Forget every signing key for fresh ones. Raises DatabaseAway."""
    database = _database(database_url, "restock keys")
    try:
        async with database.tx() as tx:
            await keys.replace(tx)
    finally:
        await database.close()


def _database(url: str, application: str) -> Database:
    """It is away for a program that its tables don't serve."""
    return Database(url, size=1, application=application, admit=partial(require_served, "auth"))
