"""An answer with headers of its own."""

from typing import Any, TypeVar

from litestar import Response

from restock.kernel.wire import encode

T = TypeVar("T")


class Reply(Response[T]):
    """`Reply(item, headers={"ETag": '"3"'})`; the content is encoded as every answer is."""

    def render(self, content: Any, media_type: str, enc_hook: Any = None) -> bytes:
        if isinstance(content, bytes):
            return content
        if isinstance(content, str):
            return content.encode()
        return b"" if content is None else encode(content)
