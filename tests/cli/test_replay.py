"""`restock replay` against a gateway in memory: every row, in order, once, and a sound proof."""

import asyncio
import json
import random
from collections import Counter

import pytest
import pytest_asyncio
from click.testing import CliRunner

from restock.cli.replay import replay
from tests.cli.sales import SALES, expectation
from tests.client.stub_gateway import serve_stub

ACCOUNT = ["--email", "ada@example.org", "--password", "ten letters"]


@pytest_asyncio.fixture
async def stub():
    async with serve_stub() as running:
        yield running


@pytest.fixture
def files(tmp_path):
    paths = []
    for day, text in enumerate(SALES):
        path = tmp_path / f"day-{day}.csv"
        path.write_text(text, encoding="utf-8")
        paths.append(str(path))
    return paths


async def run(stub, files, *options, exit_code=0):
    arguments = [*files, "--url", stub.url, *options]
    result = await asyncio.to_thread(CliRunner().invoke, replay, arguments)
    assert result.exit_code == exit_code, (result.output, result.exception)
    return result


async def summary_of(stub, files, *options, exit_code=0):
    result = await run(stub, files, *options, "--json", exit_code=exit_code)
    return json.loads(result.stdout)


def stock_of(stub):
    return {item["sku"]: item["quantity"] for item in stub.items.values()}


@pytest.mark.parametrize("options", [[], ["--concurrency", "1"], ["--batch", "7"]])
async def test_every_row_is_played_as_a_simulation_says(stub, files, options):
    expected = expectation()
    summary = await summary_of(stub, files, *options)
    assert summary["rows"] == expected.rows
    assert summary["movements"] == expected.moved
    assert summary["refused"] == expected.refused
    assert summary["alerts"] == expected.alerts
    assert summary["proved"] is True
    assert stock_of(stub) == expected.stock
    assert expected.refused > 0
    assert min(expected.alerts.values()) > 0


async def test_rows_of_one_item_go_one_after_another(stub, files):
    await run(stub, files, "--concurrency", "32")
    assert stub.overlaps == 0


async def test_broken_connections_and_limits_change_nothing(stub, files):
    expected = expectation()
    stub.weather = random.Random(11)
    stub.trouble.append(("/register", "lose-answer"))
    summary = await summary_of(stub, files)
    assert (summary["movements"], summary["refused"]) == (expected.moved, expected.refused)
    assert summary["repeated"] > 20
    assert summary["limited"] > 0
    assert stock_of(stub) == expected.stock


async def test_a_batch_whose_answer_was_lost_is_not_judged_otherwise(stub, files):
    expected = expectation()
    stub.trouble += [("movements:batch", "lose-answer")] * 6
    summary = await summary_of(stub, files, "--batch", "50", "--concurrency", "2")
    assert (summary["movements"], summary["refused"]) == (expected.moved, expected.refused)
    assert stock_of(stub) == expected.stock


@pytest.mark.parametrize("batch", ["1", "5"])
async def test_played_again_the_same_files_change_nothing(stub, files, batch):
    expected = expectation()
    await run(stub, files, *ACCOUNT)
    rows = len(stub.ledger)
    summary = await summary_of(stub, files, *ACCOUNT, "--batch", batch)
    assert len(stub.ledger) == rows
    assert stock_of(stub) == expected.stock
    assert summary["movements"] == 0
    assert summary["foundMovements"] == expected.moved
    assert summary["foundRefused"] + summary["refused"] == expected.refused
    assert summary["proved"] is True


async def test_a_replay_that_was_stopped_goes_on(stub, files):
    expected = expectation()
    for _ in range(3):
        stub.trouble.append(("/movements", 404, 25))
        stopped = await run(stub, files, *ACCOUNT, "--concurrency", "3", exit_code=1)
        assert "404" in stopped.stderr
    summary = await summary_of(stub, files, *ACCOUNT)
    assert summary["foundMovements"] + summary["movements"] == expected.moved
    assert summary["foundRefused"] + summary["refused"] == expected.refused
    assert stock_of(stub) == expected.stock


async def test_each_acknowledged_movement_is_in_the_log(stub, files, tmp_path):
    log = tmp_path / "acknowledged.log"
    log.write_text("before\n")
    stub.trouble += [("/movements", "lose-answer")] * 5
    await run(stub, files, "--log", str(log))
    before, *lines = log.read_text().splitlines()
    held = {row["id"]: row["ref"] for row in stub.ledger if row["ref"]}
    assert before == "before"
    assert len(lines) == len(held)
    assert dict(line.split(" ") for line in lines) == held


@pytest.mark.parametrize("harm", ["stock", "row", "notice", "notice twice"])
async def test_the_proof_fails_where_something_is_wrong(stub, files, harm):
    await run(stub, files, *ACCOUNT)
    target = next(row for row in stub.ledger if row["delta"] < 0)
    if harm == "stock":
        stub.items[target["itemId"]]["quantity"] += 1
    elif harm == "row":
        stub.ledger.remove(target)
    elif harm == "notice":
        stub.notifications.pop()
    else:
        stub.notifications.append(stub.notifications[0])
    summary = await summary_of(stub, files, *ACCOUNT, "--patience", "1", exit_code=1)
    assert summary["proved"] is False
    assert summary["ledgerEqualsStock"] is (harm not in ("stock", "row"))
    told = await run(stub, files, *ACCOUNT, "--patience", "1", exit_code=1)
    assert "WRONG" in told.stdout


async def test_an_account_of_its_own_is_made_and_told(stub, files):
    first, second = await summary_of(stub, files), await summary_of(stub, files[:1])
    assert first["account"]["email"] != second["account"]["email"]
    assert first["account"]["made"] is True
    given = await summary_of(stub, files[:1], *ACCOUNT)
    assert given["account"]["password"] is None
    assert set(stub.accounts) == {s["account"]["email"] for s in (first, second, given)}


async def test_what_is_told_without_json(stub, files):
    told = await run(stub, files)
    expected = expectation()
    assert f"{expected.moved} made, {expected.refused} refused" in told.stdout
    assert "equals the stock of every item" in told.stdout
    assert "movements/s" in told.stdout
    assert f"movements: {expected.rows} of {expected.rows}" in told.stderr
    assert "password" in told.stderr


async def test_refusals_that_stop_it_are_told(stub, files, tmp_path):
    await run(stub, files[:1], *ACCOUNT)
    wrong = await run(
        stub, files, "--email", "ada@example.org", "--password", "another one", exit_code=1
    )
    assert "ada@example.org: 401" in wrong.stderr
    alone = await run(stub, files, "--password", "ten letters", exit_code=2)
    assert "--password needs --email" in alone.stderr
    bad = tmp_path / "bad.csv"
    bad.write_text("a\n1\n")
    assert "no column" in (await run(stub, [str(bad)], exit_code=1)).stderr


def test_the_sample_is_worth_playing():
    assert Counter(expectation().alerts)["back_in_stock"] >= 2


async def test_a_log_that_cannot_be_written_is_told_before_anything_is_done(stub, files, tmp_path):
    place = tmp_path / "nowhere" / "log"
    refused = await run(stub, files, "--log", str(place), exit_code=1)
    assert f"cannot write {place}: No such file or directory" in refused.stderr
    assert stub.accounts == {}
