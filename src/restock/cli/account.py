"""`restock account`: what only the operator may do with accounts.

It works on auth's database, not through the API: who may read the operator's settings may do it.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import click

from restock import system
from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.kernel.database import DatabaseAway
from restock.kernel.faults import Fault
from restock.kernel.settings import environment

DATABASE_URL = "RESTOCK_AUTH_DATABASE_URL"


@click.group()
def account() -> None:
    """Accounts, for the operator."""


@account.command("create-admin")
@click.argument("email")
@click.option("--name", help="The account's name. [default: what stands before the @]")
@click.option(
    "--password-stdin", is_flag=True, help="Read the password from standard input, one line."
)
@click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path(".restock"),
    envvar="RESTOCK_DATA_DIR",
    show_default=True,
    help=f"The system meant, unless {DATABASE_URL} names auth's database.",
)
def create_admin(email: str, name: str | None, password_stdin: bool, data_dir: Path) -> None:
    """Make an account of role admin with this EMAIL; the API never does."""
    if password_stdin:
        password = sys.stdin.readline().rstrip("\r\n")
    else:
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    try:
        made = asyncio.run(_create(_database_url(data_dir), email, name, password))
    except (EngineError, DatabaseAway) as error:
        raise click.ClickException(str(error)) from error
    except Fault as fault:
        fields = "; ".join(error.message for error in fault.errors)
        raise click.ClickException(fields or str(fault)) from fault
    click.echo(f"{email} is an admin, account {made}")


def _database_url(data_dir: Path) -> str:
    """Auth's database: where settings say, or that of the system running on the directory."""
    return environment().get(DATABASE_URL) or environment_of(data_dir, "auth")[DATABASE_URL]


async def _create(url: str, email: str, name: str | None, password: str) -> Any:
    return await system.create_admin()(url, email=email, password=password, name=name)
