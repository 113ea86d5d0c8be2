"""`restock account`: what only the operator may do with accounts.

It works on auth's database, not through the API: who may read the operator's settings may do it.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import asyncpg
import click

from restock import system
from restock.cli.databases import given_url, service_variable
from restock.cli.options import data_dir_option
from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.kernel.database import DatabaseAway
from restock.kernel.faults import Fault
from restock.kernel.settings import environment

DATABASE_URL = service_variable("auth")
REFUSALS = (asyncpg.PostgresError, asyncpg.InterfaceError)


@click.group()
def account() -> None:
    """Accounts, for the operator."""


@account.command("create-admin")
@click.argument("email")
@click.option("--name", help="The account's name. [default: what stands before the @]")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)
@data_dir_option(f"The system meant, unless {DATABASE_URL} names auth's database.")
def create_admin(email: str, name: str | None, password_stdin: bool, data_dir: Path) -> None:
    """Make an account of role admin with this EMAIL; the API never does."""
    try:
        if password_stdin:
            password = sys.stdin.buffer.readline().decode("utf-8").rstrip("\r\n")
        else:
            password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
        for text in (email, name or "", password):
            text.encode("utf-8")
    except UnicodeError:
        raise click.ClickException("the e-mail, the name or the password is not UTF-8") from None
    try:
        made = asyncio.run(_create(database_url(data_dir), email, name, password))
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    except (DatabaseAway, OSError, ValueError, *REFUSALS) as error:
        raise click.ClickException(why(error, data_dir)) from error
    except Fault as fault:
        fields = "; ".join(error.message for error in fault.errors)
        raise click.ClickException(fields or str(fault)) from fault
    click.echo(f"{email} is an admin, account {made}")


def database_url(data_dir: Path) -> str:
    """Auth's database: where settings say, or that of the system running on the directory.

    Raises EngineError.
    """
    found = given_url("auth", DATABASE_URL) or environment_of(data_dir, "auth").get(DATABASE_URL)
    if not found:
        raise EngineError(f"the databases of {data_dir} are elsewhere: set {DATABASE_URL}")
    return found


def why(error: BaseException, data_dir: Path) -> str:
    """Which database it was and what it said; of a row that it refused, nothing."""
    given = environment().get(DATABASE_URL)
    which = f"the database of {DATABASE_URL}" if given else f"auth's database of {data_dir}"
    cause = error.__cause__ if isinstance(error, DatabaseAway) else error
    # the primary message alone: what PostgreSQL adds to it may hold the row, the hash in it
    said = getattr(cause, "message", None) or str(cause or "") or repr(cause)
    return f"{which}: {said}"


async def _create(url: str, email: str, name: str | None, password: str) -> Any:
    return await system.create_admin()(url, email=email, password=password, name=name)
