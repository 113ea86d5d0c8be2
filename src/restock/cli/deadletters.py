"""`restock deadletters`: the events that a consumer could not handle, listed and tried again."""

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import msgspec
import nats.errors
import nats.js.errors
from nats.aio.client import Client
from nats.js import JetStreamContext

from restock.cli.options import data_dir_option
from restock.engines.failures import EngineError
from restock.engines.local import environment_of
from restock.engines.names import OPERATOR
from restock.engines.nats import Credential
from restock.engines.streams import DEADLETTERS, connect
from restock.kernel.settings import environment


@dataclass(frozen=True)
class DeadLetter:
    """One event a service gave up. `seq` is its place in the stream of dead letters."""

    seq: int
    service: str
    subject: str
    payload: bytes
    error: str
    deliveries: str
    parked_at: str

    @property
    def event_id(self) -> str:
        """The event's own id; empty when the event isn't readable."""
        try:
            found = msgspec.json.decode(self.payload)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return ""
        return str(found.get("id", "")) if isinstance(found, dict) else ""


of_system = data_dir_option("The system meant, unless RESTOCK_NATS_URL names a NATS server.")


@click.group()
def deadletters() -> None:
    """Events that a service could not handle.

    They are kept for 30 days with the error. On a NATS server of your own set RESTOCK_NATS_URL,
    RESTOCK_NATS_OPERATOR_USER and RESTOCK_NATS_OPERATOR_PASSWORD.
    """


@deadletters.command("list")
@of_system
def list_(data_dir: Path) -> None:
    """List the dead letters, oldest first: number, service, subject, event, error."""
    for letter in _run(_all(data_dir)):
        click.echo(
            f"{letter.seq}\t{letter.service}\t{letter.subject}\t{letter.event_id or '-'}\t"
            f"{letter.parked_at}\t{letter.deliveries} tries\t{letter.error}"
        )


@deadletters.command()
@of_system
@click.argument("numbers", nargs=-1, metavar="[NUMBER|EVENT-ID]...")
def replay(data_dir: Path, numbers: tuple[str, ...]) -> None:
    """Publish dead letters again, all of them if none is named, and remove them from the list.

    Services that have handled the event know it by its id and do nothing.
    """
    for letter in _run(_replay(data_dir, set(numbers))):
        click.echo(f"{letter.seq}\t{letter.service}\t{letter.subject}\treplayed")


def _run(work: Coroutine[Any, Any, list[DeadLetter]]) -> list[DeadLetter]:
    try:
        return asyncio.run(work)
    except EngineError as error:
        raise click.ClickException(str(error)) from error
    except (nats.errors.Error, TimeoutError) as error:
        raise click.ClickException(f"NATS: {error!r}") from error


async def _all(data_dir: Path) -> list[DeadLetter]:
    async with _operator(data_dir) as client:
        return await read_all(client.jetstream(timeout=10))


async def _replay(data_dir: Path, wanted: set[str]) -> list[DeadLetter]:
    async with _operator(data_dir) as client:
        jetstream = client.jetstream(timeout=10)
        letters = await read_all(jetstream)
        named = {name for letter in letters for name in (str(letter.seq), letter.event_id)}
        if missing := wanted - named:
            raise click.ClickException(f"no such dead letter: {', '.join(sorted(missing))}")
        chosen = [
            letter
            for letter in letters
            if not wanted or wanted & {str(letter.seq), letter.event_id}
        ]
        for letter in chosen:
            await replay_one(jetstream, letter)
        return chosen


async def read_all(jetstream: JetStreamContext) -> list[DeadLetter]:
    """Every dead letter, oldest first."""
    info = await jetstream.stream_info(DEADLETTERS)
    found: list[DeadLetter] = []
    if info.state.messages == 0:
        return found  # its first number may then be 0, which is no message's
    for seq in range(info.state.first_seq, info.state.last_seq + 1):
        try:
            message = await jetstream.get_msg(DEADLETTERS, seq=seq)
        except nats.js.errors.NotFoundError:
            continue
        headers = message.headers or {}
        _, service, subject = (message.subject or "").split(".", 2)
        found.append(
            DeadLetter(
                seq=seq,
                service=service,
                subject=subject,
                payload=message.data or b"",
                error=headers.get("Restock-Error", ""),
                deliveries=headers.get("Restock-Deliveries", "?"),
                parked_at=message.time.isoformat() if message.time else "",
            )
        )
    return found


async def replay_one(jetstream: JetStreamContext, letter: DeadLetter) -> None:
    """Publish the event anew, then remove the dead letter.

    The message id is of this dead letter alone: done twice because the second step failed, it is
    stored once; parked and replayed again, it is a new one.
    """
    name = letter.event_id or f"{DEADLETTERS}-{letter.seq}"
    await jetstream.publish(
        letter.subject, letter.payload, headers={"Nats-Msg-Id": f"{name}.replay.{letter.seq}"}
    )
    await jetstream.delete_msg(DEADLETTERS, letter.seq)


@asynccontextmanager
async def _operator(data_dir: Path) -> AsyncIterator[Client]:
    environ = environment()
    if not environ.get("RESTOCK_NATS_URL"):
        environ = environment_of(data_dir, OPERATOR)
    if "RESTOCK_NATS_URL" not in environ:
        raise EngineError(f"the NATS of {data_dir} is elsewhere: set RESTOCK_NATS_URL")
    client = await connect(
        environ["RESTOCK_NATS_URL"],
        Credential(
            environ.get("RESTOCK_NATS_OPERATOR_USER") or OPERATOR,
            environ.get("RESTOCK_NATS_OPERATOR_PASSWORD", ""),
        ),
    )
    try:
        yield client
    finally:
        await client.close()
