"""What `restock up` tells: plain lines for people on standard error, all of it in a log file."""

import signal
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import msgspec

from restock.kernel.clock import now


class Story:
    """Tells the steps, and is the log of the supervisors beneath.

    Lines go to standard error, with colours when that is a terminal. Every event goes to the log
    file too, a JSON object a line. What can't be told (the disk is full, the terminal is gone) is
    left out: nothing ends for want of a line.
    """

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path
        with suppress(OSError):
            log_path.touch(mode=0o600)

    def say(self, text: str, *, kind: str = "") -> None:
        """A line for people; `kind` is good, bad or nothing."""
        colour = {"good": "green", "bad": "red", "warn": "yellow"}.get(kind)
        with suppress(OSError):
            click.secho(text, fg=colour, err=True)

    def info(self, event: str, **fields: Any) -> None:
        self._write("info", event, fields)

    def warning(self, event: str, **fields: Any) -> None:
        self._write("warning", event, fields)
        self.say(_sentence(event, fields), kind="warn")

    def error(self, event: str, **fields: Any) -> None:
        self._write("error", event, fields)
        self.say(_sentence(event, fields), kind="bad")

    def _write(self, level: str, event: str, fields: dict[str, Any]) -> None:
        line = {"event": event, **fields, "level": level, "timestamp": now().isoformat()}
        with suppress(OSError), self._log_path.open("ab") as file:
            file.write(msgspec.json.encode(line, enc_hook=str) + b"\n")


def _sentence(event: str, fields: dict[str, Any]) -> str:
    name = fields.get("process", "")
    if event == "process_ended":
        wait = f"{fields['next_start_in_s']:g} s"
        return f"{name} {_how_it_ended(fields['returncode'])}, starts again in {wait}"
    if event == "process_does_not_end":
        return f"{name} still runs {fields['waited_s']:g} s after {fields['after']}"
    rest = ", ".join(f"{key} {value}" for key, value in fields.items() if key != "process")
    return f"{name} {event.replace('_', ' ')}: {rest}".strip()


def _how_it_ended(code: int) -> str:
    if code >= 0:
        return f"ended (exit code {code})"
    try:
        return f"was ended by {signal.Signals(-code).name}"
    except ValueError:
        return f"was ended by signal {-code}"
