"""What auth does. Each function is one request; its transaction ends at the edge."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from uuid import UUID

from prometheus_client import Counter

from restock.auth import store
from restock.auth.domain import (
    Account,
    Device,
    Session,
    Verdict,
    access_expiry,
    email_problem,
    judge_refresh,
    name_problem,
    session_end,
)
from restock.auth.faults import BadRefreshToken, EmailTaken, SessionNotFound, WrongCredentials
from restock.auth.keys import SigningKey
from restock.auth.resources import Resources
from restock.events.auth import SessionRevoked, UserRegistered
from restock.kernel import clock, outbox
from restock.kernel.database import Tx
from restock.kernel.faults import FieldError, Invalid, Unauthenticated
from restock.kernel.identity import Principal
from restock.kernel.ids import new_id
from restock.kernel.telemetry import log

# The end of a session whose last access token ended this long ago concerns nobody else: clocks
# of other machines are not further apart.
CLOCKS_APART = timedelta(minutes=1)

# How long a session that is over is remembered.
SESSION_KEPT = timedelta(days=30)

sign_ins = Counter("restock_auth_sign_ins_total", "Passwords compared.", ["outcome"])
sessions_ended = Counter(
    "restock_auth_sessions_ended_total", "Sessions ended before their time.", ["by"]
)


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What a client gets for a sign-in or a refresh. `expires_in` is in seconds."""

    account: Account
    token: str
    refresh_token: str
    expires_in: int


async def register(
    tx: Tx,
    resources: Resources,
    *,
    email: str,
    name: str,
    password: str,
    role: str,
    device: Device,
) -> SignedIn:
    """Make an account with its first workspace, and sign it in.

    Raises Invalid for what isn't an e-mail address or a name, EmailTaken, TooManySignIns.
    """
    _require(email, name)
    # before the first statement: neither holds a connection of this transaction
    password_hash = await resources.passwords.hash(password)
    key = await resources.keys.signer()
    account = await _add_account(tx, email=email, name=name, role=role, password_hash=password_hash)
    return await _begin_session(tx, resources, key, account, device)


async def create_admin(tx: Tx, *, email: str, name: str, password_hash: str) -> Account:
    """Make an account of role admin, which no request can ask for.

    Raises Invalid for what isn't an e-mail address or a name, EmailTaken.
    """
    _require(email, name)
    return await _add_account(tx, email=email, name=name, role="admin", password_hash=password_hash)


async def login(
    tx: Tx, resources: Resources, *, email: str, password: str, device: Device
) -> SignedIn:
    """Sign in with a password.

    Raises WrongCredentials, the same after the same work for an unknown account and for a wrong
    password, and TooManySignIns.
    """
    async with resources.database.tx(single=True) as look:
        found = await store.find_credentials(look, email)
    account, stored = found or (None, None)
    checked = await resources.passwords.check(stored, password)
    sign_ins.labels("right" if checked.right else "wrong").inc()
    if account is None or stored is None or not checked.right:
        raise WrongCredentials()
    key = await resources.keys.signer()
    if checked.rehashed is not None:
        await store.replace_password_hash(tx, account.id, known=stored, better=checked.rehashed)
    return await _begin_session(tx, resources, key, account, device)


async def refresh(tx: Tx, resources: Resources, *, refresh_token: str, device: Device) -> SignedIn:
    """Exchange the newest refresh token of a session for its successor and an access token.

    Raises BadRefreshToken; when the token was spent long ago the session ends with it.
    """
    claim = resources.refresh_tokens.read(refresh_token)
    if claim is None:
        raise BadRefreshToken()
    key = await resources.keys.signer()
    found = await store.lock_session(tx, claim.session_id)
    if found is None:
        raise BadRefreshToken()
    session, account = found
    now = clock.now()  # the lock may have been waited for
    counter, rotated_at = session.counter, session.rotated_at
    match judge_refresh(session, claim.counter, now, resources.limits):
        case Verdict.REFUSE:
            raise BadRefreshToken()
        case Verdict.THEFT:
            await _end_stolen(tx, resources, session, now)
            raise BadRefreshToken()
        case Verdict.ROTATE:
            counter, rotated_at = session.counter + 1, now
    access_until = access_expiry(session.created_at, now, resources.token_life, resources.limits)
    await store.use_session(
        tx,
        session,
        device,
        counter=counter,
        rotated_at=rotated_at,
        now=now,
        access_until=access_until,
        over_at=session_end(session.created_at, now, resources.limits),
    )
    return _signed_in(resources, key, account, session.id, counter, now, access_until)


async def verify(tx: Tx, who: Principal) -> Account:
    """The caller's account as it is now. Raises Unauthenticated when the session has ended."""
    account = await store.find_signed_in(tx, who.user_id, who.session_id)
    if account is None:
        raise Unauthenticated("The session was ended.")
    return account


