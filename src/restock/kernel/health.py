"""Health as others ask for it: is this worker able to do its work?"""

import asyncio
from typing import Any

from restock.kernel.reply import Reply
from restock.kernel.routing import Route, get
from restock.kernel.service import Context
from restock.kernel.telemetry import metrics


async def health(context: Context) -> dict[str, Any]:
    """`status` is ready, degraded (it works, but something it leans on is away) or unready."""
    checks: dict[str, str] = {}
    if context.service.database:
        answers = await context.database.ping()
        checks["database"] = "ok" if answers else context.database.wrong
    checks["nats"] = "ok" if context.bus.connected else "away"
    if context.service.publishes:
        checks["events"] = "held up" if context.relay.held_up else "ok"
    revocations = context.verifier.revocations
    if not revocations.ready:
        checks["revocations"] = "unread"
    else:
        checks["revocations"] = "degraded" if revocations.degraded else "ok"
    if checks.get("database", "ok") != "ok" or checks["revocations"] == "unread":
        status = "unready"
    elif all(state == "ok" for state in checks.values()):
        status = "ready"
    else:
        status = "degraded"
    return {
        "service": context.service.name,
        "worker": context.settings.worker,
        "status": status,
        "checks": checks,
    }


def health_routes(context: Context) -> list[Route]:
    """GET /health (200, or 503 when unready) and GET /metrics, on the service's own port."""

    @get("/health", public=True, hidden=True)
    async def read_health() -> Reply[dict[str, Any]]:
        ask = context.service.health or health
        found = await ask(context)
        return Reply(found, status=503 if found["status"] == "unready" else 200)

    @get("/metrics", public=True, hidden=True)
    async def read_metrics() -> Reply[bytes]:
        content, kind = await asyncio.to_thread(metrics)
        return Reply(content, media_type=kind)

    return [read_health, read_metrics]
