"""How the whole is: each service asked for its own health, the worst of them decides."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp
import msgspec

from restock.gateway.keeping import Kept
from restock.gateway.settings import SERVICE_PORTS, Settings
from restock.gateway.supervision import is_ready
from restock.kernel.service import Context

ANSWERS_WITHIN_S = 2.0
REFERENCE_KEPT_S = 2.0
ORDER = ("ready", "degraded", "unready", "away")  # from best to worst


@dataclass(frozen=True, slots=True)
class Reference:
    """The OpenAPI document of all services as JSON, as it is and for readers of 3.0."""

    newer: bytes
    older: bytes


@dataclass(frozen=True)
class Services:
    """What the gateway process asks the services with.

    `reference` keeps the API reference made of their answers: anyone may ask for it.
    """

    session: aiohttp.ClientSession
    settings: Settings
    reference: Kept[Reference] = field(default_factory=lambda: Kept(REFERENCE_KEPT_S))

    async def get(self, address: tuple[str, int], path: str) -> Any:
        """The JSON at a service's own port, whatever its status; None when it doesn't answer."""
        host, port = address
        host = f"[{host}]" if ":" in host else host
        try:
            async with self.session.get(f"http://{host}:{port}{path}") as answer:
                return msgspec.json.decode(await answer.read())
        except (aiohttp.ClientError, TimeoutError, OSError, msgspec.DecodeError):
            return None


@asynccontextmanager
async def open_services(context: Context) -> AsyncIterator[Services]:
    """The Services of a running gateway process."""
    timeout = aiohttp.ClientTimeout(total=ANSWERS_WITHIN_S)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        yield Services(session, context.settings)


async def health(context: Context) -> dict[str, Any]:
    """GET /health of the whole.

    `ready`, `degraded` (everything works, but something is away that it leans on) or `unready`
    (a part of it doesn't answer or can't do its work).
    """
    services: Services = context.resources
    names = list(SERVICE_PORTS)
    found = await asyncio.gather(*(_ask(services, name) for name in names), _envoy(services))
    states = dict(zip([*names, "envoy"], found, strict=True))
    worst = max((ORDER.index(state["status"]) for state in states.values()), default=0)
    return {
        "service": "gateway",
        "worker": context.settings.worker,
        "status": "unready" if worst >= ORDER.index("unready") else ORDER[worst],
        "services": states,
    }


async def _ask(services: Services, name: str) -> dict[str, Any]:
    """How the service is; notification also has to have its sockets."""
    groups = [services.settings.upstreams(name)]
    if name == "notification":
        groups.append(services.settings.socket_workers())
    found = await asyncio.gather(*(_ask_all(services, places) for places in groups))
    return max(found, key=_badness)


async def _ask_all(services: Services, places: list[tuple[str, int]]) -> dict[str, Any]:
    """The worst answer of several places. While one of them works, nothing is worse than degraded:
    so it is whenever a deploy restarts them one after the other."""
    answers = await asyncio.gather(*(services.get(place, "/health") for place in places))
    states = sorted((_state(answer) for answer in answers), key=_badness)
    if _badness(states[0]) < ORDER.index("unready") <= _badness(states[-1]):
        return states[-1] | {"status": "degraded"}
    return states[-1]


def _badness(state: dict[str, Any]) -> int:
    return ORDER.index(state["status"])


def _state(answer: Any) -> dict[str, Any]:
    if not isinstance(answer, dict) or answer.get("status") not in ORDER:
        return {"status": "away"}
    return {key: answer[key] for key in ("status", "checks") if key in answer}


async def _envoy(services: Services) -> dict[str, Any]:
    if not services.settings.run_envoy:
        return {"status": "ready"}
    ready = await is_ready(services.settings)
    return {"status": "ready" if ready else "away"}
