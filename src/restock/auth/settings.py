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
    guesses_account: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Wrong passwords answered for one e-mail before sign-in is 429; 0 is off.",
        ),
    ] = 10
    guesses_address: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="Wrong passwords answered to one address (an IPv6 /64); 0 is off.",
        ),
    ] = 50
    guesses_wait_seconds: Annotated[
        int,
        Meta(ge=1, le=3600, description="Seconds of the first such 429; doubled by each further."),
    ] = 60
    guesses_wait_most_seconds: Annotated[
        int, Meta(ge=1, le=3600, description="Seconds of such a 429 at most.")
    ] = 900
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
    keys_days: Annotated[
        float,
        Meta(
            ge=0,
            le=3650,
            description="Days for which a key signs before the next one does; 0: ever.",
        ),
    ] = 30
    keys_ahead_seconds: Annotated[
        int,
        Meta(
            ge=1,
            le=86_400,
            description="Seconds a key is public before it signs: twice what any cache keeps keys.",
        ),
    ] = 300
