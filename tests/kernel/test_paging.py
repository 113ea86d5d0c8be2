"""Pages: linked, keyset, opaque."""

import re

import pytest

from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for


async def test_pages_follow_their_links_to_the_end(notes: RunningService) -> None:
    token = token_for()
    for number in range(5):
        await notes.ask("POST", "/api/notes", token=token, json={"text": f"n{number}"})
    path, seen = "/api/notes?limit=2&kind=a%26b", []
    while path:
        answer = await notes.ask("GET", path, token=token)
        seen += [note["text"] for note in answer.json]
        link = answer.headers.get("Link", "")
        path = link and re.fullmatch(r'<(.+)>; rel="next"', link)[1]
        assert not path or "kind=a%26b" in path
    assert seen == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=201", "limit=x", "limit=", "limit=-1", "limit=1e1", "cursor=x",
              "cursor=WyJhIl0", "cursor=W10", "cursor=%C3%A4", "cursor=" + "W" * 5000]
)  # fmt: skip
async def test_a_page_that_is_none_is_refused(notes: RunningService, query: str) -> None:
    answer = await notes.ask("GET", f"/api/notes?{query}", token=token_for())
    assert answer.status == 422
