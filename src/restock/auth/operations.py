"""What auth does. Each function is one request; its transaction ends at the edge."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from math import ceil
from uuid import UUID

from prometheus_client import Counter

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
from restock.auth.faults import (
    BadRefreshToken,
    EmailTaken,
    SessionNotFound,
    TooManyGuesses,
    WrongCredentials,
)
from restock.auth.guesses import Guess, network_of
from restock.auth.keys import SigningKey
from restock.auth.resources import Resources
from restock.auth.store import accounts, guesses, sessions
from restock.auth.store.guesses import Standing
from restock.events.auth import SessionRevoked, UserRegistered
from restock.kernel import clock, outbox
from restock.kernel.database import Tx
from restock.kernel.faults import FieldError, Invalid, Unauthenticated
from restock.kernel.identity import Principal
from restock.kernel.ids import new_id
from restock.kernel.telemetry import log
from restock.kernel.tenants import EVERYBODY, Tenant

# How long a session that is over is remembered.
SESSION_KEPT = timedelta(days=30)

# How long a failed sign-in is remembered, counted from the last one of its counter.
FAILURE_KEPT = timedelta(days=1)

# How long a place stays known: while a session begun there may live or be remembered. It is noted
# anew at most so often.
PLACE_KEPT = timedelta(days=120)
PLACE_NOTED_EVERY = timedelta(days=1)

sign_ins = Counter(
    "restock_auth_sign_ins_total", "Sign-ins, by whether the password was right.", ["outcome"]
)
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

    Raises Invalid for what isn't an e-mail address or a name, EmailTaken, TooManySignIns,
    HashingAway.
    """
    _require(email, name)
    # before the first statement: neither holds a connection of this transaction
    password_hash = await resources.passwords.hash(password)
    key = await resources.keys.signer()
    account = await _add_account(tx, email=email, name=name, role=role, password_hash=password_hash)
    await _know_place(tx, resources.guesses.of(email, device.address))
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
    password; TooManyGuesses, alike for both; TooManySignIns and HashingAway.
    """
    resources.passwords.require_room()
    guess = resources.guesses.of(email, device.address)
    async with resources.database.tx(single=True, tenant=EVERYBODY) as look:
        standing = await _require_turn(look, resources, guess)
        found = await accounts.find_credentials(look, email)
    account, stored = found or (None, None)
    checked = await resources.passwords.check(stored, password)
    if account is None or stored is None or not checked.right:
        await _count_guess(tx, resources, guess, standing, device)
        raise WrongCredentials()
    key = await resources.keys.signer()
    tx.tenant = _tenant(account)
    if checked.rehashed is not None:
        await accounts.replace_password_hash(tx, account.id, known=stored, better=checked.rehashed)
    # others guessed while this password was looked at
    standing = await _require_turn(tx, resources, guess)
    if standing.failed_here:
        await guesses.forgive(tx, guess.place)
    await _know_place(tx, guess)
    tx.after_commit(sign_ins.labels("right").inc)
    return await _begin_session(tx, resources, key, account, device)


async def refresh(tx: Tx, resources: Resources, *, refresh_token: str, device: Device) -> SignedIn:
    """Exchange the newest refresh token of a session for its successor and an access token.

    Raises BadRefreshToken; when the token was spent long ago the session ends with it.
    """
    claim = resources.refresh_tokens.read(refresh_token)
    if claim is None:
        raise BadRefreshToken()
    key = await resources.keys.signer()
    tx.tenant = EVERYBODY
    found = await sessions.lock_session(tx, claim.session_id)
    if found is None:
        raise BadRefreshToken()
    session, account = found
    tx.tenant = _tenant(account)
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
    await sessions.use_session(
        tx,
        session,
        device,
        counter=counter,
        rotated_at=rotated_at,
        now=now,
        access_until=access_until,
        over_at=session_end(session.created_at, now, resources.limits),
    )
    await _know_place(tx, resources.guesses.of(account.email, device.address))
    return _signed_in(resources, key, account, session.id, counter, now, access_until)


async def verify(tx: Tx, who: Principal) -> Account:
    """The caller's account as it is now. Raises Unauthenticated when the session has ended.

    The database is asked for that by every operation of auth: while NATS is away this worker
    doesn't hear of a session that another one has ended.
    """
    account = await accounts.find_signed_in(tx, who.user_id, who.session_id)
    if account is None:
        raise _ended()
    return account


async def logout(tx: Tx, who: Principal, resources: Resources) -> None:
    """End the session that the request came with. Raises Unauthenticated when it has ended."""
    now = clock.now()
    session = await sessions.end_session(tx, who.user_id, who.session_id, by="logout", now=now)
    if session is None:
        raise _ended()
    await _announce_end(tx, resources, session, by="logout")


async def logout_all(tx: Tx, who: Principal, resources: Resources) -> None:
    """End every session of the caller, this one too. Raises Unauthenticated when it has ended."""
    await verify(tx, who)
    now = clock.now()
    for session in await sessions.end_sessions(tx, who.user_id, by="logout_all", now=now):
        await _announce_end(tx, resources, session, by="logout_all")


async def end_session(tx: Tx, who: Principal, resources: Resources, session_id: UUID) -> None:
    """End one session of the caller.

    Raises SessionNotFound, and Unauthenticated when the caller's own has ended.
    """
    await verify(tx, who)
    now = clock.now()
    session = await sessions.end_session(tx, who.user_id, session_id, by="owner", now=now)
    if session is None:
        raise SessionNotFound()
    await _announce_end(tx, resources, session, by="owner")


async def list_sessions(
    tx: Tx, who: Principal, resources: Resources, *, before: UUID | None, limit: int
) -> list[Session]:
    """The caller's sessions that are not over, newest first.

    Raises Unauthenticated when the caller's own has ended.
    """
    await verify(tx, who)
    now = clock.now()
    return await sessions.live_sessions(
        tx,
        who.user_id,
        used_after=now - resources.limits.idle,
        created_after=now - resources.limits.absolute,
        before=before,
        limit=limit,
    )


async def forget_sessions(tx: Tx) -> int:
    """Forget some sessions that have been over for `SESSION_KEPT`; how many."""
    return await sessions.forget_sessions(tx, over_for=SESSION_KEPT)


async def forget_failures(tx: Tx) -> int:
    """Forget some counters of failed sign-ins that have been still for `FAILURE_KEPT`; how many."""
    return await guesses.forget_failures(tx, failed_before=FAILURE_KEPT)


async def forget_places(tx: Tx) -> int:
    """Forget some places where nobody has signed in for `PLACE_KEPT`; how many."""
    return await guesses.forget_places(tx, seen_before=PLACE_KEPT)


async def public_keys(resources: Resources) -> list[dict[str, str]]:
    """The public halves of the keys that sign access tokens, or may soon (JWKs)."""
    return await resources.keys.published()


def _require(email: str, name: str) -> None:
    problems = (("/email", email_problem(email)), ("/name", name_problem(name)))
    errors = [FieldError(field, problem) for field, problem in problems if problem is not None]
    if errors:
        raise Invalid(errors=errors)


async def _add_account(tx: Tx, *, email: str, name: str, role: str, password_hash: str) -> Account:
    tx.tenant = EVERYBODY
    account = await accounts.add_account(
        tx, email=email, name=name, role=role, password_hash=password_hash, workspace_name=name
    )
    if account is None:
        raise EmailTaken()
    tx.tenant = _tenant(account)
    registered = UserRegistered(
        user_id=account.id,
        workspace_id=account.workspace_id,
        email=account.email,
        name=account.name,
        role=account.role,
    )
    await outbox.put(tx, registered, workspace_id=account.workspace_id)
    return account


def _tenant(account: Account) -> Tenant:
    """Whose rows a sign-in touches, once it is known whose it is."""
    return Tenant(account.workspace_id, (account.id,))


async def _know_place(tx: Tx, guess: Guess) -> None:
    """Remember that this account is signed in at this place, also of a session that stays there."""
    await guesses.know_place(tx, guess.place, every=PLACE_NOTED_EVERY)


async def _require_turn(tx: Tx, resources: Resources, guess: Guess) -> Standing:
    """How things stand for this sign-in. Raises TooManyGuesses while it is refused."""
    longest = resources.guesses.limits.longest
    standing = await guesses.find_standing(tx, guess, longest=longest)
    if standing.wait is not None:
        sign_ins.labels("refused").inc()
        raise TooManyGuesses(retry_after=ceil(standing.wait.total_seconds()))
    return standing


async def _count_guess(
    tx: Tx, resources: Resources, guess: Guess, standing: Standing, device: Device
) -> None:
    """Count a failed sign-in: a refusal that must stay written.

    Raises TooManyGuesses when those that were looked at meanwhile have used up what may be
    answered: of any number at once no more are.
    """
    tx.keep_on_refusal = True
    limits = resources.guesses.limits
    whose = guess.place if standing.known else guess.email
    # in this order always, so that no two wait for each other
    for kind, key, most in (
        ("address", guess.address, limits.address),
        ("account", whose, limits.account),
    ):
        if most == 0:
            continue
        failures = await guesses.count_failure(
            tx, key, most=most, first=limits.first, longest=limits.longest, kept=FAILURE_KEPT
        )
        if failures is None and (kind == "account" or not standing.known):
            await _require_turn(tx, resources, guess)
        if failures == most:
            log.warning("auth.guesses_refused", by=kind, address=network_of(device.address))
    sign_ins.labels("wrong").inc()


async def _begin_session(
    tx: Tx, resources: Resources, key: SigningKey, account: Account, device: Device
) -> SignedIn:
    now, session_id = clock.now(), new_id()
    access_until = access_expiry(now, now, resources.token_life, resources.limits)
    await sessions.add_session(
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


def _ended() -> Unauthenticated:
    return Unauthenticated("The session was ended.")


async def _end_stolen(tx: Tx, resources: Resources, session: Session, now: datetime) -> None:
    """End a session whose tokens two parties hold: a refusal that must stay written."""
    tx.keep_on_refusal = True
    log.warning("auth.refresh_token_reused", session_id=session.id, user_id=session.account_id)
    await sessions.end_session(tx, session.account_id, session.id, by="theft", now=now)
    await _announce_end(tx, resources, session, by="theft")


async def _announce_end(tx: Tx, resources: Resources, session: Session, *, by: str) -> None:
    """Tell every process that access tokens of this session are no longer good.

    The others hear of it by the event; this one knows it right after the commit. Also where the
    last token seems to have ended: the clock may be wrong, and one made before may live longer.
    """
    tx.after_commit(sessions_ended.labels(by).inc)
    tx.after_commit(partial(resources.revocations.add, session.id, session.access_until))
    revoked = SessionRevoked(
        session_id=session.id, user_id=session.account_id, expires_at=session.access_until
    )
    await outbox.put(tx, revoked, workspace_id=session.workspace_id)
