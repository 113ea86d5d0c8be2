"""Lists that go on: the next page is where the Link header says."""

import re
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import TypeVar
from urllib.parse import parse_qsl, urlsplit

from restock.client.transport import Call, Reply, TokenSource, Transport

T = TypeVar("T")

PAGE_SIZE = 200
_NEXT = re.compile(r'<([^>]*)>\s*;[^,]*\brel="?next"?')


async def pages(
    transport: Transport, tokens: TokenSource, call: Call, kind: type[T]
) -> AsyncIterator[T]:
    """Every row of a list, page by page."""
    following: Call | None = call
    while following is not None:
        reply = await transport.send(following, tokens)
        for row in reply.read(list[kind]):  # type: ignore[valid-type]
            yield row
        following = _next(call, reply)


def _next(call: Call, reply: Reply) -> Call | None:
    """The call for the page after this one. Only the query of the link is taken: a gateway seen
    under another name than its own must not lead us elsewhere."""
    found = _NEXT.search(reply.headers.get("Link", ""))
    if found is None:
        return None
    return replace(call, params=dict(parse_qsl(urlsplit(found.group(1)).query)))
