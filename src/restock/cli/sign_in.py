"""The account a command works as, and the gateway it works through."""

import secrets
from collections.abc import Callable
from typing import Any

import click
import msgspec

from restock.client import ApiProblem, Gateway, GatewayUnreachable
from restock.kernel.settings import environment
from restock.system import PUBLIC_PORT

FIRST_ANSWER = 10.0  # seconds to wait for a gateway that doesn't answer at all


class Account(msgspec.Struct, frozen=True, rename="camel"):
    """Who a command worked as; `password` only where the command made it up."""

    email: str
    password: str | None
    made: bool
    workspace_id: str | None


def gateway_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """--url, --email, --password and --json, as every command on the API has them."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="Print one JSON object."),
        click.option("--password", help="Its password; asked for when only --email is given."),
        click.option(
            "--email", help="Work as this account, made if it isn't there. [default: a new one]"
        ),
        click.option("--url", default=local_gateway, show_default="the local gateway"),
    ):
        command = option(command)
    return command


def local_gateway() -> str:
    """Where `restock up` of the same port offset serves. Raises click.UsageError."""
    offset = environment().get("RESTOCK_PORT_OFFSET") or "0"
    if not (offset.isascii() and offset.isdigit()):
        raise click.UsageError(f"RESTOCK_PORT_OFFSET must be a whole number, not {offset!r}")
    return f"http://127.0.0.1:{PUBLIC_PORT + int(offset)}"


def asked_for(email: str | None, password: str | None) -> tuple[str, str] | None:
    """The account given on the command line. Raises click.UsageError for a password alone."""
    if email is None:
        if password is not None:
            raise click.UsageError("--password needs --email")
        return None
    return email, password or click.prompt("Password", hide_input=True, err=True)


async def sign_in(
    gateway: Gateway, wanted: tuple[str, str] | None, *, name: str, prefix: str
) -> Account:
    """Be signed in as the account asked for, or as a new one called `prefix` and something.

    Raises click.ClickException when nothing answers at the gateway or the account is refused.
    """
    await _someone_answers(gateway.url)
    email, password = wanted or (
        f"{prefix}-{secrets.token_hex(4)}@restock.example",
        secrets.token_urlsafe(15),
    )
    try:
        if wanted is None:
            made = await gateway.auth.register_once(email=email, name=name, password=password)
        else:
            made = await gateway.auth.sign_in_or_register(email=email, name=name, password=password)
    except ApiProblem as problem:
        raise click.ClickException(f"{email}: {problem}") from problem
    user = gateway.auth.user
    workspace = str(user.workspace_id) if user and user.workspace_id else None
    return Account(email, password if wanted is None else None, made, workspace)


async def _someone_answers(url: str) -> None:
    try:
        async with Gateway(url, patience=FIRST_ANSWER) as probe:
            await probe.health()
    except ApiProblem:
        return  # not well, but there
    except (GatewayUnreachable, msgspec.DecodeError) as error:
        raise click.ClickException(
            f"{error}\nIs Restock running there? `restock up` starts it here."
        ) from error
