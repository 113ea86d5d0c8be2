"""`restock deadletters` where there is nothing to list."""

from restock.cli.deadletters import read_all, replay_one
from restock.engines.nats import NatsEngine
from restock.engines.streams import connect


async def test_a_system_that_never_had_one_has_none(nats: NatsEngine) -> None:
    client = await connect(nats.url, nats.credential("operator"))
    jetstream = client.jetstream(timeout=5)
    assert await read_all(jetstream) == []
    await jetstream.publish("deadletters.auth.vendor.thing", b'{"id": "1"}')
    (letter,) = await read_all(jetstream)
    await replay_one(jetstream, letter)
    assert await read_all(jetstream) == []
    await client.close()
