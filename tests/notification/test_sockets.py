"""Sockets with the unmodified socket.io-client: who may connect, and what is heard."""

import jwt
import pytest

from restock.events.auth import SessionRevoked
from restock.events.vendor import RequestOpened
from restock.kernel.clock import now
from restock.kernel.ids import new_id
from restock.notification.sockets import Sockets
from tests.fixtures.tokens import token_for as make_token
from tests.notification.happenings import account, fell_low, request_event, vendor_registered

BOTH = pytest.mark.parametrize("transport", ["websocket", "polling"])


def listens(node, service, who, transport="websocket", **auth):
    return node.open(service.url, transports=[transport], auth={"token": who.token} | auth)


@BOTH
async def test_an_alert_arrives_on_an_open_socket(live, publisher, node, ada, transport):
    client = listens(node, live, ada, transport)
    await client.hears("sync")
    event = fell_low(ada.user_id)
    await publisher.publish(event)
    notification, offset = await client.hears("new_notification")
    listed = await live.ask("GET", "/api/notifications", token=ada.token)
    assert listed.json == [notification]
    assert (notification["message"], notification["itemId"]) == (
        "Low stock alert: Flour",
        str(event.item_id),
    )
    assert offset == str(notification["seq"])
    assert await client.hears("unread_count") == [{"unread": 1}]
    assert client.heard("sync") == [[{"head": 0, "unreadCount": 0}]]
    assert next(r["name"] for r in client.all("heard")) == "sync"


@BOTH
async def test_a_vendors_person_hears_the_request_and_its_notification(
    live, publisher, node, ada, transport
):
    client = listens(node, live, ada, transport)
    await client.hears("sync")
    event = request_event(RequestOpened, buyer=new_id(), people=[ada.user_id])
    await publisher.publish(event)
    request, offset = await client.hears("vendor_contact_request")
    [[notification, first]] = client.heard("new_notification")
    assert (first, offset) == ("1", "2")
    assert (notification["type"], notification["seq"]) == ("vendor_request", 1)
    assert (request["id"], request["vendorId"], request["seq"]) == (
        str(event.id),
        str(event.vendor_id),
        2,
    )
    assert (request["quantity"], request["status"]) == (25, "pending")
    assert request["vendor"] == {"id": str(event.vendor_id), "name": "Mill & Sons"}
    assert (request["item"]["name"], request["clientName"]) == ("Flour", "Ada")


async def test_a_client_that_begins_with_polling_upgrades_and_misses_nothing(
    live, publisher, node, ada
):
    client = node.open(live.url, auth={"token": ada.token})
    await client.hears("sync")
    await publisher.publish(fell_low(ada.user_id))
    assert (await client.reported("upgrade"))["transport"] == "websocket"
    for _ in range(5):
        await publisher.publish(fell_low(ada.user_id))
    await client.until(lambda c: c.heard("new_notification")[-1:] and _last_seq(c) == 6)


def _last_seq(client):
    return client.heard("new_notification")[-1][0]["seq"]


@pytest.mark.parametrize("auth", [{}, {"token": None}, {"token": 7}, {"token": "x.y.z"}, None])
async def test_without_a_good_token_a_socket_is_refused_with_a_reason(live, node, auth):
    client = node.open(live.url, transports=["websocket"], auth=auth)
    refusal = await client.reported("connect_error")
    assert refusal["data"] == {"code": "auth.unauthenticated"}
    assert refusal["message"]
    assert refusal["active"] is False


@BOTH
async def test_forged_and_ended_tokens_are_refused(live, node, ada, transport):
    claims = jwt.decode(ada.token, options={"verify_signature": False})
    unsigned = jwt.encode(claims, None, algorithm="none")
    for token in (unsigned, make_token(lives_s=-5), make_token(aud="another")):
        client = node.open(live.url, transports=[transport], auth={"token": token})
        refusal = await client.reported("connect_error")
        assert refusal["data"] == {"code": "auth.unauthenticated"}


async def test_a_socket_hears_its_own_account_whatever_it_asks_for(live, publisher, node, ada, bob):
    client = listens(node, live, bob)
    await client.hears("sync")
    assert await client.say("subscribe", {"userId": str(bob.user_id)}) == {"ok": True}
    refused = await client.say("subscribe", {"userId": str(ada.user_id)})
    assert refused == {"ok": False, "error": "forbidden"}
    foreign = await client.say("subscribe_vendor", {"vendorId": str(new_id())})
    assert foreign == {"ok": False, "error": "forbidden"}
    for nonsense in ({}, {"userId": "x"}, "user:1", None, [], {"userId": str(bob.user_id), "x": 1}):
        answer = await client.say("subscribe", nonsense)
        assert answer["ok"] is False
    assert (await client.say("join", f"user:{ada.user_id}"))["ok"] is False
    await publisher.publish(fell_low(ada.user_id))
    await publisher.publish(fell_low(bob.user_id, name="his own"))
    [notification, _] = await client.hears("new_notification")
    assert notification["userId"] == str(bob.user_id)
    assert len(client.heard("new_notification")) == 1


