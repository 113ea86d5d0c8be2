"""What a call through the gateway may raise."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class FieldProblem(msgspec.Struct, frozen=True):
    """One bad field: a JSON pointer into the body, and what is wrong there."""

    pointer: str = ""
    message: str = ""
    code: str = ""


class ApiProblem(Exception):
    """The gateway or a service answered with a refusal (RFC 9457 problem document).

    `code` is stable and may be compared; `members` is the whole document, with whatever the
    refusal adds (`available` of `inventory.insufficient_stock`, for one).
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        *,
        errors: Sequence[FieldProblem] = (),
        members: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(status, code, title)
        self.status = status
        self.code = code
        self.title = title
        self.errors = list(errors)
        self.members = dict(members or {})
        self.headers = dict(headers or {})

    @property
    def request_id(self) -> str | None:
        """The id under which every service logged this request."""
        found = self.members.get("requestId")
        return found if isinstance(found, str) else None

    def __str__(self) -> str:
        detail = self.members.get("detail") or ""
        fields = "; ".join(f"{error.pointer}: {error.message}" for error in self.errors)
        more = " – ".join(part for part in (detail, fields) if part)
        return f"{self.status} {self.code}: {self.title}" + (f" ({more})" if more else "")

    @classmethod
    def read(cls, status: int, body: bytes, headers: Mapping[str, str]) -> "ApiProblem":
        """The problem in an answer; one made up from the status where the body is none."""
        try:
            members = msgspec.json.decode(body, type=dict[str, Any])
        except (msgspec.DecodeError, UnicodeDecodeError):
            members = {}
        return cls.from_members(status, members, headers)

    @classmethod
    def from_members(
        cls, status: int, members: Mapping[str, Any], headers: Mapping[str, str] | None = None
    ) -> "ApiProblem":
        """The problem a decoded document describes."""
        try:
            errors = msgspec.convert(members.get("errors") or [], list[FieldProblem])
        except msgspec.ValidationError:
            errors = []
        return cls(
            status,
            str(members.get("code") or f"http.{status}"),
            str(members.get("title") or f"The answer was {status}"),
            errors=errors,
            members=members,
            headers=headers,
        )


class GatewayUnreachable(Exception):
    """No answer came within the client's patience, or the call may not be sent twice.

    `may_have_happened` is True when the request had been sent: its effect is unknown.
    """

    def __init__(self, message: str, *, may_have_happened: bool) -> None:
        super().__init__(message)
        self.may_have_happened = may_have_happened


class FeedRefused(Exception):
    """The socket was refused, with the server's reason: another try won't help."""
