"""Many people who sign in at once, each from an address of his own, who come again when told to.

A program of its own, so that its work delays nobody who measures:
`python -m tests.journeys.flood URL PEOPLE SECONDS` writes how often each was answered.
"""

import asyncio
import json
import secrets
import sys
import time
from collections import Counter
from typing import Any

import aiohttp


async def flood(url: str, people: int, seconds: float) -> Counter[str]:
    """Sign everybody in, with a wrong password, until the time is over."""
    ends = time.monotonic() + seconds
    answered: Counter[str] = Counter()
    run = secrets.token_hex(4)  # an account that was guessed at before is refused for little

    async def person(number: int, session: Any) -> None:
        headers = {"X-Forwarded-For": f"198.18.{number // 250}.{number % 250 + 1}"}
        body = {"email": f"person{number}-{run}@example.org", "password": "a password like others"}
        while (left := ends - time.monotonic()) > 0:
            async with session.post(f"{url}/api/auth/login", json=body, headers=headers) as answer:
                code = (await answer.json(content_type=None))["code"]
                answered[f"{answer.status} {code}"] += 1
                told = float(answer.headers.get("Retry-After", 0))
                assert answer.status == 401 or told >= 1, "when to come again is said"
            await asyncio.sleep(min(told, left))

    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        await asyncio.gather(*(person(number, session) for number in range(people)))
    return answered


if __name__ == "__main__":
    answered = asyncio.run(flood(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
    sys.stdout.write(json.dumps(answered))
