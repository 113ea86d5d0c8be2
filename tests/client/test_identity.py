"""Staying signed in."""

import asyncio

import pytest

from restock.client import ApiProblem, Gateway

ADA = {"email": "ada@example.org", "password": "ten letters"}


async def test_a_token_is_renewed_before_it_ends(stub):
    stub.expires_in = 0  # at once
    async with Gateway(stub.url) as gateway:
        signed = await gateway.auth.register(name="Ada", **ADA)
        stub.expires_in = 900
        await gateway.auth.verify()
        assert len(stub.calls("/refresh")) == 1
        assert await gateway.auth.token() != signed.token
        await gateway.auth.verify()
        assert len(stub.calls("/refresh")) == 1


async def test_many_calls_at_a_tokens_end_renew_it_once(stub, gateway):
    stub.tokens.clear()
    users = await asyncio.gather(*(gateway.auth.verify() for _ in range(20)))
    assert {user.email for user in users} == {"ada@example.org"}
    assert len(stub.calls("/refresh")) == 1


async def test_a_session_that_was_ended_is_told(stub, gateway):
    stub.tokens.clear()
    stub.refreshes.clear()
    with pytest.raises(ApiProblem) as refusal:
        await gateway.auth.verify()
    assert refusal.value.status == 401
    assert stub.calls("/login") == []


async def test_who_stays_signed_in_uses_the_password_again(stub):
    async with Gateway(stub.url, stay_signed_in=True) as gateway:
        await gateway.auth.register(name="Ada", **ADA)
        stub.tokens.clear()
        stub.refreshes.clear()
        assert (await gateway.auth.verify()).email == "ada@example.org"
        assert len(stub.calls("/login")) == 1


@pytest.mark.parametrize("how", ["lose", "lose-answer"])
async def test_registering_once_over_a_broken_connection(stub, how):
    stub.trouble.append(("/register", how))
    async with Gateway(stub.url) as gateway:
        assert await gateway.auth.register_once(name="Ada", **ADA)
        assert (await gateway.auth.verify()).email == "ada@example.org"
    assert len(stub.accounts) == 1


async def test_an_account_is_made_where_it_isnt_there(stub):
    async with Gateway(stub.url) as gateway:
        assert await gateway.auth.sign_in_or_register(name="Ada", **ADA) is True
    async with Gateway(stub.url) as gateway:
        assert await gateway.auth.sign_in_or_register(name="Ada", **ADA) is False
    async with Gateway(stub.url) as gateway:
        with pytest.raises(ApiProblem) as refusal:
            await gateway.auth.sign_in_or_register(
                name="Ada", email=ADA["email"], password="another one"
            )
    assert refusal.value.status == 401


@pytest.mark.parametrize("how", [None, "lose-answer"])
async def test_an_account_that_two_make_at_once(stub, how):
    async with Gateway(stub.url) as one, Gateway(stub.url) as other:
        if how is None:  # both were told that it isn't there
            stub.trouble.append(("/login", 401))
            await one.auth.register(name="Ada", **ADA)
        else:
            stub.trouble.append(("/register", how))
        assert await other.auth.sign_in_or_register(name="Ada", **ADA) is True
        assert (await other.auth.verify()).email == ADA["email"]
    assert len(stub.accounts) == 1