async def logout(tx: Tx, who: Principal, resources: Resources) -> None:
    """End the session that the request came with."""
    now = clock.now()
    session = await store.end_session(tx, who.user_id, who.session_id, by="logout", now=now)
    if session is not None:
        await _announce_end(tx, resources, session, now, by="logout")


async def logout_all(tx: Tx, who: Principal, resources: Resources) -> None:
    """End every session of the caller, this one too."""
    now = clock.now()
    for session in await store.end_sessions(tx, who.user_id, by="logout_all", now=now):
        await _announce_end(tx, resources, session, now, by="logout_all")


async def end_session(tx: Tx, who: Principal, resources: Resources, session_id: UUID) -> None:
    """End one session of the caller. Raises SessionNotFound."""
    now = clock.now()
    session = await store.end_session(tx, who.user_id, session_id, by="owner", now=now)
    if session is None:
        raise SessionNotFound()
    await _announce_end(tx, resources, session, now, by="owner")


async def list_sessions(
    tx: Tx, who: Principal, resources: Resources, *, before: UUID | None, limit: int
) -> list[Session]:
    """The caller's sessions that are not over, newest first."""
    now = clock.now()
    return await store.live_sessions(
        tx,
        who.user_id,
        used_after=now - resources.limits.idle,
        created_after=now - resources.limits.absolute,
        before=before,
        limit=limit,
    )


async def forget_sessions(tx: Tx) -> int:
    """Forget some sessions that have been over for `SESSION_KEPT`; how many."""
    return await store.forget_sessions(tx, over_for=SESSION_KEPT)


async def public_keys(resources: Resources) -> list[dict[str, str]]:
    """The public halves of the keys that sign access tokens, or may soon (JWKs)."""
    return await resources.keys.published()


def _require(email: str, name: str) -> None:
    problems = (("/email", email_problem(email)), ("/name", name_problem(name)))
    errors = [FieldError(field, problem) for field, problem in problems if problem is not None]
    if errors:
        raise Invalid(errors=errors)


async def _add_account(tx: Tx, *, email: str, name: str, role: str, password_hash: str) -> Account:
    account = await store.add_account(
        tx, email=email, name=name, role=role, password_hash=password_hash, workspace_name=name
    )
    if account is None:
        raise EmailTaken()
    registered = UserRegistered(
        user_id=account.id,
        workspace_id=account.workspace_id,
        email=account.email,
        name=account.name,
        role=account.role,
    )
    await outbox.put(tx, registered, workspace_id=account.workspace_id)
    return account


async def _begin_session(
    tx: Tx, resources: Resources, key: SigningKey, account: Account, device: Device
) -> SignedIn:
    now, session_id = clock.now(), new_id()
    access_until = access_expiry(now, now, resources.token_life, resources.limits)
    await store.add_session(
        tx,
        session_id,
        account,
        device,
        now=now,
        access_until=access_until,
        over_at=session_end(now, now, resources.limits),
    )
    return _signed_in(resources, key, account, session_id, 0, now, access_until)


def _signed_in(
    resources: Resources,
    key: SigningKey,
    account: Account,
    session_id: UUID,
    counter: int,
    now: datetime,
    access_until: datetime,
) -> SignedIn:
    token = resources.access_tokens.make(
        key, account, session_id, issued_at=now, expires_at=access_until
    )
    return SignedIn(
        account=account,
        token=token,
        refresh_token=resources.refresh_tokens.make(session_id, counter),
        expires_in=max(0, int(access_until.timestamp()) - int(now.timestamp())),
    )


async def _end_stolen(tx: Tx, resources: Resources, session: Session, now: datetime) -> None:
    """End a session whose tokens two parties hold: a refusal that must stay written."""
    tx.keep_on_refusal = True
    log.warning("auth.refresh_token_reused", session_id=session.id, user_id=session.account_id)
    await store.end_session(tx, session.account_id, session.id, by="theft", now=now)
    await _announce_end(tx, resources, session, now, by="theft")


async def _announce_end(
    tx: Tx, resources: Resources, session: Session, now: datetime, *, by: str
) -> None:
    """Tell every process that access tokens of this session are no longer good.

    The others hear of it by the event; this one knows it right after the commit.
    """
    tx.after_commit(sessions_ended.labels(by).inc)
    if session.access_until + CLOCKS_APART < now:
        return
    tx.after_commit(partial(resources.revocations.add, session.id, session.access_until))
    revoked = SessionRevoked(
        session_id=session.id, user_id=session.account_id, expires_at=session.access_until
    )
    await outbox.put(tx, revoked, workspace_id=session.workspace_id)
