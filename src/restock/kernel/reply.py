"""An answer: as a route gives it, and as it is sent."""

from collections.abc import Mapping, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import Raw

from restock.kernel.wire import encode

T = TypeVar("T")

JSON = "application/json"
JSON_HEADER = (b"content-type", b"application/json")

Headers = list[tuple[bytes, bytes]]


class Reply(Generic[T]):
    """`Reply(item, headers={"ETag": '"3"'})`: more than the content alone.

    The content is written as JSON, in which a `msgspec.Raw` stands for JSON that is there already;
    bytes, and text of another media type, are sent as they are. `status` None is the route's own.
    """

    __slots__ = ("content", "headers", "media_type", "status")

    def __init__(
        self,
        content: T | Raw | Sequence[Raw],
        *,
        status: int | None = None,
        media_type: str = JSON,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        self.content = content
        self.status = status
        self.media_type = media_type
        self.headers = dict(headers or {})


class Answer(NamedTuple):
    """What is sent, but for the length of the body and the request's id."""

    status: int
    headers: Headers
    body: bytes


def render(returned: Any, status: int) -> Answer:
    """What a route returned as an answer; `status` unless it says another."""
    if not isinstance(returned, Reply):
        if returned is None:
            return Answer(status, [], b"")
        return Answer(status, [JSON_HEADER], encode(returned))
    headers = [
        (name.lower().encode("latin-1"), value.encode("latin-1"))
        for name, value in returned.headers.items()
    ]
    content: Any = returned.content
    if returned.media_type == JSON:
        headers.insert(0, JSON_HEADER)
        body = content if isinstance(content, bytes) else encode(content)
    else:
        headers.insert(0, (b"content-type", _media_type(returned.media_type)))
        body = content if isinstance(content, bytes) else content.encode()
    return Answer(returned.status or status, headers, body)


def _media_type(text: str) -> bytes:
    is_bare = text.startswith("text/") and "charset=" not in text
    return f"{text}; charset=utf-8".encode("latin-1") if is_bare else text.encode("latin-1")
