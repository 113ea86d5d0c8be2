"""A relay that is killed when JetStream has acknowledged an event, before its row is marked.

    python -m tests.kernel.killed_relay ANSWER

Its database and NATS stand in the environment. ANSWER is where it writes what JetStream answered.
"""

import asyncio
import json
import os
import signal
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from nats.js.client import JetStreamContext

from restock.kernel.runner import open_context
from restock.kernel.settings import load
from tests.kernel import sample


async def main(answer: Path) -> None:
    publish = JetStreamContext.publish

    async def publish_and_die(*args: Any, **options: Any) -> Any:
        acknowledged = await publish(*args, **options)
        answer.write_text(json.dumps(asdict(acknowledged)))  # noqa: ASYNC240 – its last word
        os.kill(os.getpid(), signal.SIGKILL)

    JetStreamContext.publish = publish_and_die  # type: ignore[method-assign]
    service = sample.service()
    settings: Any = load(service.settings, service.name)
    async with open_context(service, settings) as context:
        for_ever = asyncio.Event()
        await asyncio.gather(context.bus.run(for_ever), context.relay.run(for_ever))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
