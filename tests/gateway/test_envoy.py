"""The rendered configuration is one that Envoy accepts, whatever the settings."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner

from restock.cli.gateway import gateway
from restock.gateway import envoy
from restock.gateway.settings import Settings
from tests.gateway.stubs import Front

KINDS: dict[str, dict[str, Any]] = {
    "as it comes": {},
    "no limits": {"rate_address": 0, "rate_account": 0, "rate_login": 0},
    "odd rates": {"rate_address": 0.0007, "rate_account": 1234.5, "rate_login": 1_000_000},
    "origins": {"origins": ("https://a.example", "http://b.example:8080")},
    "many places": {
        "auth_upstream": ("10.0.0.1:80", "10.0.0.2:80"),
        "inventory_upstream": ("inventory.example:80",),
        "socket_upstream": tuple(f"n-{number}.example:3110" for number in range(12)),
    },
    "keys by https": {"jwks_url": "https://keys.example/jwks.json"},
    "lines for people": {"log_format": "text", "log_level": "debug"},
    "no lines": {"access_log": False},
    "behind proxies": {"trusted_hops": 2, "trust_request_id": True, "listen_host": "::"},
    "beside another": {"port_offset": 200, "notification_workers": 64},
}


@pytest.mark.parametrize("kind", KINDS)
def test_envoy_accepts_it(kind: str) -> None:
    envoy.validate(envoy.configuration(Settings(**KINDS[kind])))


@pytest.mark.parametrize("name", ["read_timeout", "write_timeout"])
def test_nothing_ends_a_request_before_its_own_time(name: str) -> None:
    config = envoy.configuration(Settings(**{name: 100}))
    manager = config["static_resources"]["listeners"][0]["filter_chains"][0]["filters"][0]
    assert int(manager["typed_config"]["stream_idle_timeout"].removesuffix("s")) > 100


def test_what_envoy_does_not_accept_is_said() -> None:
    config = envoy.configuration(Settings())
    config["static_resources"]["clusters"][0]["connect_timeout"] = "soon"
    with pytest.raises(envoy.ConfigurationError, match="connect_timeout"):
        envoy.validate(config)


def test_the_command_prints_what_is_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTOCK_GATEWAY_RATE_ACCOUNT", "7")
    printed = CliRunner().invoke(gateway, ["render", "--check"])
    assert printed.exit_code == 0
    assert yaml.safe_load(printed.output) == envoy.configuration(Settings(rate_account=7))


def test_the_command_names_a_bad_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RESTOCK_GATEWAY_ORIGINS", "*")
    refused = CliRunner().invoke(gateway, ["render"])
    assert refused.exit_code == 1
    assert "RESTOCK_GATEWAY_ORIGINS" in refused.output


def test_the_command_shows_the_table() -> None:
    shown = CliRunner().invoke(gateway, ["routes"])
    assert shown.exit_code == 0
    assert "/api/auth/login" in shown.output


@pytest.mark.parametrize("kind", KINDS)
def test_envoy_accepts_it_supervised(kind: str, tmp_path: Path) -> None:
    envoy.validate(envoy.configuration(Settings(**KINDS[kind]), tmp_path / "admin.sock"))


READINGS = {"/stats", "/stats/prometheus", "/ready", "/clusters", "/listeners"}


CHANGES = {
    *("/drain_listeners", "/quitquitquit", "/config_dump", "/logging", "/reset_counters", "/"),
    *("/healthcheck/fail", "/runtime_modify", "/stats/recentlookups/enable", "/cpuprofiler"),
}


def test_the_admin_shows_no_configuration_and_ends_nothing(tmp_path: Path) -> None:
    alone = envoy.configuration(Settings())["admin"]
    ours = envoy.configuration(Settings(), tmp_path / "admin.sock")["admin"]
    assert set(ours["address"]) == {"pipe"}
    for admin, allowed in ((alone, READINGS), (ours, READINGS | {"/drain_listeners"})):
        (entry,) = admin["allow_paths"]
        regex = re.compile(entry["safe_regex"]["regex"])
        for query in ("", "?a=b"):
            found = {path for path in READINGS | CHANGES if regex.fullmatch(path + query)}
            assert found == allowed


async def test_what_runs_elsewhere_has_readings_on_its_port(edge: Front) -> None:
    async with edge.session.get(f"{edge.admin}/stats?filter=^server.live$") as answer:
        assert await answer.text() == "server.live: 1\n"
    for path in ("/drain_listeners", "/drain_listeners?graceful", "/quitquitquit", "/logging"):
        async with edge.session.post(edge.admin + path) as answer:
            assert answer.status in (403, 404)
    async with edge.request("GET", "/health") as answer:
        assert answer.status == 200
