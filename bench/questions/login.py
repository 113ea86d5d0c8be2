"""Login: a password checked (ours Argon2id, the other side bcrypt 10) and a session begun."""

from bench.figures import Line, at_least
from bench.peers import against_peers
from bench.stage import Stage, wrk_side
from bench.tenants import PASSWORD


async def ask(stage: Stage) -> list[Line]:
    """Logins a second against the other side."""
    sides = []
    for system in await stage.systems():
        tenant = await stage.tenant(system)
        words = {"EMAIL": tenant.email, "PASSWORD": PASSWORD}
        sides.append(wrk_side(system, tenant, "login", words))
    contest = await stage.hold("login", sides)
    return against_peers(contest, "login", "login", at_least(2.0))
