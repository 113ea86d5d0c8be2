"""Vendor's own settings, beside those of every service."""

from typing import Annotated

from msgspec import Meta

from restock.kernel.settings import ServiceSettings, shared

INVENTORY_PORT = 3101


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """What vendor is told."""

    inventory_url: Annotated[
        str,
        Meta(
            pattern=r"^(https?://\S+)?$",
            description="Where inventory is asked for an item; empty is the one beside us.",
            extra=shared("RESTOCK_INVENTORY_URL"),
        ),
    ] = ""
    inventory_timeout: Annotated[
        float, Meta(gt=0, le=30, description="Seconds inventory has to answer.")
    ] = 2.0
    inventory_failures: Annotated[
        int, Meta(ge=1, description="Failures in a row after which inventory is left alone.")
    ] = 5
    inventory_rest: Annotated[
        float, Meta(gt=0, le=60, description="Seconds for which it is left alone.")
    ] = 1.0


def inventory_url(settings: Settings) -> str:
    """Inventory's address, without a slash at its end."""
    beside_us = f"http://127.0.0.1:{INVENTORY_PORT + settings.port_offset}"
    return (settings.inventory_url or beside_us).rstrip("/")
