"""The account and its tokens: register, sign in, stay signed in.

A token is renewed before it ends, and once more when a call was refused with 401 all the same
(revoked, or the clock is off). Where renewing is refused too, a client that was told to stay
signed in uses the password again.
"""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from restock.client.paging import pages
from restock.client.refusals import ApiProblem
from restock.client.shapes import LoginSession, Renewed, Signed, User
from restock.client.transport import Call, Reply, TokenSource, Transport

RENEW_BEFORE = 60.0  # seconds before a token's end, or a third of a shorter life


@dataclass(frozen=True, slots=True)
class _Tokens:
    access: str
    refresh: str
    renew_at: float  # in the event loop's clock


class Identity(TokenSource):
    """`/api/auth`, and the tokens every other call of this gateway carries."""

    def __init__(self, transport: Transport, *, stay_signed_in: bool = False) -> None:
        self._transport = transport
        self._stay_signed_in = stay_signed_in
        self._tokens: _Tokens | None = None
        self._credentials: tuple[str, str] | None = None
        self._renewing = asyncio.Lock()
        self.user: User | None = None

    async def register(
        self, *, email: str, name: str, password: str, role: str | None = None
    ) -> Signed:
        """Make an account and sign in. Raises ApiProblem 409 when the e-mail is taken."""
        body: dict[str, Any] = {"email": email, "name": name, "password": password}
        if role is not None:
            body["role"] = role
        reply = await self._post("/register", body)
        return self._signed_in(reply.read(Signed), email, password)

    async def login(self, *, email: str, password: str) -> Signed:
        """Sign in. Raises ApiProblem 401 for an unknown account and a wrong password alike."""
        reply = await self._post("/login", {"email": email, "password": password}, repeatable=True)
        return self._signed_in(reply.read(Signed), email, password)

    async def sign_in_or_register(self, *, email: str, name: str, password: str) -> bool:
        """Be signed in as this account, made first if it isn't there; True when it wasn't.

        Raises ApiProblem 401 when the account is there with another password.
        """
        try:
            await self.login(email=email, password=password)
        except ApiProblem as problem:
            if problem.status != 401:
                raise
            refused = problem
        else:
            return False
        return await self.register_once(email=email, name=name, password=password, taken=refused)

    async def register_once(
        self, *, email: str, name: str, password: str, taken: ApiProblem | None = None
    ) -> bool:
        """Register, over a connection that may break midway; True when the account was made.

        An e-mail that is taken may be taken by the sending whose answer was lost, or by somebody
        with the same account a moment ago: signing in tells. `taken` is raised instead of the 401
        that says it isn't ours.
        """
        body = {"email": email, "name": name, "password": password}
        try:
            reply = await self._post("/register", body, repeatable=True)
        except ApiProblem as problem:
            if problem.status != 409:
                raise
            try:
                await self.login(email=email, password=password)
            except ApiProblem as refused:
                if refused.status == 401 and taken is not None:
                    raise taken from problem
                raise
            return True
        self._signed_in(reply.read(Signed), email, password)
        return True

    async def verify(self) -> User:
        """The account the token stands for."""
        return (await self._transport.send(_get("/verify"), self)).read(User)

    async def refresh(self) -> Renewed:
        """Renew both tokens now. Raises ApiProblem 401 when the session has ended."""
        async with self._renewing:
            return await self._refresh()

    async def logout(self) -> None:
        """End this session."""
        await self._transport.send(_post("/logout", repeatable=True), self)
        self._forget()

    async def logout_all(self) -> None:
        """End every session of the account, this one too."""
        await self._transport.send(_post("/logout-all", repeatable=True), self)
        self._forget()

    def sessions(self) -> AsyncIterator[LoginSession]:
        """The account's open sessions, newest first."""
        return pages(self._transport, self, _get("/sessions"), LoginSession)

    async def end_session(self, session_id: UUID) -> None:
        """End one session of the account."""
        call = Call(method="DELETE", path=f"/api/auth/sessions/{session_id}", paced=False)
        await self._transport.send(call, self)

    def use(self, token: str, refresh_token: str = "", expires_in: float = 900.0) -> None:
        """Go on with tokens from elsewhere."""
        self._keep(token, refresh_token, expires_in)

    async def token(self) -> str | None:
        """A token with some life left; None while nobody is signed in."""
        tokens = self._tokens
        if tokens is None:
            return None
        if asyncio.get_running_loop().time() < tokens.renew_at or not tokens.refresh:
            return tokens.access
        return await self.renew(tokens.access)

    async def renew(self, refused: str) -> str | None:
        """Another token than `refused`; None when the session can't be renewed."""
        async with self._renewing:
            tokens = self._tokens
            if tokens is None or tokens.access != refused:
                return tokens.access if tokens else None
            if tokens.refresh:
                try:
                    return (await self._refresh()).token
                except ApiProblem as problem:
                    if problem.status != 401:
                        raise
            if self._credentials is None:
                return None
            email, password = self._credentials
            return (await self.login(email=email, password=password)).token

    async def _refresh(self) -> Renewed:
        if self._tokens is None:
            raise RuntimeError("Sign in first")
        # repeatable: the service takes the same refresh token again for some seconds
        reply = await self._post(
            "/refresh", {"refreshToken": self._tokens.refresh}, repeatable=True
        )
        renewed = reply.read(Renewed)
        self._keep(renewed.token, renewed.refresh_token, renewed.expires_in)
        return renewed

    async def _post(self, path: str, body: Any, *, repeatable: bool = False) -> Reply:
        return await self._transport.send(_post(path, body, repeatable=repeatable))

    def _signed_in(self, signed: Signed, email: str, password: str) -> Signed:
        self.user = signed.user
        self._credentials = (email, password) if self._stay_signed_in else None
        self._keep(signed.token, signed.refresh_token, signed.expires_in)
        return signed

    def _keep(self, access: str, refresh: str, expires_in: float) -> None:
        life = max(expires_in - RENEW_BEFORE, expires_in * 2 / 3)
        renew_at = asyncio.get_running_loop().time() + life
        self._tokens = _Tokens(access, refresh, renew_at)

    def _forget(self) -> None:
        self._tokens = None
        self._credentials = None
        self.user = None


def _get(path: str) -> Call:
    return Call(method="GET", path=f"/api/auth{path}", paced=False)


def _post(path: str, body: Any = None, *, repeatable: bool = False) -> Call:
    content = {} if body is None else {"body": body}
    return Call(
        method="POST",
        path=f"/api/auth{path}",
        repeatable=repeatable,
        paced=False,
        **content,
    )
