"""Accounts, sessions and the rules over them. Pure: no I/O, no clock of its own."""

import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Literal
from uuid import UUID

Role = Literal["admin", "user", "vendor"]

PASSWORD_SHORTEST = 10
PASSWORD_LONGEST = 128
EMAIL_LONGEST = 200
NAME_LONGEST = 200
USER_AGENT_KEPT = 200

# The part before the @ as RFC 5322 has it without quotes, the part after it as a host name of
# two labels or more. Whether the mailbox is there only a mail to it can tell. ASCII only: without
# that the Kelvin sign is a k, the long s an s and the dotless i an i.
_ATOM = r"[a-z0-9!#$%&'*+/=?^_`{|}~-]+"
_LOCAL_PART = re.compile(rf"{_ATOM}(\.{_ATOM})*", re.IGNORECASE | re.ASCII)
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", re.IGNORECASE | re.ASCII)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Account:
    """A person who signs in, seen from the workspace a sign-in enters. Holds no secret."""

    id: UUID
    workspace_id: UUID
    workspace_role: str
    email: str
    email_verified: bool
    name: str
    role: Role
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Device:
    """Where a session is used from, as far as it tells."""

    user_agent: str
    address: str


@dataclass(frozen=True, slots=True)
class Session:
    """A sign-in on one device.

    `counter` numbers its refresh tokens; the newest was made at `rotated_at`. No access token of
    it lives beyond `access_until`.
    """

    id: UUID
    account_id: UUID
    workspace_id: UUID
    counter: int
    device: Device
    created_at: datetime
    rotated_at: datetime
    last_used_at: datetime
    access_until: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionLimits:
    """How long a session lasts unused and in all; how long a spent refresh token is forgiven."""

    idle: timedelta
    absolute: timedelta
    grace: timedelta


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A signing key as it is kept; `jwk` is the half that everybody may see.

    Of a retired key that half is all there is.
    """

    kid: str
    state: str
    private_pem: str | None
    jwk: dict[str, str]


class Verdict(Enum):
    """What becomes of a refresh."""

    ROTATE = "the newest token: a successor is made"
    REPEAT = "the one before it, a moment ago: the answer was lost, the same successor again"
    REFUSE = "the session is over"
    THEFT = "a token spent long ago: two parties hold it, so the session ends"


def judge_refresh(session: Session, counter: int, now: datetime, limits: SessionLimits) -> Verdict:
    """Decide about a refresh token numbered `counter` of this session, at `now`.

    An honest client holds the newest token, or the one before it when the last answer did not
    reach it or when it refreshes several times at once; the grace is for these. Whoever comes
    with an older one, or later, is not the only holder.
    """
    over_at = session_end(session.created_at, session.last_used_at, limits)
    if session.ended_at is not None or now >= over_at:
        return Verdict.REFUSE
    if counter == session.counter:
        return Verdict.ROTATE
    if counter == session.counter - 1 and now - session.rotated_at < limits.grace:
        return Verdict.REPEAT
    return Verdict.THEFT


def session_end(created_at: datetime, last_used_at: datetime, limits: SessionLimits) -> datetime:
    """When a session is over if nobody uses it again."""
    return min(last_used_at + limits.idle, created_at + limits.absolute)


def access_expiry(
    created_at: datetime, issued_at: datetime, life: timedelta, limits: SessionLimits
) -> datetime:
    """When an access token ends: after its life, and never after its session. Whole seconds."""
    return min(issued_at + life, created_at + limits.absolute).replace(microsecond=0)


def email_problem(email: str) -> str | None:
    """What is wrong with an e-mail address, or None."""
    if len(email) > EMAIL_LONGEST:
        return f"Expected at most {EMAIL_LONGEST} characters"
    local, at, host = email.rpartition("@")
    if not at:
        return "Expected an e-mail address, such as name@example.org"
    if len(local) > 64 or not _LOCAL_PART.fullmatch(local):
        return "The part before the @ is not one of an e-mail address"
    labels = host.split(".")
    if len(labels) < 2 or not all(_LABEL.fullmatch(label) for label in labels):
        return "The part after the @ is not a host name"
    if labels[-1].isdigit():
        return "The part after the @ is an address, not a host name"
    return None


def name_problem(name: str) -> str | None:
    """What is wrong with an account's name, or None. It stands in mails and on screens."""
    if not 1 <= len(name) <= NAME_LONGEST:
        return f"Expected 1 to {NAME_LONGEST} characters"
    if _CONTROL.search(name):
        return "Expected one line, without control characters"
    return None


def password_problem(password: str) -> str | None:
    """What is wrong with a new password, or None. Length is all that is asked of one."""
    if not PASSWORD_SHORTEST <= len(password) <= PASSWORD_LONGEST:
        return f"Expected {PASSWORD_SHORTEST} to {PASSWORD_LONGEST} characters"
    return None


def device_of(user_agent: str | None, address: str | None) -> Device:
    """What is kept of a device: a user agent may be of any length and hold anything."""
    shown = "".join(c for c in user_agent or "" if c.isprintable())
    return Device(shown[:USER_AGENT_KEPT], address or "")
