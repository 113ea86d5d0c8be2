"""Failed sign-ins as they are counted, and the places where accounts are known (decision 0021)."""

from dataclasses import dataclass
from datetime import timedelta

from restock.auth.guesses import Guess
from restock.kernel.database import Tx, deleted


@dataclass(frozen=True, slots=True)
class Standing:
    """What is known of a sign-in before its password is looked at.

    `known` is whether the account has been signed in at this place. `wait_here` and
    `wait_elsewhere` say for how long it is refused as one from there and as a stranger's, None for
    not at all. `failed_here` is whether sign-ins at a known place have failed of late.
    """

    known: bool
    wait_here: timedelta | None
    wait_elsewhere: timedelta | None
    failed_here: bool

    @property
    def wait(self) -> timedelta | None:
        """For how long it is refused."""
        return self.wait_here if self.known else self.wait_elsewhere


# A refusal lasts for `longest` at most: what seems to last longer was written by a clock that had
# jumped ahead. A transaction of another may have begun after ours, so now() is not late enough.
_REFUSES = "{0}.refused_until > now() AND {0}.refused_until <= clock_timestamp() + {1}"
_WAIT = f"CASE WHEN {_REFUSES} THEN {{0}}.refused_until - now() END"


async def find_standing(tx: Tx, guess: Guess, *, longest: timedelta) -> Standing:
    """How things stand for a sign-in; the same work whether or not there is such an account."""
    [row] = await tx.fetch(
        f"""
        SELECT known.key IS NOT NULL AS known, here.key IS NOT NULL AS failed_here,
               {_WAIT.format("here", "$4::interval")} AS wait_here,
               greatest(
                   {_WAIT.format("address", "$4::interval")},
                   {_WAIT.format("email", "$4::interval")}
               ) AS wait_elsewhere
        FROM (VALUES ($1::bytea, $2::bytea, $3::bytea)) AS guess (address, email, place)
        LEFT JOIN known_places AS known ON known.key = guess.place
        LEFT JOIN sign_in_failures AS here ON here.key = guess.place
        LEFT JOIN sign_in_failures AS address ON address.key = guess.address
        LEFT JOIN sign_in_failures AS email ON email.key = guess.email
        """,  # noqa: S608
        guess.address,
        guess.email,
        guess.place,
        longest,
    )
    return Standing(row["known"], row["wait_here"], row["wait_elsewhere"], row["failed_here"])


async def count_failure(
    tx: Tx, key: bytes, *, most: int, first: timedelta, longest: timedelta, kept: timedelta
) -> int | None:
    """Count one more; how many there are now, or None when it is refused, and not counted.

    From the `most`-th on each refuses the following ones for a while. Of any number at once
    exactly as many are counted as one after another would be. Those to which nothing was added for
    `kept` count no more, forgotten already or not.
    """
    failures: int | None = await tx.fetchval(
        f"""
        INSERT INTO sign_in_failures AS counted (key, failures, failed_at, refused_until)
        VALUES ($1, 1, now(), CASE WHEN $2 = 1 THEN now() + least($3::interval, $4::interval) END)
        ON CONFLICT (key) DO UPDATE
        SET (failures, failed_at, refused_until) = (
            SELECT now_there_are, now(), CASE WHEN now_there_are >= $2 THEN now() + least(
                $3::interval * 2 ^ least(now_there_are - $2, 20), $4::interval
            ) END
            FROM (VALUES (
                CASE WHEN counted.failed_at < now() - $5::interval THEN 1
                     ELSE counted.failures + 1 END
            )) AS fresh (now_there_are)
        )
        WHERE ({_REFUSES.format("counted", "$4::interval")}) IS NOT TRUE
        RETURNING failures
        """,  # noqa: S608
        key,
        most,
        first,
        longest,
        kept,
    )
    return failures


async def forgive(tx: Tx, key: bytes) -> None:
    """Count from none again."""
    await tx.execute("DELETE FROM sign_in_failures WHERE key = $1", key)


async def know_place(tx: Tx, place: bytes, *, every: timedelta) -> None:
    """Remember that the account was signed in there now; written at most so often."""
    await tx.execute(
        """
        INSERT INTO known_places (key, seen_at)
        SELECT $1, now()
        WHERE NOT EXISTS (
            SELECT FROM known_places WHERE key = $1 AND seen_at > now() - $2::interval
        )
        ON CONFLICT (key) DO UPDATE SET seen_at = now()
        """,
        place,
        every,
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
