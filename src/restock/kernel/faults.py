"""Refusals: a small vocabulary, rendered once as RFC 9457 `application/problem+json`.

A service declares its own as classes:

    class ItemNotFound(NotFound):
        code = "inventory.item_not_found"
        title = "There is no such item in your workspace"

and raises them. `code` is stable: clients may compare it.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec


class FieldError(msgspec.Struct, frozen=True):
    """One bad field: a JSON pointer (RFC 6901) into the body, and what is wrong there."""

    pointer: str
    message: str


class Fault(Exception):
    """A request is refused. Extensions become members of the problem, in camelCase as given."""

    code: str = "fault"
    status: int = 500
    title: str = "Something went wrong on our side"

    def __init__(
        self,
        detail: str | None = None,
        *,
        errors: Sequence[FieldError] = (),
        headers: Mapping[str, str] | None = None,
        **extensions: Any,
    ) -> None:
        super().__init__(detail or self.title)
        self.detail = detail
        self.errors = list(errors)
        self.headers = dict(headers or {})
        self.extensions = extensions

    def problem(self, request_id: str) -> dict[str, Any]:
        """The members of the problem document, without empty ones."""
        problem: dict[str, Any] = {
            "type": "about:blank",
            "code": self.code,
            "title": self.title,
            "status": self.status,
            "requestId": request_id,
        }
        if self.detail:
            problem["detail"] = self.detail
        if self.errors:
            problem["errors"] = self.errors
        return problem | self.extensions


class Malformed(Fault):
    code = "request.malformed"
    status = 400
    title = "The body is not valid JSON"


class Unauthenticated(Fault):
    code = "auth.unauthenticated"
    status = 401
    title = "A valid access token is required"

    def __init__(self, detail: str | None = None, **more: Any) -> None:
        more["headers"] = {"WWW-Authenticate": "Bearer"} | dict(more.get("headers") or {})
        super().__init__(detail, **more)


class Forbidden(Fault):
    code = "request.forbidden"
    status = 403
    title = "Your role does not allow this"


class NotFound(Fault):
    code = "request.not_found"
    status = 404
    title = "There is nothing here"


class MethodNotAllowed(Fault):
    code = "request.method_not_allowed"
    status = 405
    title = "This method is not offered here"


class Conflict(Fault):
    code = "request.conflict"
    status = 409
    title = "This is in conflict with what is there"


class PreconditionFailed(Fault):
    code = "request.version_changed"
    status = 412
    title = "It was changed since you read it: read it again"


class TooLarge(Fault):
    code = "request.too_large"
    status = 413
    title = "The body is larger than 1 MiB"


class Invalid(Fault):
    code = "request.invalid"
    status = 422
    title = "Some fields are not acceptable"


class PreconditionRequired(Fault):
    code = "request.if_match_required"
    status = 428
    title = "Send If-Match with the ETag you read"


class Limited(Fault):
    """Too many requests: try again after `retry_after` whole seconds."""

    code = "request.limited"
    status = 429
    title = "Too many requests: wait and try again"

    def __init__(self, detail: str | None = None, *, retry_after: int = 1, **more: Any) -> None:
        more["headers"] = {"Retry-After": str(retry_after)} | dict(more.get("headers") or {})
        super().__init__(detail, **more)


class Unavailable(Limited):
    """Something this needs is away: nothing is known to have changed; try again."""

    code = "request.unavailable"
    status = 503
    title = "This is not available at the moment: try again"


class Internal(Fault):
    code = "request.internal"
    status = 500
    title = "Something went wrong on our side"
