"""What `restock up` refuses, and how it says so; and a stop in the middle of a start."""

import os
import signal
from pathlib import Path

import pytest

from restock.cli.addresses import plan
from restock.engines.failures import PortTaken
from restock.engines.processes import alive
from restock.kernel.settings import SettingsError
from tests.cli.commands import Up, ran
from tests.fixtures.ports import free_offset


@pytest.mark.parametrize("offset", [29_700, 50_000, 63_000])
def test_an_offset_into_the_ports_of_outgoing_connections(offset: int) -> None:
    with pytest.raises(PortTaken, match="32768 to 60999"):
        plan({}, offset=offset)


def test_an_offset_beyond_that_range_is_fine() -> None:
    assert plan({}, offset=60_000).public.port == 63_000


def test_two_parts_on_one_port() -> None:
    with pytest.raises(PortTaken, match="both for"):
        plan({"RESTOCK_AUTH_PORT": "3101"}, offset=0)


def test_every_part_has_its_address() -> None:
    found = plan({"RESTOCK_NOTIFICATION_WORKERS": "2"}, offset=100, host="0.0.0.0")  # noqa: S104
    ports = {address.what: address.port for address in found}
    assert ports == {
        "the gateway": 3100,
        "auth": 3200,
        "inventory": 3201,
        "notification": 3202,
        "vendor": 3203,
        "gateway": 3204,
        "Envoy's admin": 3205,
        "NATS": 3207,
        "notification worker 0": 3210,
        "notification worker 1": 3211,
    }
    assert str(found.public) == "0.0.0.0:3100"
    assert {address.host for address in found} - {found.public.host} == {"127.0.0.1"}


def test_a_nats_server_elsewhere_takes_no_port() -> None:
    assert plan({"RESTOCK_NATS_URL": "nats://elsewhere:4222"}, offset=0).nats is None


def test_one_gateway_only() -> None:
    with pytest.raises(SettingsError, match="RESTOCK_GATEWAY_WORKERS"):
        plan({"RESTOCK_GATEWAY_WORKERS": "2"}, offset=0)


async def test_a_directory_that_is_not_ours(tmp_path: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    refused = await ran("up", "--data-dir", str(tmp_path))
    assert refused.code == 1
    assert refused.out == ""
    assert f"{tmp_path} is not empty" in refused.err


async def test_a_setting_that_is_not_acceptable(tmp_path: Path) -> None:
    refused = await ran("up", "--data-dir", str(tmp_path / "data"), RESTOCK_AUTH_WORKERS="many")
    assert refused.code == 1
    assert "RESTOCK_AUTH_WORKERS" in refused.err


async def test_a_database_of_ones_own_needs_its_owner_too(tmp_path: Path) -> None:
    urls = {
        f"RESTOCK_{service}_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none"
        for service in ("AUTH", "INVENTORY", "NOTIFICATION", "VENDOR")
    }
    refused = await ran(
        "up", "--data-dir", str(tmp_path / "data"), "--port-offset", str(free_offset()), **urls
    )
    assert refused.code == 1
    assert "RESTOCK_AUTH_MIGRATE_URL" in refused.err
    assert not (tmp_path / "data" / "postgres").exists()


async def test_a_service_that_cannot_start_is_named_with_its_log(scratch: Path) -> None:
    system = Up(scratch / "broken", free_offset(), {"RESTOCK_GATEWAY_RATE_LOGIN": "-1"})
    await system.start()
    assert await system.ended() == 1
    assert system.out == []
    said = "".join(system.err)
    assert f"its log is {system.root / 'logs' / 'gateway.log'}" in said
    assert "RESTOCK_GATEWAY_RATE_LOGIN" in said
    assert system.note_processes() == {}


async def test_a_stop_in_the_middle_of_the_first_start(scratch: Path) -> None:
    system = Up(scratch / "interrupted", free_offset())
    for words in ("data directory", "engines ready"):
        await system.start()
        await system.said(words)
        found = system.note_processes()
        os.kill(system.pid, signal.SIGINT)
        assert await system.ended() == 0, "".join(system.err)
        assert system.out == []
        assert not any(alive(known) for known in found.values())
        assert system.note_processes() == {}
