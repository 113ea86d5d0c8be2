"""What happens in auth: accounts appear, sessions end."""

from typing import ClassVar
from uuid import UUID

from restock.events import Event, Moment


class UserRegistered(Event):
    """An account was made, and with it its first workspace."""

    subject: ClassVar[str] = "auth.user.registered"

    user_id: UUID
    workspace_id: UUID
    email: str
    name: str
    role: str


class SessionRevoked(Event):
    """A session ended before its time: by logout, by its owner, or because its token was stolen.

    No access token of the session lives beyond `expires_at`, so a process may forget it then.
    """

    subject: ClassVar[str] = "auth.session.revoked"

    session_id: UUID
    user_id: UUID
    expires_at: Moment
