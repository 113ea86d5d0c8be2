"""Pages: linked, keyset, opaque."""

import re

import pytest

from restock.kernel.paging import read_page
from tests.fixtures.running import RunningService
from tests.fixtures.tokens import token_for


async def test_pages_follow_their_links_to_the_end(notes: RunningService) -> None:
    token = token_for()
    for number in range(5):
        await notes.ask("POST", "/api/notes", token=token, json={"text": f"n{number}"})
    # what the list doesn't know isn't repeated: percent-encoded it may be three times as long
    path, seen = "/api/notes?limit=2&unknown=" + "'" * 20_000, []
    while path:
        answer = await notes.ask("GET", path, token=token)
        seen += [note["text"] for note in answer.json]
        link = answer.headers.get("Link", "")
        path = link and re.fullmatch(r'<(.+)>; rel="next"', link)[1]
        assert "unknown" not in path
    assert seen == ["n0", "n1", "n2", "n3", "n4"]


@pytest.mark.parametrize(
    "query",
    [
        "limit=0",
        "limit=201",
        "limit=x",
        "limit=",
        "limit=-1",
        "limit=1e1",
        "cursor=x",
        "cursor=WyJhIl0",
        "cursor=WzkyMjMzNzIwMzY4NTQ3NzU4MDhd",
        "cursor=W10",
        "cursor=%C3%A4",
        "cursor=" + "W" * 5000,
    ],
)
async def test_a_page_that_is_none_is_refused(notes: RunningService, query: str) -> None:
    answer = await notes.ask("GET", f"/api/notes?{query}", token=token_for())
    assert answer.status == 422


@pytest.mark.parametrize(
    ("path", "linked"),
    [
        ("/api/vendors/category/お茶", "/api/vendors/category/%E3%81%8A%E8%8C%B6"),
        ("/category/a?b#c", "/category/a%3Fb%23c"),
        ("/category/a\r\nb", "/category/a%0D%0Ab"),
        ("/movements:batch", "/movements:batch"),
    ],
)
def test_a_link_holds_its_path_as_a_url_does(path: str, linked: str) -> None:
    reply = read_page(path, [("limit", "1")]).reply([1, 2], after=lambda number: [number])
    assert reply.headers["Link"].startswith(f"<{linked}?limit=1&cursor=")
