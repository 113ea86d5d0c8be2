"""HTTP of auth."""

from uuid import UUID

from restock.auth import operations
from restock.auth.domain import Device, device_of
from restock.auth.faults import (
    BadRefreshToken,
    EmailTaken,
    HashingAway,
    SessionNotFound,
    TooManyGuesses,
    TooManySignIns,
    WrongCredentials,
)
from restock.auth.operations import SignedIn
from restock.auth.resources import Resources
from restock.auth.schemas import (
    Credentials,
    PublicKey,
    PublicKeys,
    RefreshRequest,
    Registration,
    Session,
    SignIn,
    User,
)
from restock.kernel.database import Tx
from restock.kernel.identity import Principal
from restock.kernel.paging import Page
from restock.kernel.reply import Reply
from restock.kernel.web import ClientInfo, delete, get, post

NOT_KEPT = {"Cache-Control": "no-store"}
KEYS_KEPT = {"Cache-Control": "public, max-age=60"}


@post(
    "/api/auth/register",
    answers=201,
    public=True,
    key=None,
    faults=(EmailTaken, TooManySignIns, HashingAway),
    summary="Make an account and sign it in",
)
async def register(
    tx: Tx, resources: Resources, client: ClientInfo, data: Registration
) -> Reply[SignIn]:
    """Makes the account's first workspace too."""
    signed_in = await operations.register(
        tx,
        resources,
        email=data.email,
        name=data.name,
        password=data.password,
        role=data.role,
        device=_device(client),
    )
    return _render(signed_in)


@post(
    "/api/auth/login",
    public=True,
    key=None,
    faults=(WrongCredentials, TooManyGuesses, TooManySignIns, HashingAway),
    summary="Sign in",
)
async def login(
    tx: Tx, resources: Resources, client: ClientInfo, data: Credentials
) -> Reply[SignIn]:
    """One answer, and one time taken, for an unknown account and for a wrong password.

    After some wrong ones, for one e-mail address or from one network address, further ones are
    refused for a minute, then for longer; not where the account was signed in before.
    """
    signed_in = await operations.login(
        tx, resources, email=data.email, password=data.password, device=_device(client)
    )
    return _render(signed_in)


@post(
    "/api/auth/refresh",
    public=True,
    key=None,
    faults=(BadRefreshToken,),
    summary="Exchange a refresh token for its successor",
)
async def refresh(
    tx: Tx, resources: Resources, client: ClientInfo, data: RefreshRequest
) -> Reply[SignIn]:
    """Each token is good once; for some seconds after that it gives the same successor again.

    One that is used later still means that it was stolen, and ends the session.
    """
    signed_in = await operations.refresh(
        tx, resources, refresh_token=data.refresh_token, device=_device(client)
    )
    return _render(signed_in)


@get("/api/auth/verify", single=True, summary="Who the token belongs to")
async def verify(tx: Tx, who: Principal) -> Reply[User]:
    """The caller's account as it is now."""
    return Reply(User.of(await operations.verify(tx, who)), headers=NOT_KEPT)


@post("/api/auth/logout", answers=204, key=None, summary="End this session")
async def logout(tx: Tx, who: Principal, resources: Resources) -> None:
    """Its tokens stop working everywhere within a second."""
    await operations.logout(tx, who, resources)


@post("/api/auth/logout-all", answers=204, key=None, summary="End all my sessions")
async def logout_all(tx: Tx, who: Principal, resources: Resources) -> None:
    """On every device, this one included."""
    await operations.logout_all(tx, who, resources)


@get("/api/auth/sessions", single=True, summary="My sessions, newest first")
async def list_sessions(
    tx: Tx, who: Principal, resources: Resources, page: Page
) -> Reply[list[Session]]:
    """Where the account is signed in."""
    before = page.after(tuple[UUID])
    sessions = await operations.list_sessions(
        tx, who, resources, before=before[0] if before else None, limit=page.limit + 1
    )
    shown = [Session.of(session, current=who.session_id) for session in sessions]
    reply = page.reply(shown, after=lambda last: [str(last.id)])
    reply.headers |= NOT_KEPT
    return reply


@delete(
    "/api/auth/sessions/{session_id:uuid}",
    answers=204,
    faults=(SessionNotFound,),
    summary="End one of my sessions",
)
async def end_session(tx: Tx, who: Principal, resources: Resources, session_id: UUID) -> None:
    """Its tokens stop working everywhere within a second."""
    await operations.end_session(tx, who, resources, session_id)


@get("/.well-known/jwks.json", public=True, summary="The keys that check access tokens")
async def public_keys(resources: Resources) -> Reply[PublicKeys]:
    """A JWK Set (RFC 7517)."""
    keys = await operations.public_keys(resources)
    return Reply(PublicKeys(keys=[PublicKey(**key) for key in keys]), headers=KEYS_KEPT)


ROUTES = (
    register,
    login,
    refresh,
    verify,
    logout,
    logout_all,
    list_sessions,
    end_session,
    public_keys,
)


def _device(client: ClientInfo) -> Device:
    return device_of(client.user_agent, client.address)


def _render(signed_in: SignedIn) -> Reply[SignIn]:
    answer = SignIn(
        user=User.of(signed_in.account),
        token=signed_in.token,
        refresh_token=signed_in.refresh_token,
        expires_in=signed_in.expires_in,
    )
    return Reply(answer, headers=NOT_KEPT)
