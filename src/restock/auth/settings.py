"""What auth is told, beyond what every service is told."""

from typing import Annotated

from msgspec import Meta

from restock.kernel.settings import ServiceSettings


class Settings(ServiceSettings, frozen=True, kw_only=True):
    """Settings of auth, read from `RESTOCK_AUTH_…`."""

    password_threads: Annotated[
        int, Meta(ge=1, le=64, description="Passwords hashed at once by one worker, 19 MiB each.")
    ] = 2
    password_queue: Annotated[
        int, Meta(ge=0, le=10_000, description="Passwords that may wait; beyond it sign-in is 503.")
    ] = 64
    refresh_grace_seconds: Annotated[
        int,
        Meta(
            ge=0,
            le=60,
            description="Seconds in which a spent refresh token gives its successor once more.",
        ),
    ] = 10
    session_idle_days: Annotated[
        int, Meta(ge=1, le=365, description="Days without a refresh after which a session is over.")
    ] = 14
    session_absolute_days: Annotated[
        int, Meta(ge=1, le=3650, description="Days after which a session is over in any case.")
    ] = 90
    keys_reload_seconds: Annotated[
        int, Meta(ge=0, le=300, description="Seconds after which the signing keys are read again.")
    ] = 10