async def test_every_socket_of_an_account_hears(live, publisher, node, ada):
    clients = [listens(node, live, ada, t) for t in ("websocket", "polling", "websocket")]
    for client in clients:
        await client.hears("sync")
    clients[2].command("close")
    await clients[2].reported("closed")
    await publisher.publish(fell_low(ada.user_id))
    heard = [await client.hears("new_notification") for client in clients[:2]]
    assert heard[0] == heard[1]


async def test_a_changed_count_is_told_to_all_sockets(live, publisher, node, ada):
    clients = [listens(node, live, ada) for _ in range(2)]
    for client in clients:
        await client.hears("sync")
    await publisher.publish(fell_low(ada.user_id))
    await publisher.publish(fell_low(ada.user_id))
    for client in clients:
        await client.until(lambda c: len(c.heard("new_notification")) == 2)
    first, _ = clients[0].heard("new_notification")[0]
    path = f"/api/notifications/{first['id']}"
    await live.ask("PATCH", f"{path}/read", token=ada.token)
    for client in clients:
        await client.until(lambda c: c.heard("unread_count")[-1:] == [[{"unread": 1}]])
    await live.ask("POST", "/api/notifications/read-all", token=ada.token)
    for client in clients:
        await client.until(lambda c: c.heard("unread_count")[-1:] == [[{"unread": 0}]])


async def test_sync_says_where_the_feed_stands(live, publisher, node, ada):
    early = listens(node, live, ada)
    await early.hears("sync")
    await publisher.publish(fell_low(ada.user_id))
    await publisher.publish(request_event(RequestOpened, buyer=new_id(), people=[ada.user_id]))
    await early.hears("vendor_contact_request")
    late = listens(node, live, ada)
    assert await late.hears("sync") == [{"head": 3, "unreadCount": 2}]
    assert late.heard("new_notification") == []


async def test_an_open_socket_hears_of_a_vendor_registered_afterwards(live, publisher, node, ada):
    client = listens(node, live, ada)
    await client.hears("sync")
    vendor_id = new_id()
    ask = "subscribe_vendor", {"vendorId": str(vendor_id)}
    assert (await client.say(*ask))["ok"] is False
    await publisher.publish(vendor_registered([ada.user_id], vendor_id))
    # the push comes before this alert's, which is published after it was heard of
    while (await client.say(*ask))["ok"] is False:
        await publisher.publish(fell_low(ada.user_id))
        await client.hears("new_notification", len(client.heard("new_notification")) + 1)
    again = listens(node, live, ada)
    assert await again.say(*ask) == {"ok": True}


async def test_the_ids_of_a_worker_begin_with_its_number(
    make_service, nats, node, ada, port_offset
):
    service = await make_service(
        "notification", nats=nats, RESTOCK_WORKER="2", RESTOCK_PORT_OFFSET=port_offset
    )
    own_port = f"http://127.0.0.1:{3112 + int(port_offset)}"
    for url in (service.url, own_port):
        for transport in ("websocket", "polling"):
            client = node.open(url, transports=[transport], auth={"token": ada.token})
            assert (await client.reported("connect"))["sid"].startswith("2-")


@BOTH
async def test_at_its_tokens_end_the_transport_closes_after_a_warning(
    live, node, token_for, transport
):
    who = account(token_for, lives_s=2)
    client = listens(node, live, who, transport)
    [warning] = await client.hears("auth_expiring")
    assert set(warning) == {"expiresAt"}
    lost = await client.reported("disconnect")
    assert lost["reason"] != "io server disconnect"
    assert lost["active"] is True
    refusal = await client.reported("connect_error")
    assert refusal["data"] == {"code": "auth.unauthenticated"}


async def test_a_fresh_token_renews_in_place(live, publisher, node, token_for):
    who = account(token_for, lives_s=2)
    client = listens(node, live, who)
    await client.hears("auth_expiring")
    for bad in ("x", make_token(), make_token(user_id=who.user_id, lives_s=-5)):
        assert (await client.say("authenticate", {"token": bad}))["ok"] is False
    fresh = make_token(user_id=who.user_id, lives_s=62)
    assert await client.say("authenticate", {"token": fresh}) == {"ok": True}
    # its own warning comes 60 s before its end: after the first token's
    await client.hears("auth_expiring", 2)
    await publisher.publish(fell_low(who.user_id))
    await client.hears("new_notification")
    assert client.all("disconnect") == []


@BOTH
async def test_an_ended_session_closes_its_sockets_and_no_others(
    live, publisher, node, token_for, transport
):
    who = account(token_for)
    other_session = account(token_for, user_id=who.user_id)
    client, other = listens(node, live, who, transport), listens(node, live, other_session)
    await client.hears("sync")
    await other.hears("sync")
    await publisher.publish(
        SessionRevoked(
            session_id=who.session_id,
            user_id=who.user_id,
            expires_at=now().replace(year=now().year + 1),
        )
    )
    assert (await client.reported("disconnect"))["reason"] != "io server disconnect"
    refusal = await client.reported("connect_error")
    assert refusal["data"] == {"code": "auth.unauthenticated"}
    await publisher.publish(fell_low(who.user_id))
    await other.hears("new_notification")
    assert client.heard("new_notification") == []


async def test_what_is_said_on_a_link_that_closed_meanwhile_is_dropped():
    sockets = Sockets(None, None, None, check_s=1.0, per_account=1)
    assert await sockets.event(object(), "subscribe", [{}]) is None
