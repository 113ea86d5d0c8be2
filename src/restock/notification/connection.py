"""One socket of an account: its place in the feed, and what it is told when.

Of sequenced events a connection only ever sends the one after the last it sent. When it hears of
a later one it reads from the database first, until it has reached all it heard of, so nothing is
lost, doubled or out of order whichever way the news came.
"""

import asyncio
from collections.abc import Awaitable, Callable
from functools import cache
from uuid import UUID

from prometheus_client import Counter

from restock.kernel.clock import now
from restock.kernel.database import DatabaseAway
from restock.kernel.identity import Principal
from restock.kernel.telemetry import log
from restock.kernel.wire import Answer, encode
from restock.notification.links import Link
from restock.notification.positions import Start
from restock.notification.pushes import Push
from restock.notification.schemas import AuthExpiring, Sync, UnreadCount
from restock.notification.store import FeedState, Told

WARNING_S = 60.0
PAGE = 100
ROOM_WITHIN_S = 10.0
SAID_MOST = 50
SAID_WITHIN_S = 10.0

EMITTED = Counter("restock_socket_events_total", "Events sent to sockets.", ["event"])

ReadFeed = Callable[[UUID, int, int], Awaitable[Told]]


class Connection:
    """A client that has shown its token. Silent until `open`."""

    __slots__ = (
        "_catching_up", "_counted", "_mark", "_opened", "_position", "_read_feed", "_revision",
        "_said", "_said_until", "_target", "_timer", "_unread", "link", "rooms", "who",
    )  # fmt: skip

    def __init__(self, link: Link, who: Principal, read_feed: ReadFeed) -> None:
        self.link = link
        self.who = who
        self.rooms: set[str] = set()
        self._read_feed = read_feed
        self._position = 0
        self._mark: str | None = None
        self._target = 0
        self._unread = 0
        self._revision = 0
        self._counted = 0
        self._opened = False
        self._catching_up: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._said = 0
        self._said_until = 0.0

    def open(self, start: Start, state: FeedState) -> None:
        """Begin: `sync` first, then what was missed, then what comes."""
        self._opened = True
        self._position = start.position
        self._mark = start.mark
        self._counted = state.revision
        self._emit("sync", Sync(head=state.head, unread_count=state.unread))
        self._reach(state.head)
        self._count()
        self.renew(self.who)

    def hear(self, push: Push) -> None:
        """Take news of the account's feed."""
        if self._live and self.link.has_room:
            for event in push.events:
                if event.seq == self._position + 1:
                    self._send(event.seq, event.name, bytes(event.data))
        if push.revision > self._revision:
            self._revision, self._unread = push.revision, push.unread
        if push.head > self._position:
            self._reach(push.head)
        if self._revision > self._counted:
            self._count()

    def renew(self, who: Principal) -> None:
        """Go on under another token of the account: warn before its end, close at it."""
        self._stop_timer()
        if self.link.closing:
            return  # nothing would stop another timer
        self.who = who
        left = (who.expires_at - now()).total_seconds()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(max(0.0, left - WARNING_S), self._warn, loop.time() + left)

    def may_say(self) -> bool:
        """Count something the client said; False when it says too much."""
        moment = asyncio.get_running_loop().time()
        if moment > self._said_until:
            self._said, self._said_until = 0, moment + SAID_WITHIN_S
        self._said += 1
        return self._said <= SAID_MOST

    def end(self) -> None:
        self._stop_timer()
        if self._catching_up is not None:
            self._catching_up.cancel()

    @property
    def _live(self) -> bool:
        return self._opened and self._catching_up is None

    def _reach(self, head: int) -> None:
        self._target = max(self._target, head)
        if self._live and self._position < self._target:
            self._catching_up = asyncio.create_task(self._catch_up())

    async def _catch_up(self) -> None:
        # After the loop's last look at the target nothing is awaited before the task is
        # forgotten, so whatever is heard is reached here or starts another.
        try:
            while self._position < self._target and not self.link.closing:
                await self._read_on()
        except DatabaseAway as error:
            log.warning("sockets.catch_up_failed", why=repr(error))  # the next look tries again
        finally:
            self._catching_up = None
        self._count()

    async def _read_on(self) -> None:
        """Send the next of what is in the database, as fast as the client reads."""
        target = self._target
        await self._room()
        told = await self._read_feed(self.who.user_id, self._position, PAGE)
        for event in told.events:
            await self._room()
            self._send(event.seq, event.name, event.data)
        if len(told.events) < PAGE:
            self._position = max(self._position, told.state.head)
            if told.state.head < target == self._target:
                self._target = self._position  # a database restored to before what was said

    async def _room(self) -> None:
        try:
            async with asyncio.timeout(ROOM_WITHIN_S):
                await self.link.room()
        except TimeoutError:
            self.link.close("slow reader")

    def _send(self, seq: int, name: str, data: bytes) -> None:
        self._position = seq
        offset = b"" if self._mark is None else f',"{seq}{self._mark}"'.encode()
        self._packet(name, data, offset)

    def _count(self) -> None:
        """Say how many are unread, once what they are has been sent."""
        if self._live and self._counted < self._revision:
            self._counted = self._revision
            self._emit("unread_count", UnreadCount(unread=self._unread))

    def _warn(self, ends_at: float) -> None:
        """Say that the token ends soon, at this time of the loop."""
        loop = asyncio.get_running_loop()
        self._timer = loop.call_at(ends_at, self.link.close, "token ended")
        self._emit("auth_expiring", AuthExpiring(expires_at=self.who.expires_at))

    def _emit(self, name: str, said: Answer) -> None:
        self._packet(name, encode(said))

    def _packet(self, name: str, data: bytes, offset: bytes = b"") -> None:
        _emitted(name).inc()
        self.link.send(b'2["%b",%b%b]' % (name.encode(), data, offset))

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


_emitted = cache(EMITTED.labels)  # looking one up takes longer than counting
