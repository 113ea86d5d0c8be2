"""What an operator does without HTTP."""

import jwt
import pytest

from restock.auth.faults import EmailTaken
from restock.auth.operator import create_admin
from restock.engines.postgres import PostgresEngine
from restock.kernel.faults import Invalid
from tests.auth.conftest import PASSWORD, Auth, signed_in


async def test_an_admin_is_made_and_signs_in(auth: Auth, postgres: PostgresEngine) -> None:
    url = postgres.service_url("auth", database=auth.service.database_name)
    made = await create_admin(url, email="root@example.org", password=PASSWORD)
    admin = signed_in(await auth.login("ROOT@example.org"))
    claims = jwt.decode(admin.token, options={"verify_signature": False})
    assert (admin.id, claims["role"], claims["name"]) == (str(made), "admin", "root")
    [told] = await auth.events("auth.user.registered")
    assert (told["userId"], told["role"]) == (str(made), "admin")


async def test_what_registration_refuses_is_refused_here_too(
    auth: Auth, postgres: PostgresEngine
) -> None:
    url = postgres.service_url("auth", database=auth.service.database_name)
    await auth.newcomer()
    with pytest.raises(EmailTaken):
        await create_admin(url, email="ADA@example.org", password=PASSWORD)
    with pytest.raises(Invalid):
        await create_admin(url, email="no address", password=PASSWORD)
    with pytest.raises(Invalid):
        await create_admin(url, email="root@example.org", password="short")
    for name in ("x" * 201, "Root\n"):
        with pytest.raises(Invalid):
            await create_admin(url, email="root@example.org", password=PASSWORD, name=name)
    assert await auth.service.fetchval("SELECT count(*) FROM accounts") == 1
