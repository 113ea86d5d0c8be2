"""The gateway as Python sees it: typed calls over HTTP, and the feed of events over Socket.IO.

    async with Gateway("http://127.0.0.1:3000") as gateway:
        await gateway.auth.register(email="a@example.org", name="A", password="ten letters")
        item = await gateway.inventory.create_item(name="Tea", quantity=12, unit="box")
        await gateway.inventory.add_movement(item.id, -2, "sale")
        async with gateway.feed() as feed:
            async for heard in feed:
                ...

Every POST and PATCH outside `/api/auth` carries an Idempotency-Key, so a call that was cut off is
sent again without having its effect twice; see `transport` for what is repeated and how long.

`shapes` what comes back · `refusals` what may be raised · `transport` one call, repeated while
that is safe · `pacing` how fast · `identity` the account and its tokens · `stock`, `vendors`,
`inbox` the calls, one class a service · `feed` the socket.
"""

from restock.client.feed import Feed, Heard
from restock.client.gateway import Gateway
from restock.client.refusals import ApiProblem, FeedRefused, GatewayUnreachable

__all__ = ["ApiProblem", "Feed", "FeedRefused", "Gateway", "GatewayUnreachable", "Heard"]
