"""One socket's place in its feed, whatever order the news comes in. No service runs."""

import asyncio
import json
from datetime import timedelta

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from restock.kernel.clock import now
from restock.kernel.identity import Principal
from restock.kernel.ids import new_id
from restock.notification.connection import PAGE, Connection
from restock.notification.positions import Start
from restock.notification.pushes import Push, Pushed
from restock.notification.store import FeedEvent, FeedState, Told

USER = new_id()


class Link:
    """Takes what is sent."""

    has_room = True
    closing = False

    def __init__(self):
        self.sent = []

    def send(self, packet):
        assert packet.startswith(b"2")
        self.sent.append(json.loads(packet[1:]))

    async def room(self):
        await asyncio.sleep(0)

    def close(self, why):
        raise AssertionError(why)

    @property
    def seqs(self):
        return [said[1]["seq"] for said in self.sent if said[0] == "new_notification"]


class Feed:
    """A feed as the database has it; a read shows one moment and takes a while."""

    def __init__(self):
        self.head = 0
        self.reads = 0
        self.events = {}

    def append(self):
        self.head += 1
        data = json.dumps({"seq": self.head}).encode()
        self.events[self.head] = FeedEvent(self.head, "new_notification", data)
        return self.push(Pushed(self.head, "new_notification", msgspec.Raw(data)))

    def push(self, *events):
        return Push(self.head, self.head, self.head, list(events))

    async def read(self, _user_id, seq, limit):
        self.reads += 1
        await asyncio.sleep(0)
        found = [event for at, event in sorted(self.events.items()) if at > seq][:limit]
        told = Told(FeedState(USER, self.head, self.head, self.head), found)
        await asyncio.sleep(0)
        return told


def connected(feed):
    """Not open yet: its CONNECT has not been answered."""
    who = Principal(
        USER, new_id(), "a@example.org", "Ada", "user", "owner", new_id(),
        now() + timedelta(hours=1), "token",
    )  # fmt: skip
    link = Link()
    return Connection(link, who, feed.read), link


def opened(feed, position=0):
    connection, link = connected(feed)
    connection.open(
        Start(position, None, mark=None), FeedState(USER, feed.head, feed.head, feed.head)
    )
    return connection, link


async def quiet():
    for _ in range(1000):
        await asyncio.sleep(0)


WAYS = ["told", "lost", "late", "twice", "deliver", "delete", "look", "wait", "wait", "wait"]
STEPS = st.lists(st.sampled_from(WAYS), max_size=60)


@settings(max_examples=1000, deadline=None)
@given(before=st.integers(0, 5), position=st.integers(0, 5), steps=STEPS)
def test_each_event_is_sent_once_and_in_order(before, position, steps):
    async def play():
        feed = Feed()
        for _ in range(before):
            feed.append()
        begin = min(position, before)
        connection, link = opened(feed, begin)
        deleted, late = set(), []
        for step in steps:
            if step == "deliver":
                while late:
                    connection.hear(late.pop())  # the last first
            elif step == "delete" and feed.events:
                deleted.add(max(feed.events))
                feed.events.pop(max(feed.events))
            elif step == "look":
                connection.hear(feed.push())
            elif step == "wait":
                await asyncio.sleep(0)
            elif step in ("told", "lost", "late", "twice"):
                push = feed.append()
                if step == "late":
                    late.append(push)
                elif step != "lost":
                    connection.hear(push)
                if step == "twice":
                    connection.hear(push)
        connection.hear(feed.push())
        await quiet()
        connection.end()
        assert link.seqs == sorted(set(link.seqs))
        assert set(link.seqs) <= set(range(begin + 1, feed.head + 1))
        assert set(range(begin + 1, feed.head + 1)) - set(link.seqs) <= deleted
        missing, counts = set(range(begin + 1, feed.head + 1)), [before]
        for name, said in link.sent:
            if name == "new_notification":
                missing.remove(said["seq"])
            elif name == "unread_count":  # never ahead of what it counts
                assert {seq for seq in missing if seq <= said["unread"]} <= deleted
                counts.append(said["unread"])
        assert counts == sorted(set(counts))
        assert counts[-1] == feed.head

    asyncio.run(play())


def test_what_is_heard_before_the_connect_is_answered_comes_after_sync():
    async def play():
        feed = Feed()
        connection, link = connected(feed)
        known = FeedState(USER)
        connection.hear(feed.append())
        connection.hear(feed.append())
        assert link.sent == []
        connection.open(Start(0, None, mark=None), known)
        await quiet()
        connection.end()
        assert [said[0] for said in link.sent] == [
            "sync",
            "new_notification",
            "new_notification",
            "unread_count",
        ]
        assert link.sent[-1][1] == {"unread": 2}

    asyncio.run(play())


def test_a_deleted_end_of_the_feed_is_read_once():
    async def play():
        feed = Feed()
        for _ in range(3):
            feed.append()
        feed.events.pop(3)
        connection, link = opened(feed)
        await quiet()
        connection.end()
        assert link.seqs == [1, 2]
        assert feed.reads == 1

    asyncio.run(play())


def test_a_long_absence_is_read_page_by_page():
    async def play():
        feed = Feed()
        for _ in range(2 * PAGE + 1):
            feed.append()
        connection, link = opened(feed)
        await quiet()
        connection.end()
        assert link.seqs == list(range(1, 2 * PAGE + 2))
        assert feed.reads == 3

    asyncio.run(play())


def test_a_database_restored_to_before_what_was_said_is_not_asked_for_ever():
    async def play():
        feed = Feed()
        feed.append()
        connection, link = opened(feed)
        connection.hear(Push(head=7))
        await quiet()
        assert link.seqs == [1]
        assert feed.reads <= 2
        connection.hear(feed.append())
        await quiet()
        connection.end()
        assert link.seqs == [1, 2]

    asyncio.run(play())


def test_what_a_client_may_say_is_limited():
    async def play():
        connection, _ = opened(Feed())
        said = 0
        while connection.may_say():
            said += 1
        connection.end()
        assert said == 50

    asyncio.run(play())


def test_a_link_that_closes_at_its_first_packet_leaves_no_timer():
    async def play():
        connection, link = connected(Feed())

        def send(_packet):
            link.closing = True
            connection.end()

        link.send = send
        connection.open(Start(0, None, mark=None), FeedState(USER))
        assert connection._timer is None

    asyncio.run(play())
