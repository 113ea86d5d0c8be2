"""Sessions that are over are forgotten in time, and no others."""

from datetime import timedelta

from restock.auth import SERVICE
from restock.auth.operations import SESSION_KEPT
from restock.kernel.tenants import EVERYBODY
from tests.auth.conftest import Auth, StartAuth

DAY = timedelta(days=1)


async def begin(
    auth: Auth, *, days_ago: int, over: timedelta, ended: timedelta | None = None
) -> str:
    """A session begun so many days ago, over or ended so long ago; its id."""
    session_id = await auth.owner.fetchval(
        """
        INSERT INTO sessions (id, account_id, workspace_id, user_agent, address, created_at,
            rotated_at, last_used_at, access_until, over_at, ended_at, ended_by)
        SELECT uuidv7(-$1::interval), id, workspace_id, '', '', now() - $1::interval,
            now() - $1::interval, now() - $1::interval, now() - $1::interval, now() - $2::interval,
            now() - $3::interval, CASE WHEN $3::interval IS NOT NULL THEN 'logout' END
        FROM accounts
        RETURNING id
        """,
        timedelta(days=days_ago),
        over,
        ended,
    )
    return str(session_id)


async def forget(auth: Auth) -> int:
    """One round of the service's housekeeping, with the service's own rights."""
    purge = SERVICE.purges[0]
    async with auth.service.context.database.tx(single=True, tenant=EVERYBODY) as tx:
        return await purge(tx)


async def left(auth: Auth) -> set[str]:
    return {row["id"] for row in await auth.owner.fetch("SELECT id::text FROM sessions")}


async def test_sessions_long_over_are_forgotten(auth: Auth) -> None:
    ada = await auth.newcomer()
    live = await left(auth)
    late, soon = SESSION_KEPT + DAY, SESSION_KEPT - DAY
    for over, ended in ((late, None), (-DAY, late), (late, late)):
        await begin(auth, days_ago=80, over=over, ended=ended)
    kept = {
        await begin(auth, days_ago=80, over=soon),
        await begin(auth, days_ago=80, over=-DAY),
        await begin(auth, days_ago=80, over=-DAY, ended=soon),
        await begin(auth, days_ago=1, over=-DAY, ended=timedelta(0)),
    }
    assert await forget(auth) == 3
    assert await left(auth) == live | kept
    assert await forget(auth) == 0
    assert await auth.works(ada.token)


async def test_a_session_knows_when_it_is_over(start_auth: StartAuth) -> None:
    auth = await start_auth(session_idle_days="2", session_absolute_days="3")
    lasts = "SELECT over_at - created_at FROM sessions"
    ada = await auth.newcomer()
    assert await auth.service.fetchval(lasts) == 2 * DAY
    await auth.owner.execute("UPDATE sessions SET created_at = created_at - interval '12 hours'")
    await auth.refresh(ada.refresh_token)
    used = "SELECT over_at - last_used_at FROM sessions"
    assert await auth.service.fetchval(used) == 2 * DAY
    await auth.owner.execute(
        "UPDATE sessions SET created_at = created_at - interval '1 day',"
        " over_at = over_at - interval '1 day'"
    )
    await auth.refresh(ada.refresh_token)
    assert await auth.service.fetchval(lasts) == 3 * DAY
