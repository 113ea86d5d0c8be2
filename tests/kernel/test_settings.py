"""Settings: from the environment, typed, secrets hidden."""

from typing import Annotated

import pytest
from msgspec import Meta

from restock.kernel.settings import ServiceSettings, SettingsError, describe, load


class Shop(ServiceSettings):
    shelves_max: Annotated[int, Meta(ge=1, description="Shelves.")] = 3
    names: Annotated[tuple[str, ...], Meta(description="Names.")] = ()


def test_settings_are_read_by_their_names() -> None:
    settings = load(
        Shop,
        "shop",
        {"RESTOCK_SHOP_SHELVES_MAX": "7", "RESTOCK_SHOP_NAMES": "a, b", "RESTOCK_NATS_URL": "n"},
    )
    assert (settings.shelves_max, settings.names, settings.nats_url) == (7, ("a", "b"), "n")
    assert load(Shop, "shop", {}).shelves_max == 3


def test_every_bad_setting_is_named() -> None:
    with pytest.raises(SettingsError) as refused:
        load(Shop, "shop", {"RESTOCK_SHOP_SHELVES_MAX": "0", "RESTOCK_LOG_LEVEL": "loud"})
    assert "RESTOCK_SHOP_SHELVES_MAX" in str(refused.value)
    assert "RESTOCK_LOG_LEVEL" in str(refused.value)


def test_secrets_are_not_shown() -> None:
    settings = load(Shop, "shop", {"RESTOCK_SHOP_DATABASE_URL": "postgresql://u:secret@h/d"})
    shown = describe(settings, "shop")
    assert "secret" not in " ".join(setting.value for setting in shown)
    assert {s.variable for s in shown if s.is_set} == {"RESTOCK_SHOP_DATABASE_URL"}


def test_a_word_of_a_choice_counts_in_any_letter_case() -> None:
    environ = {"RESTOCK_LOG_LEVEL": "INFO", "RESTOCK_LOG_FORMAT": "Text"}
    settings = load(Shop, "shop", environ)
    assert (settings.log_level, settings.log_format) == ("info", "text")
    with pytest.raises(SettingsError) as refused:
        load(Shop, "shop", {"RESTOCK_LOG_LEVEL": "loud"})
    assert str(refused.value) == ("RESTOCK_LOG_LEVEL: must be one of debug, error, info, warning")


def test_an_offset_that_leaves_no_port_is_refused() -> None:
    assert load(Shop, "shop", {"RESTOCK_PORT_OFFSET": "62425"}).port_offset == 62425
    with pytest.raises(SettingsError, match="RESTOCK_PORT_OFFSET: must be a whole number from 0"):
        load(Shop, "shop", {"RESTOCK_PORT_OFFSET": "62426"})
