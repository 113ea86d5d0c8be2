"""PostgreSQL's clock jumps, forwards, backwards and back: a feed goes by its own count."""

from datetime import datetime

from restock.events.vendor import RequestOpened
from restock.kernel.ids import new_id
from tests.fixtures.clock import JUMPS, DatabaseClock, pages, there_and_back
from tests.notification.happenings import fell_low, happen, request_event
from tests.notification.test_resume import listens, up_to


async def tell(service, who):
    """Three in the feed: a notification, a request (which is in no list), its notification."""
    await happen(service, fell_low(who.user_id))
    await happen(service, request_event(RequestOpened, buyer=new_id(), people=[who.user_id]))


def notifications(upto):
    """Their numbers in a feed that `tell` has made, newest first."""
    return [seq for seq in range(upto, 0, -1) if seq % 3 != 0]


@JUMPS
async def test_an_inbox_is_in_the_order_in_which_things_happened(inbox, postgres, ada, jump):
    clock = await DatabaseClock.of(inbox, postgres)

    async def ask(path, method="GET"):
        url = f"/api/notifications{path.removeprefix('/api/notifications')}"
        return await inbox.ask(method, url, token=ada.token)

    async def listed(path, between):
        found = []
        async for page in pages(ask, path, between):
            found += page
        return found

    async def turn(number):
        await clock.be(there_and_back(jump)[number % 5])

    async def turn_and_tell(number):
        await turn(number)
        await tell(inbox, ada)

    for number in range(5):
        await turn_and_tell(number)
    first = (await ask("?limit=200")).json
    assert [row["seq"] for row in first] == notifications(15)
    times = [datetime.fromisoformat(row["createdAt"]) for row in first]
    assert times not in (sorted(times), sorted(times, reverse=True)), "the clock was turned"
    assert await listed("?limit=3", turn_and_tell) == first
    now_there = await listed("?limit=3", turn)
    assert [row["seq"] for row in now_there] == notifications(27)

    unread = 18
    for number, row in enumerate(now_there[::2]):
        assert (await ask("/unread-count")).json == {"unread": unread}
        await turn(number)
        path, method = (
            (f"/{row['id']}/read", "PATCH") if number % 2 else (f"/{row['id']}", "DELETE")
        )
        assert (await ask(path, method)).status in (200, 204)
        unread -= 1
    assert [row["seq"] for row in await listed("?unread=true&limit=2", turn)] == [
        row["seq"] for row in now_there[1::2]
    ]


@JUMPS
async def test_who_was_away_hears_what_he_missed_in_its_order(
    make_service, postgres, nats, node, ada, port_offset, jump
):
    """As does he who stays."""
    service = await make_service("notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset)
    clock = await DatabaseClock.of(service, postgres)
    stays, leaves = [listens(node, service, ada) for _ in range(2)]
    for client in (stays, leaves):
        await client.hears("sync")
    for number, ahead in enumerate(there_and_back(jump), 1):
        leaves.command("leave")
        await leaves.reported("disconnect", number)
        await clock.be(ahead)
        await tell(service, ada)
        await clock.be(-ahead)
        await tell(service, ada)
        leaves.command("back")
        for client in (stays, leaves):
            assert await up_to(client, 6 * number) == list(range(1, 6 * number + 1))
