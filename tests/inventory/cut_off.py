"""An inventory service that is killed at its first change: after the commit, before the answer.

    python -m tests.inventory.cut_off PORT DATABASE_URL PUBLIC_KEY ANSWER

PUBLIC_KEY is a file with the key of access tokens; ANSWER is where it writes what it would have
answered.
"""

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.serialization import load_pem_public_key

from restock.kernel.edge import Exchange
from restock.kernel.reply import Answer
from restock.kernel.runner import HttpServer, bind, open_context
from restock.kernel.settings import load
from restock.kernel.web import create_app
from restock.system import load as load_service
from tests.fixtures.tokens import KID


async def main(port: int, database_url: str, key: bytes, answer: Path) -> None:
    whole = Exchange.answer

    async def cut_off(exchange: Exchange, receive: Any) -> Answer:
        found = await whole(exchange, receive)
        if exchange.scope["method"] != "GET":
            answer.write_bytes(found.body)  # noqa: ASYNC240 – it is its last word
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    Exchange.answer = cut_off  # type: ignore[method-assign]

    async def fetch_keys() -> dict[str, Any]:
        return {KID: load_pem_public_key(key)}

    service = load_service("inventory")
    settings: Any = load(
        service.settings, "inventory", {"RESTOCK_INVENTORY_DATABASE_URL": database_url}
    )
    async with open_context(service, settings, fetch_keys=fetch_keys) as context:
        context.verifier.revocations.ready = True
        server = HttpServer(create_app(context), [bind("127.0.0.1", port)])
        await server.run(asyncio.Event())


if __name__ == "__main__":
    asyncio.run(
        main(int(sys.argv[1]), sys.argv[2], Path(sys.argv[3]).read_bytes(), Path(sys.argv[4]))
    )
