"""The command line: one module a command, imported when that command is asked for."""

from importlib import import_module

import click

COMMANDS = {
    "up": ("restock.cli.up", "Start everything on this machine."),
    "run": ("restock.cli.run", "Run one service alone."),
    "migrate": ("restock.cli.migrate", "Bring the databases up to date."),
    "check": ("restock.cli.check", "Validate and print every setting."),
    "status": ("restock.cli.status", "Show what runs on a data directory."),
    "backup": ("restock.cli.backup", "Write a running system into one file."),
    "restore": ("restock.cli.restore", "Restore a backup into an empty place."),
    "deadletters": ("restock.cli.deadletters", "List and replay events that failed."),
    "events": ("restock.cli.events", "Publish events again."),
    "account": ("restock.cli.account", "Accounts, for the operator."),
    "keys": ("restock.cli.keys", "The keys that sign tokens, for the operator."),
    "gateway": ("restock.cli.gateway", "What the gateway is made of."),
    "demo": ("restock.cli.demo", "Fill a workspace with things to look at."),
    "replay": ("restock.cli.replay", "Drive recorded sales through the system."),
    "contracts": ("restock.cli.contracts", "Write the contracts from the code."),
    "forkserver": ("restock.cli.forkserver", "Fork workers."),
    "streams": ("restock.cli.streams", "Bring the streams up to date."),
}
HIDDEN = ("contracts", "forkserver", "streams")


class LazyGroup(click.Group):
    """Knows the commands' names and what they do without importing them."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return [name for name in COMMANDS if name not in HIDDEN]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        command: click.Command = getattr(import_module(COMMANDS[cmd_name][0]), cmd_name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(name, COMMANDS[name][1]) for name in self.list_commands(ctx)])


@click.command(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="restock", message="%(package)s %(version)s")
def restock() -> None:
    """Restock: stock that stays true, and vendors who hear of it at once."""
