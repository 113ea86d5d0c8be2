"""Failed sign-ins as they are counted, and the places where accounts are known (decision 0021)."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from restock.auth.guesses import Guess
from restock.kernel.database import Tx, deleted


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a sign-in before its password is looked at.

    `seen_at` is when the account was signed in at this place, None where it never was. `wait_here`
    and `wait_elsewhere` say for how long it is refused as one from there and as a stranger's, None
    for not at all. `failed_here` is whether sign-ins at a known place have failed of late.
    """

    seen_at: datetime | None
    wait_here: timedelta | None
    wait_elsewhere: timedelta | None
    failed_here: bool

    @property
    def known(self) -> bool:
        """Whether the account has been signed in at this place."""
        return self.seen_at is not None

    @property
    def wait(self) -> timedelta | None:
        """For how long it is refused."""
        return self.wait_here if self.known else self.wait_elsewhere


async def find_standing(tx: Tx, guess: Guess) -> Standing:
    """How things stand for a sign-in; the same work whether or not there is such an account."""
    [row] = await tx.fetch(
        """
        SELECT known.seen_at, here.key IS NOT NULL AS failed_here,
               CASE WHEN here.refused_until > now() THEN here.refused_until - now() END
                   AS wait_here,
               greatest(
                   CASE WHEN address.refused_until > now() THEN address.refused_until - now() END,
                   CASE WHEN email.refused_until > now() THEN email.refused_until - now() END
               ) AS wait_elsewhere
        FROM (VALUES ($1::bytea, $2::bytea, $3::bytea)) AS guess (address, email, place)
        LEFT JOIN known_places AS known ON known.key = guess.place
        LEFT JOIN sign_in_failures AS here ON here.key = guess.place
        LEFT JOIN sign_in_failures AS address ON address.key = guess.address
        LEFT JOIN sign_in_failures AS email ON email.key = guess.email
        """,
        guess.address,
        guess.email,
        guess.place,
    )
    return Standing(row["seen_at"], row["wait_here"], row["wait_elsewhere"], row["failed_here"])


async def count_failure(
    tx: Tx, key: bytes, *, most: int, first: timedelta, longest: timedelta
) -> int | None:
    """Count one more; how many there are now, or None when it is refused, and not counted.

    From the `most`-th on each refuses the following ones for a while. Of any number at once
    exactly as many are counted as one after another would be.
    """
    failures: int | None = await tx.fetchval(
        """
        INSERT INTO sign_in_failures AS counted (key, failures, failed_at, refused_until)
        VALUES ($1, 1, now(), CASE WHEN $2 = 1 THEN now() + $3::interval END)
        ON CONFLICT (key) DO UPDATE
        SET failures = counted.failures + 1, failed_at = now(),
            refused_until = CASE WHEN counted.failures + 1 >= $2 THEN now() + least(
                $3::interval * 2 ^ least(counted.failures + 1 - $2, 20), $4::interval
            ) END
        WHERE counted.refused_until IS NULL OR counted.refused_until <= now()
        RETURNING failures
        """,
        key,
        most,
        first,
        longest,
    )
    return failures


async def forgive(tx: Tx, key: bytes) -> None:
    """Count from none again."""
    await tx.execute("DELETE FROM sign_in_failures WHERE key = $1", key)


async def know_place(tx: Tx, place: bytes) -> None:
    """Remember that the account was signed in there now."""
    await tx.execute(
        """
        INSERT INTO known_places (key, seen_at) VALUES ($1, now())
        ON CONFLICT (key) DO UPDATE SET seen_at = now()
        """,
        place,
    )


async def forget_failures(tx: Tx, *, failed_before: timedelta) -> int:
    """Forget some counters to which nothing was added for so long; how many."""
    return await deleted(
        tx,
        """
        DELETE FROM sign_in_failures WHERE key IN (
            SELECT key FROM sign_in_failures WHERE failed_at < now() - $1::interval
            ORDER BY failed_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        failed_before,
    )


async def forget_places(tx: Tx, *, seen_before: timedelta) -> int:
    """Forget some places at which nobody was signed in for so long; how many."""
    return await deleted(
        tx,
        """
        DELETE FROM known_places WHERE key IN (
            SELECT key FROM known_places WHERE seen_at < now() - $1::interval
            ORDER BY seen_at LIMIT $2 FOR UPDATE SKIP LOCKED
        )
        """,
        seen_before,
    )
