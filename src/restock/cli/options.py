"""Options that several commands take."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])


def data_dir_option(help_: str) -> Callable[[F], F]:
    """`--data-dir`: the directory of a local system; `help_` says what it means to a command."""
    return click.option(
        "--data-dir",
        type=click.Path(path_type=Path, file_okay=False),
        default=Path(".restock"),
        envvar="RESTOCK_DATA_DIR",
        show_default=True,
        help=help_,
    )
