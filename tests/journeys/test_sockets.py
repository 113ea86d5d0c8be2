"""The unmodified socket.io-client through the gateway, with one and with three workers."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import jwt
import pytest
import pytest_asyncio

from restock.client import Gateway
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.journeys.node_client import browser

ALERTS = 200
DISTURBANCES = 11  # ten forced drops and, in the middle, one kill -9

BOTH = pytest.mark.parametrize("transport", ["websocket", "polling"])


@pytest_asyncio.fixture(
    scope="module", loop_scope="session", params=[1, 3], ids=["one worker", "three workers"]
)
async def system(request, scratch) -> AsyncIterator[WholeSystem]:
    workers = request.param
    started = WholeSystem(
        scratch / f"sockets-{workers}",
        free_offset(),
        NO_LIMITS | {"RESTOCK_NOTIFICATION_WORKERS": str(workers)},
    )
    async with running(started):
        yield started


@pytest_asyncio.fixture(loop_scope="session")
async def node():
    async with browser() as started:
        yield started


class Somebody:
    """An account, its gateway and its token."""

    def __init__(self, gateway, token):
        self.gateway = gateway
        self.token = token
        self.user_id = jwt.decode(token, options={"verify_signature": False})["sub"]

    async def make_low(self, name):
        return await self.gateway.inventory.create_item(name=name, quantity=2, min_threshold=5)


@asynccontextmanager
async def somebody(system, name="Ada", role="user"):
    async with Gateway(system.url) as gateway:
        signed = await gateway.auth.register(
            email=f"{uuid4().hex}@example.org", name=name, password="a long password", role=role
        )
        yield Somebody(gateway, signed.token)


def listens(node, system, who, *transports, counts=False):
    options = {"transports": list(transports)} if transports else {}
    return node.open(system.url, auth={"token": who.token}, counts=counts, **options)


@BOTH
async def test_an_alert_and_a_request_arrive_at_once(system, node, transport):
    async with somebody(system) as buyer, somebody(system, "Miller", "vendor") as seller:
        buyers, sellers = (listens(node, system, who, transport) for who in (buyer, seller))
        await buyers.hears("sync")
        await sellers.hears("sync")
        item = await buyer.make_low("Flour")
        alert, _ = await buyers.hears("new_notification")
        assert (alert["message"], alert["itemId"]) == ("Low stock alert: Flour", str(item.id))
        vendor = await seller.gateway.vendors.register_vendor(
            name="Mill & Sons",
            email=f"{uuid4().hex}@example.org",
            phone="1",
            category="food",
            address="Mill Lane 1",
            city="Kent",
        )
        await buyer.gateway.vendors.contact(
            vendor.id, item_id=item.id, quantity=25, message="As soon as you can"
        )
        request, _ = await sellers.hears("vendor_contact_request")
        [[told, _]] = sellers.heard("new_notification")
        assert told["message"] == "New contact request from Ada for 25 units"
        assert (request["itemId"], request["quantity"]) == (str(item.id), 25)
        for number, step in enumerate(("responded", "fulfilled"), 2):
            await seller.gateway.vendors.set_status(request["id"], step)
            # two workers may handle two events at once: each is awaited before the next
            await buyers.hears("new_notification", number)
        types = [args[0]["type"] for args in buyers.heard("new_notification")]
        assert types == ["low_stock", "request_responded", "request_fulfilled"]
        assert len(sellers.heard("new_notification")) == 1


@BOTH
async def test_strangers_are_refused(system, node, transport):
    async with somebody(system) as ada, somebody(system) as bob:
        for auth in ({}, {"token": "x.y.z"}, {"token": ada.token + "x"}):
            refused = node.open(system.url, transports=[transport], auth=auth)
            report = await refused.reported("connect_error")
            assert report["data"] == {"code": "auth.unauthenticated"}
        client = listens(node, system, bob, transport)
        await client.hears("sync")
        assert await client.say("subscribe", {"userId": bob.user_id}) == {"ok": True}
        for name, said in (
            ("subscribe", {"userId": ada.user_id}),
            ("subscribe_vendor", {"vendorId": str(uuid4())}),
        ):
            assert await client.say(name, said) == {"ok": False, "error": "forbidden"}
        await ada.make_low("not for him")
        await bob.make_low("for him")
        [heard, _] = await client.hears("new_notification")
        assert heard["message"] == "Low stock alert: for him"


async def test_polling_upgrades_and_logging_out_closes(system, node):
    async with somebody(system) as ada:
        clients = [listens(node, system, ada), listens(node, system, ada, "polling")]
        assert (await clients[0].reported("upgrade"))["transport"] == "websocket"
        await clients[1].hears("sync")
        await ada.gateway.auth.logout()
        for client in clients:
            assert (await client.reported("disconnect"))["reason"] != "io server disconnect"
            report = await client.reported("connect_error")
            assert report["data"] == {"code": "auth.unauthenticated"}


@pytest.mark.parametrize(
    ("transport", "counts"),
    [("websocket", False), ("polling", False), ("websocket", True)],
    ids=["websocket", "polling", "websocket by lastSeq"],
)
async def test_nothing_is_lost_by_drops_and_a_killed_worker(system, node, transport, counts):
    async with somebody(system) as ada:
        client = listens(node, system, ada, transport, counts=counts)
        await client.hears("sync")

        async def tell():
            for number in range(ALERTS):
                await ada.make_low(f"item {number}")

        async def disturb():
            for number in range(DISTURBANCES):
                await client.until(
                    lambda c, n=number: len(seqs(c)) > n * ALERTS // (DISTURBANCES + 1)
                )
                connects = client.all("connect")
                if number == DISTURBANCES // 2:
                    await kill_worker_of(system, connects[-1]["sid"])
                else:
                    client.command("drop")
                await client.reported("connect", len(connects) + 1)

        await asyncio.gather(tell(), disturb())
        await client.until(lambda c: seqs(c)[-1:] == [ALERTS])
        assert seqs(client) == list(range(1, ALERTS + 1))
        said = [args[0]["message"] for args in client.heard("new_notification")]
        assert set(said) == {f"Low stock alert: item {number}" for number in range(ALERTS)}
        assert len(said) == ALERTS


def seqs(client):
    return [args[0]["seq"] for args in client.heard("new_notification")]


async def kill_worker_of(system, sid):
    pids = system.pids()
    number = sid.partition("-")[0]
    await system.kill(f"notification-{number}" if "notification" not in pids else "notification")
