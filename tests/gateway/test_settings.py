"""Settings come from the environment; what is not acceptable is named."""

import pytest

from restock.gateway.settings import SILENCE_LEAST, Settings, address
from restock.kernel.settings import SettingsError, load
from restock.notification.links import PING_INTERVAL_S


def test_the_defaults_are_the_contracts() -> None:
    settings = load(Settings, "gateway", {})
    assert (settings.rate_address, settings.rate_account, settings.rate_login) == (200, 100, 0.2)
    assert settings.max_body == 1024 * 1024
    assert (settings.public_port, settings.process_port, settings.envoy_admin_port) == (
        *(3000, 3104, 3105),
    )
    assert settings.listen_host == settings.host == "127.0.0.1"
    assert settings.upstreams("inventory") == [("127.0.0.1", 3101)]
    assert settings.socket_workers() == [("127.0.0.1", 3110)]
    assert settings.keys_url == "http://127.0.0.1:3100/.well-known/jwks.json"


def test_the_offset_moves_every_port() -> None:
    environ = {"RESTOCK_PORT_OFFSET": "200", "RESTOCK_NOTIFICATION_WORKERS": "3"}
    settings = load(Settings, "gateway", environ)
    assert (settings.public_port, settings.process_port, settings.envoy_admin_port) == (
        *(3200, 3304, 3305),
    )
    assert settings.upstreams("vendor") == [("127.0.0.1", 3303)]
    assert settings.socket_workers() == [("127.0.0.1", 3310 + number) for number in range(3)]
    assert ":3300/" in settings.keys_url


def test_places_are_given_by_host_and_port() -> None:
    environ = {
        "RESTOCK_GATEWAY_AUTH_UPSTREAM": "a.example:80, [::1]:81",
        "RESTOCK_GATEWAY_SOCKET_UPSTREAM": "n0:1,n1:2",
        "RESTOCK_JWKS_URL": "https://keys.example/",
    }
    settings = load(Settings, "gateway", environ)
    assert settings.upstreams("auth") == [("a.example", 80), ("::1", 81)]
    assert settings.socket_workers() == [("n0", 1), ("n1", 2)]
    assert settings.keys_url == "https://keys.example/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ORIGINS", "*"), ("ORIGINS", "https://a.example/"), ("ORIGINS", "a.example")),
        *(("AUTH_UPSTREAM", "a.example"), ("AUTH_UPSTREAM", "http://a:1"), ("RATE_LOGIN", "-1")),
        *(("RATE_LOGIN", "often"), ("MAX_BODY", "0"), ("ENVOY_THREADS", "0")),
    ],
)
def test_what_is_not_acceptable_is_named(name: str, value: str) -> None:
    with pytest.raises(SettingsError, match=f"RESTOCK_GATEWAY_{name}"):
        load(Settings, "gateway", {f"RESTOCK_GATEWAY_{name}": value})


@pytest.mark.parametrize("text", ["a", "a:", ":1", "a:1/x", "a:b"])
def test_an_address_needs_both_parts(text: str) -> None:
    with pytest.raises(ValueError, match=r"host:port|[Pp]ort"):
        address(text)


@pytest.mark.parametrize("name", ["AUTH", "INVENTORY", "VENDOR", "NOTIFICATION", "SOCKET"])
@pytest.mark.parametrize("place", ["a:0", "a:65536", "a:99999", "[:::]:80", "a:1,b"])
def test_a_place_needs_a_host_and_a_port_that_exists(name: str, place: str) -> None:
    variable = f"RESTOCK_GATEWAY_{name}_UPSTREAM"
    with pytest.raises(SettingsError, match=f"^{variable}: must be HOST:PORT"):
        load(Settings, "gateway", {variable: place})


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("https://Shop.example", "https://shop.example"),
        ("HTTPS://shop.example", "https://shop.example"),
        ("https://shop.example:443", "https://shop.example"),
        ("http://shop.example:80", "http://shop.example"),
        ("https://shop.example/", "https://shop.example"),
        ("http://localhost:05173", "http://localhost:5173"),
        ("http://[::0001]:80/", "http://[::1]"),
    ],
)
def test_an_origin_no_browser_sends_is_told_as_it_is_sent(given: str, sent: str) -> None:
    variable = "RESTOCK_GATEWAY_ORIGINS"
    with pytest.raises(SettingsError) as refused:
        load(Settings, "gateway", {variable: f"https://a.example,{given}"})
    assert str(refused.value) == f"{variable}: a browser never sends {given}: write {sent}"
    assert load(Settings, "gateway", {variable: sent}).origins == (sent,)


@pytest.mark.parametrize("given", ["ftp://a", "https://", "https://ü.example", "https://a:x"])
def test_what_is_no_origin_is_refused_with_a_sentence(given: str) -> None:
    with pytest.raises(SettingsError, match="RESTOCK_GATEWAY_ORIGINS: must be https://HOST"):
        load(Settings, "gateway", {"RESTOCK_GATEWAY_ORIGINS": given})


def test_a_sound_socket_is_never_silent_for_long_enough_to_be_cut() -> None:
    assert SILENCE_LEAST >= PING_INTERVAL_S + 5
    variable = "RESTOCK_GATEWAY_SOCKET_IDLE_TIMEOUT"
    assert load(Settings, "gateway", {variable: "30"}).socket_idle_timeout == SILENCE_LEAST
    with pytest.raises(SettingsError, match=f"{variable}: must be 30 to 3600"):
        load(Settings, "gateway", {variable: "29"})
