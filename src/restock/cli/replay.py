"""`restock replay`: recorded sales through the API, and the proof that nothing was lost."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import TextIO
from uuid import UUID

import click
import msgspec

from restock.cli.progress import phase
from restock.cli.recorded_sales import Recording, UnreadableSales, read_recording
from restock.cli.sales_replay import Acknowledged, Outcome, Replay, ReplayStopped
from restock.cli.sign_in import Account, asked_for, gateway_options, sign_in
from restock.cli.stock_proof import Proof, by_type, count_notifications, prove_ledger
from restock.client import ApiProblem, Gateway, GatewayUnreachable

GOES_ON = "Started again with the same files and account it goes on from here."
SHOWN = 10  # wrongs told one by one
STOPS = (ReplayStopped, ApiProblem, GatewayUnreachable)


class Plan(msgspec.Struct, frozen=True):
    """How a replay is asked to run; `patience` in seconds."""

    url: str
    account: tuple[str, str] | None
    concurrency: int
    batch: int
    patience: float
    log: Path | None


class Summary(msgspec.Struct, frozen=True, rename="camel"):
    """What `--json` prints."""

    url: str
    account: Account
    rows: int
    items: int
    items_made: int
    movements: int
    refused: int
    found_movements: int
    found_refused: int
    alerts: dict[str, int]
    alerts_expected: dict[str, int]
    ledger_equals_stock: bool
    acknowledged_missing: int
    proved: bool
    wrong: list[str]
    seconds: float
    movements_per_second: float
    rows_per_second: float
    limited: int
    repeated: int


@click.command()
@click.argument(
    "files", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@gateway_options
@click.option(
    "--concurrency",
    type=click.IntRange(1, 256),
    default=16,
    show_default=True,
    help="Workers, each with items of its own.",
)
@click.option(
    "--batch",
    type=click.IntRange(1, 500),
    default=1,
    show_default=True,
    help="Movements in one call; 1 makes a call of each.",
)
@click.option(
    "--patience",
    type=click.FloatRange(1),
    default=120.0,
    show_default=True,
    help="Seconds to try one call again while something is away.",
)
@click.option(
    "--log",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Append each acknowledged movement: its id and its row.",
)
def replay(
    files: tuple[Path, ...],
    url: str,
    email: str | None,
    password: str | None,
    as_json: bool,
    concurrency: int,
    batch: int,
    patience: float,
    log: Path | None,
) -> None:
    """Play recorded sales (CSV FILES with StockCode, Quantity, InvoiceNo, InvoiceDate) through
    the API: every row one movement, returns come back in, a sale beyond stock is refused.

    An item opens with three quarters of its sales in the files. Played again on the same account
    the same files change nothing, so a replay that was stopped goes on when started again.
    """
    try:
        recording = read_recording(files)
    except UnreadableSales as error:
        raise click.ClickException(str(error)) from error
    plan = Plan(url, asked_for(email, password), concurrency, batch, patience, log)
    try:
        summary = asyncio.run(_run(plan, recording))
    except (ExceptionGroup, *STOPS) as error:
        first = _first(error)
        if not isinstance(first, STOPS):
            raise
        raise click.ClickException(f"{first}\n{GOES_ON}") from error
    except KeyboardInterrupt:
        click.echo(f"\nStopped. {GOES_ON}", err=True)
        raise SystemExit(130) from None
    click.echo(msgspec.json.encode(summary).decode() if as_json else _told(summary))
    if not summary.proved:
        raise SystemExit(1)


async def _run(plan: Plan, recording: Recording) -> Summary:
    async with Gateway(
        plan.url,
        patience=plan.patience,
        connections=plan.concurrency + 4,
        stay_signed_in=True,
    ) as gateway:
        with _journal(plan.log) as acknowledged:
            account = await sign_in(gateway, plan.account, name="Recorded sales", prefix="replay")
            _introduce(account)
            play = Replay(
                gateway,
                recording,
                concurrency=plan.concurrency,
                batch=plan.batch,
                acknowledged=acknowledged,
            )
            with phase("items", len(recording.openings)) as steps:
                await play.make_items(steps)
            _tell_found(play.outcome)
            with phase("movements", len(recording.sales)) as steps:
                await play.play(steps)
        proof = await _prove(gateway, play.outcome, plan)
        return _summary(gateway, account, recording, play.outcome, proof)


async def _prove(gateway: Gateway, outcome: Outcome, plan: Plan) -> Proof:
    with phase("proof", len(outcome.items)) as steps:
        proof = await prove_ledger(
            gateway,
            outcome.items.values(),
            outcome.acknowledged,
            concurrency=plan.concurrency,
            steps=steps,
        )
        steps.note("waiting for the last alerts")
        await count_notifications(gateway, proof, patience=min(plan.patience, 60.0))
        steps.note("")
    return proof


@contextlib.contextmanager
def _journal(path: Path | None) -> Iterator[Acknowledged]:
    """Writes each acknowledged movement on a line of its own, at once."""
    if path is None:
        yield lambda movement_id, row: None
        return
    try:
        lines = path.open("a", buffering=1, encoding="utf-8")
    except OSError as error:
        raise click.ClickException(f"cannot write {path}: {error.strerror}") from error
    with lines:
        yield lambda movement_id, row: _write(lines, movement_id, row)


def _write(lines: TextIO, movement_id: UUID, row: str) -> None:
    lines.write(f"{movement_id} {row}\n")


def _introduce(account: Account) -> None:
    if account.password is not None:
        click.echo(f"account {account.email}, password {account.password}", err=True)
    else:
        click.echo(f"account {account.email}{' (new)' if account.made else ''}", err=True)


def _tell_found(outcome: Outcome) -> None:
    if outcome.items_found:
        click.echo(
            f"{outcome.items_found} items were there already and keep their stock; "
            f"{outcome.found_moved} of these rows are in their ledgers and "
            f"{outcome.found_refused} were refused before: none of them is sent again",
            err=True,
        )


def _summary(
    gateway: Gateway, account: Account, recording: Recording, outcome: Outcome, proof: Proof
) -> Summary:
    return Summary(
        url=gateway.url,
        account=account,
        rows=len(recording.sales),
        items=len(outcome.items),
        items_made=outcome.items_made,
        movements=outcome.moved,
        refused=outcome.refused,
        found_movements=outcome.found_moved,
        found_refused=outcome.found_refused,
        alerts=proof.alerts(),
        alerts_expected=by_type(proof.expected),
        ledger_equals_stock=not proof.wrong,
        acknowledged_missing=len(proof.missing),
        proved=proof.holds,
        wrong=proof.wrong[:SHOWN],
        seconds=round(outcome.seconds, 3),
        movements_per_second=round(outcome.moved / outcome.seconds, 1) if outcome.seconds else 0.0,
        rows_per_second=round(outcome.rate, 1),
        limited=gateway.transport.limited,
        repeated=gateway.transport.repeated,
    )


def _told(summary: Summary) -> str:
    found = summary.found_movements + summary.found_refused
    alerts = ", ".join(f"{count} {kind}" for kind, count in summary.alerts.items())
    lines = [
        f"rows        {summary.rows} of {summary.items} items"
        + (f", {found} dealt with by an earlier replay" if found else ""),
        f"movements   {summary.movements} made, {summary.refused} refused for lack of stock",
        f"alerts      {alerts}",
        f"rate        {summary.movements_per_second} movements/s, {summary.rows_per_second} "
        f"rows/s over {summary.seconds} s ({summary.limited} held back by the gateway's limit, "
        f"{summary.repeated} sent again)",
    ]
    if summary.ledger_equals_stock:
        lines.append(f"ledger      equals the stock of every item ({summary.items})")
    else:
        lines.extend(f"ledger      WRONG: {wrong}" for wrong in summary.wrong)
    if summary.acknowledged_missing:
        lines.append(f"ledger      WRONG: {summary.acknowledged_missing} acknowledged rows missing")
    if summary.alerts != summary.alerts_expected:
        lines.append(f"alerts      WRONG: the ledger calls for {summary.alerts_expected}")
    elif summary.proved:
        lines.append("proved      one notification for each crossing, none missing, none twice")
    return "\n".join(lines)


def _first(error: BaseException) -> BaseException:
    """The first mistake in a group of groups: one is enough to tell."""
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error
