"""Notification's own settings, beside those of every service."""

from typing import Annotated

from msgspec import Meta

from restock.kernel.settings import ServiceSettings

SOCKET_PORT = 3110


class Settings(ServiceSettings):
    """What notification is told."""

    head_check: Annotated[
        float,
        Meta(
            ge=0.1,
            le=60,
            description="Seconds between two looks for pushes that got lost; at least 0.1.",
            extra={"wanted": "must be a number of seconds from 0.1 to 60"},
        ),
    ] = 3.0
    sockets_per_account: Annotated[
        int,
        Meta(
            ge=1, description="Sockets one account may have open in one process; more are refused."
        ),
    ] = 50


def socket_ports(settings: Settings) -> list[int]:
    """The loopback port of this worker alone, where its polling clients come back to it."""
    return [SOCKET_PORT + settings.port_offset + settings.worker]
