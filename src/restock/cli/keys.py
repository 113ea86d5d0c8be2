"""`restock keys`: another key to sign access tokens, at the operator's word.

Auth replaces its key by itself when it is old (RESTOCK_AUTH_KEYS_DAYS); this is for not waiting.
"""

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

from restock import system
from restock.cli.account import DATABASE_URL, REFUSALS, database_url, why
from restock.cli.options import data_dir_option
from restock.engines.failures import EngineError
from restock.kernel.database import DatabaseAway
from restock.kernel.settings import SettingsError, load


@click.group()
def keys() -> None:
    """The keys that sign tokens, for the operator."""


@keys.command()
@click.option(
    "--compromised",
    is_flag=True,
    help="Take every key away: no token signed so far is good, clients refresh theirs.",
)
@data_dir_option(f"The system meant, unless {DATABASE_URL} names auth's database.")
def rotate(compromised: bool, data_dir: Path) -> None:
    """Have the next key sign from now on; nobody notices.

    With --compromised every key goes, for fresh ones. Services refuse the old tokens within a
    minute and RESTOCK_AUTH_KEYS_RELOAD_SECONDS; new ones the gateway knows after
    RESTOCK_GATEWAY_KEYS_SECONDS, and is 401 until then. Refresh tokens stay good: the secret they
    are made with is another, and is not replaced.
    """
    try:
        settings: Any = load(system.load("auth").settings, "auth")
        ahead = settings.keys_ahead_seconds
        url = database_url(data_dir)
        if compromised:
            asyncio.run(_replace(url))
            within = 60 + settings.keys_reload_seconds
            click.echo(f"fresh keys sign; every token signed before is refused within {within} s")
            return
        kid = asyncio.run(_rotate(url, timedelta(seconds=ahead)))
    except (EngineError, SettingsError) as error:
        raise click.ClickException(str(error)) from error
    except (DatabaseAway, OSError, ValueError, *REFUSALS) as error:
        raise click.ClickException(why(error, data_dir)) from error
    if kid is None:
        raise click.ClickException(
            f"the next key has not been public for {ahead} s: try again a little later"
        )
    click.echo(f"key {kid} signs from now on")


async def _rotate(url: str, public_for: timedelta) -> str | None:
    return await system.rotate_keys()(url, public_for=public_for)


async def _replace(url: str) -> None:
    await system.replace_keys()(url)
