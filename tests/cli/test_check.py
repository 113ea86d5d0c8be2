"""`restock check`: what the settings say together, and variables that nothing reads."""

import re
from pathlib import Path

import pytest

from restock.cli.check import read_by_someone
from tests.cli.commands import ran
from tests.cli.test_weaknesses import checked

ROOT = Path(__file__).parents[2]
OFFSET = "RESTOCK_PORT_OFFSET"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({OFFSET: "29700"}, "port 32800 for auth can't be used"),
        ({OFFSET: "50000"}, "port 53100 for auth can't be used"),
        ({OFFSET: "57900"}, "port 60900 for the gateway can't be used"),
        ({OFFSET: "62425", "RESTOCK_NOTIFICATION_WORKERS": "2"}, "port 65536 for notification"),
        ({OFFSET: "29658"}, "port 32768 for notification worker 0 can't be used"),
        ({OFFSET: "70000"}, "must be a whole number from 0 to 62425"),
    ],
)
def test_an_offset_that_up_refuses_is_refused(settings: dict[str, str], said: str) -> None:
    result = checked(settings)
    assert result.exit_code == 1
    (line,) = [line for line in result.stderr.splitlines() if said in line]
    assert line.startswith(f"{OFFSET}: ")


@pytest.mark.parametrize("offset", ["0", "29600", "60000", "62425"])
def test_an_offset_that_up_takes_is_acceptable(offset: str) -> None:
    assert checked({OFFSET: offset}).exit_code == 0


def test_only_ports_of_the_services_named_count() -> None:
    assert checked({OFFSET: "29668"}, "auth").exit_code == 1
    assert checked({OFFSET: "29668", "RESTOCK_AUTH_PORT": "3100"}, "auth").exit_code == 0
    assert checked({OFFSET: "57900"}, "auth").exit_code == 0
    assert checked({"RESTOCK_VENDOR_PORT": "abc"}, "auth").exit_code == 0


async def test_copies_of_a_stream_that_cannot_be_are_refused_before_any_start(tmp_path: Path):
    settings = {"RESTOCK_STREAM_REPLICAS": "foo"}
    result = checked(settings)
    assert result.exit_code == 1
    assert "RESTOCK_STREAM_REPLICAS must be 1, 3 or 5, not 'foo'" in result.stderr
    up = await ran("up", "--data-dir", str(tmp_path / "data"), **settings)
    assert up.code == 1
    assert "RESTOCK_STREAM_REPLICAS must be 1, 3 or 5" in up.err
    assert not (tmp_path / "data").exists()


def test_a_misspelt_variable_is_told_with_what_is_meant() -> None:
    said = "RESTOCK_AUHT_WORKERS: there is no such setting; is RESTOCK_AUTH_WORKERS meant?"
    everything = checked({"RESTOCK_AUHT_WORKERS": "3"})
    assert everything.exit_code == 1
    assert said in everything.stderr.splitlines()
    part = checked({"RESTOCK_AUHT_WORKERS": "3", "RESTOCK_VENDOR_WORKERS": "2"}, "auth")
    assert part.exit_code == 0
    assert part.stderr.splitlines() == [f"warning: {said}", "all settings are acceptable"]


def test_every_variable_that_is_read_is_known() -> None:
    read = re.compile(r"(?:environ\S*\.get\(|environ\S*\[|envvar=)\"(RESTOCK_[A-Z_]+)\"")
    found = {name for file in ROOT.glob("src/**/*.py") for name in read.findall(file.read_text())}
    # told by a parent process to its children, never by a person
    assert found - read_by_someone() == {"RESTOCK_SUPERVISOR"}
    assert {"RESTOCK_DATA_DIR", "RESTOCK_PORT_OFFSET", "RESTOCK_NATS_URL"} <= found
