"""Nothing is lost, doubled or out of order, whatever becomes of connections and processes."""

import asyncio

import pytest
import socketio

from restock.events.vendor import RequestOpened
from restock.kernel.ids import new_id
from restock.notification import pushes
from restock.notification.ears import Ear, settle
from restock.notification.pushes import Pushes
from tests.fixtures.tokens import token_for as make_token
from tests.notification.happenings import Publisher, account, fell_low, happen, request_event
from tests.notification.process import killable

BOTH = pytest.mark.parametrize("transport", ["websocket", "polling"])
EITHER_WAY = pytest.mark.parametrize("counts", [False, True], ids=["pid", "lastSeq"])
STORM = 200
DROPS = 10


def listens(node, service, who, transport="websocket", *, counts=False):
    return node.open(service.url, transports=[transport], auth={"token": who.token}, counts=counts)


def seqs(client):
    return [args[0]["seq"] for args in client.heard("new_notification", "vendor_contact_request")]


async def up_to(client, seq):
    await client.until(lambda c: seqs(c)[-1:] == [seq])
    return seqs(client)


@BOTH
@EITHER_WAY
async def test_who_was_away_hears_what_he_missed(live, publisher, node, ada, transport, counts):
    client = listens(node, live, ada, transport, counts=counts)
    await client.hears("sync")
    # before it has heard anything at all, then after it has
    for upto in (3, 6):
        client.command("leave")
        await client.reported("disconnect", upto // 3)
        for _ in range(3):
            await happen(live, fell_low(ada.user_id))
        client.command("back")
        assert await up_to(client, upto) == list(range(1, upto + 1))
    connects = client.all("connect")
    assert [c["recovered"] for c in connects] == [False] + [not counts] * 2
    lengths = {len(args) for args in client.heard("new_notification")}
    assert lengths == ({1} if counts else {2})


@BOTH
@EITHER_WAY
async def test_a_storm_of_drops_and_a_killed_process(
    postgres, nats, node, ada, tmp_path, transport, counts
):
    async with Publisher.of(nats) as publisher, killable(postgres, nats, tmp_path) as process:
        await process.start()
        client = listens(node, process, ada, transport, counts=counts)
        await client.hears("sync")

        async def tell():
            for number in range(STORM):
                await publisher.publish(fell_low(ada.user_id, name=f"item {number}"))
                await client.until(lambda c, n=number: len(seqs(c)) > n - 40)

        async def disturb():
            for number in range(DROPS):
                await client.until(lambda c, n=number: len(seqs(c)) > n * STORM // (DROPS + 1))
                connects = len(client.all("connect"))
                if number == DROPS // 2:
                    await process.kill()
                    await process.start()
                else:
                    client.command("drop")
                await client.reported("connect", connects + 1)

        await asyncio.gather(tell(), disturb())
        assert await up_to(client, STORM) == list(range(1, STORM + 1))
        names = [args[0]["message"] for args in client.heard("new_notification")]
        assert len(set(names)) == STORM
        recovered = [connect["recovered"] for connect in client.all("connect")]
        assert len(recovered) >= DROPS + 1
        assert set(recovered[1:]) == {not counts}


async def test_requests_and_their_notifications_are_resumed_one_by_one(live, publisher, node, ada):
    """A drop between the two of one happening must not lose the second."""
    client = listens(node, live, ada)
    await client.hears("sync")
    for number in range(1, 13):
        event = request_event(RequestOpened, buyer=new_id(), people=[ada.user_id])
        await publisher.publish(event)
        await client.until(lambda c, n=number: len(seqs(c)) > 2 * n - 2)
        connects = len(client.all("connect"))
        client.command("drop")
        await client.reported("connect", connects + 1)
    assert await up_to(client, 24) == list(range(1, 25))


async def test_a_lost_push_is_made_good_before_the_next_is_sent(
    live, publisher, node, ada, monkeypatch
):
    client = listens(node, live, ada)
    await client.hears("sync")
    dropped = _drop_pushes(monkeypatch, ada, which={2, 3})
    for _ in range(5):
        await publisher.publish(fell_low(ada.user_id))
    assert await up_to(client, 5) == [1, 2, 3, 4, 5]
    assert dropped == [2, 3]


async def test_a_lost_push_that_none_follows_is_found_by_comparing_with_the_head(
    make_service, nats, node, ada, port_offset, monkeypatch
):
    service = await make_service(
        "notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset, head_check="0.2"
    )
    client = listens(node, service, ada)
    await client.hears("sync")
    dropped = _drop_pushes(monkeypatch, ada, which={1})
    await happen(service, fell_low(ada.user_id))
    assert await up_to(client, 1) == [1]
    assert await client.hears("unread_count") == [{"unread": 1}]
    assert dropped == [1]


def _drop_pushes(monkeypatch, who, which):
    dropped = []
    send = Pushes._send

    async def send_some(self, user_id, push):
        if user_id == who.user_id and push.head in which:
            dropped.append(push.head)
        else:
            await send(self, user_id, push)

    monkeypatch.setattr(Pushes, "_send", send_some)
    return dropped


async def test_after_a_reconnect_to_nats_the_heads_are_compared_at_once(
    make_service, nats, node, ada, port_offset
):
    service = await make_service(
        "notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset, head_check="60"
    )
    early = listens(node, service, ada)
    await early.hears("sync")
    await nats.stop()
    late = listens(node, service, ada)
    await late.hears("sync")
    await happen(service, fell_low(ada.user_id))
    await nats.start()
    for client in (early, late):
        assert await up_to(client, 1) == [1]
    # and both are listening again, whether they came before NATS went or while it was away
    async with Publisher.of(nats) as publisher:
        await publisher.publish(fell_low(ada.user_id))
    for client in (early, late):
        assert await up_to(client, 2) == [1, 2]


async def test_who_could_not_be_listened_to_is_tried_again(
    make_service, nats, node, ada, port_offset, monkeypatch
):
    service = await make_service(
        "notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset, head_check="60"
    )
    nc, sockets = service.context.bus.nc, service.context.resources.sockets

    async def fail(_client, _timeout_s):
        raise TimeoutError

    with monkeypatch.context() as patch:
        patch.setattr(pushes, "settle", fail)
        client = listens(node, service, ada)
        await client.hears("sync")
    assert not any(isinstance(sub, Ear) for sub in nc._subs.values())
    await sockets.check()
    assert sum(isinstance(sub, Ear) for sub in nc._subs.values()) == 1
    async with Publisher.of(nats) as publisher:
        await publisher.publish(fell_low(ada.user_id))
        assert await up_to(client, 1) == [1]


async def test_after_a_reconnect_many_are_listened_to_in_one_round_trip(
    make_service, nats, node, token_for, port_offset, monkeypatch
):
    service = await make_service("notification", nats=nats, RESTOCK_PORT_OFFSET=port_offset)
    sockets = service.context.resources.sockets
    asked, works = [], False

    async def counted(client, timeout_s):
        asked.append(client)
        if not works:
            raise TimeoutError
        await settle(client, timeout_s)

    monkeypatch.setattr(pushes, "settle", counted)
    clients = [listens(node, service, account(token_for)) for _ in range(3)]
    for client in clients:
        await client.hears("sync")
    works = True
    asked.clear()
    await sockets.bus_connected()
    assert len(asked) <= 1
    assert all(audience.subscribed for audience in sockets._audiences.values())


async def test_a_long_absence_is_replayed_as_fast_as_it_is_read(live, node, ada):
    """More than one page, and more than the backlog holds."""
    client = listens(node, live, ada)
    await client.hears("sync")
    client.command("leave")
    await client.reported("disconnect")
    for _ in range(60):
        event = request_event(
            RequestOpened, buyer=new_id(), people=[ada.user_id], message="…" * 2000
        )
        await happen(live, event)
    client.command("back")
    assert await up_to(client, 120) == list(range(1, 121))


async def test_a_deleted_notification_is_not_replayed_and_leaves_no_hole(live, node, ada):
    client = listens(node, live, ada)
    await client.hears("sync")
    client.command("leave")
    await client.reported("disconnect")
    for _ in range(5):
        await happen(live, fell_low(ada.user_id))
    listed = await live.ask("GET", "/api/notifications", token=ada.token)
    for notification in listed.json:
        if notification["seq"] in (2, 5):
            path = f"/api/notifications/{notification['id']}"
            assert (await live.ask("DELETE", path, token=ada.token)).status == 204
    client.command("back")
    assert await up_to(client, 4) == [1, 3, 4]
    await happen(live, fell_low(ada.user_id))
    assert await up_to(client, 6) == [1, 3, 4, 6]


async def test_the_same_socket_coming_back_as_another_account_loses_nothing(live, node, ada, bob):
    client = listens(node, live, ada)
    await client.hears("sync")
    for _ in range(3):
        await happen(live, fell_low(ada.user_id))
    await up_to(client, 3)
    client.command("auth", auth={"token": bob.token})
    client.command("reopen")
    await client.hears("sync", 2)
    client.command("leave")
    await client.reported("disconnect", 2)
    for _ in range(5):
        await happen(live, fell_low(bob.user_id))
    client.command("back")
    assert await up_to(client, 5) == [1, 2, 3, 1, 2, 3, 4, 5]
    owners = [args[0]["userId"] for args in client.heard("new_notification")]
    assert owners == [str(ada.user_id)] * 3 + [str(bob.user_id)] * 5


async def test_a_client_whose_handlers_take_one_argument_resumes_by_last_seq(live, ada):
    heard, synced = [], []
    more = asyncio.Event()
    client = socketio.AsyncClient(reconnection=False)
    client.on("sync", synced.append)

    @client.on("new_notification")
    async def hear(notification):
        heard.append(notification["seq"])
        more.set()

    async def connect():
        auth = {"token": ada.token, "lastSeq": heard[-1] if heard else 0}
        await client.connect(live.url, auth=auth, transports=["websocket"])

    for upto in (2, 4):
        for _ in range(2):
            await happen(live, fell_low(ada.user_id))
        await connect()
        async with asyncio.timeout(20):
            while len(heard) < upto:
                more.clear()
                await more.wait()
        await client.disconnect()
    assert heard == [1, 2, 3, 4]
    assert synced == [{"head": 2, "unreadCount": 2}, {"head": 4, "unreadCount": 4}]


async def test_a_last_seq_that_is_none_is_refused_with_a_reason(live, node, ada):
    client = node.open(live.url, auth={"token": ada.token, "lastSeq": "7"})
    refusal = await client.reported("connect_error")
    assert refusal["data"] == {"code": "notification.bad_last_seq"}


async def test_a_process_told_to_stop_lets_its_sockets_go_and_they_come_back(
    postgres, nats, node, tmp_path
):
    token = make_token()
    async with killable(postgres, nats, tmp_path) as process:
        await process.start()
        clients = [
            node.open(process.url, transports=[transport], auth={"token": token})
            for transport in ("websocket", "polling")
        ]
        for client in clients:
            await client.hears("sync")
        assert await process.terminate() == 0
        await process.start()
        for client in clients:
            assert (await client.reported("disconnect"))["active"] is True
            assert (await client.reported("connect", 2))["recovered"] is True
