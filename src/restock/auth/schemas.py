"""What crosses the wire at auth."""

from typing import Annotated, Literal, Self
from uuid import UUID

from msgspec import Meta

from restock.auth import domain
from restock.auth.domain import PASSWORD_LONGEST, PASSWORD_SHORTEST
from restock.kernel.wire import NO_NUL, ONE_LINE, Answer, Moment, Text, Wire

NewPassword = Annotated[
    str,
    Meta(
        min_length=PASSWORD_SHORTEST,
        max_length=PASSWORD_LONGEST,
        description="Any text.",
        extra_json_schema=NO_NUL,
    ),
]
Password = Annotated[str, Meta(min_length=1, max_length=PASSWORD_LONGEST, extra_json_schema=NO_NUL)]
# As the documents say it; `domain` refuses the others, each with its own words.
Email = Annotated[Text, Meta(extra_json_schema={"format": "email"})]
Name = Annotated[Text, Meta(extra_json_schema={"pattern": ONE_LINE})]


class Registration(Wire):
    """A new account. `admin` can't be asked for."""

    email: Email
    name: Name
    password: NewPassword
    role: Literal["user", "vendor"] = "user"


class Credentials(Wire):
    """What a person signs in with."""

    email: Text
    password: Password


class RefreshRequest(Wire):
    """The newest refresh token of a session."""

    refresh_token: Text


class User(Answer):
    """An account, without its secrets."""

    id: UUID
    email: str
    name: str
    role: domain.Role
    workspace_id: UUID
    email_verified: bool
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, account: domain.Account) -> Self:
        return cls(
            id=account.id,
            email=account.email,
            name=account.name,
            role=account.role,
            workspace_id=account.workspace_id,
            email_verified=account.email_verified,
            created_at=account.created_at,
            updated_at=account.updated_at,
        )


class SignIn(Answer):
    """An account that has just signed in. `expires_in` is the token's life in seconds."""

    user: User
    token: str
    refresh_token: str
    expires_in: int


class Session(Answer):
    """A sign-in on one device. `current` is the one that this request came with."""

    id: UUID
    user_agent: str
    address: str
    created_at: Moment
    last_used_at: Moment
    current: bool

    @classmethod
    def of(cls, session: domain.Session, *, current: UUID) -> Self:
        return cls(
            id=session.id,
            user_agent=session.device.user_agent,
            address=session.device.address,
            created_at=session.created_at,
            last_used_at=session.last_used_at,
            current=session.id == current,
        )


class PublicKey(Answer):
    """One public key (RFC 7517)."""

    kty: str
    crv: str
    x: str
    y: str
    kid: str
    use: str
    alg: str


class PublicKeys(Answer):
    """The keys that check access tokens."""

    keys: list[PublicKey]
