"""Asking a service how it is, with nothing but a connection."""

import asyncio
from collections.abc import Mapping
from typing import Any

import msgspec


async def ask_health(host: str, port: int, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """What GET /health says, with the HTTP status as `http`; empty when nobody answers."""
    try:
        async with asyncio.timeout(timeout_s):
            reader, writer = await asyncio.open_connection(host, port)
            try:
                writer.write(b"GET /health HTTP/1.1\r\nHost: restock\r\nConnection: close\r\n\r\n")
                raw = await reader.read(256 * 1024)
                while more := await reader.read(256 * 1024):
                    raw += more
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return {}
    return _parsed(raw)


def failing(said: Mapping[str, Any]) -> str:
    """Why a part isn't ready, as its health tells it."""
    if not said:
        return "no answer"
    checks = {name: state for name, state in said.get("checks", {}).items() if state != "ok"}
    for name, health in said.get("services", {}).items():
        state = health.get("status", "no answer") if isinstance(health, dict) else health
        if state != "ready":
            checks[name] = state
    shown = ", ".join(f"{name} {state}" for name, state in checks.items())
    return shown or str(said.get("status", f"HTTP {said.get('http')}"))


def _parsed(raw: bytes) -> dict[str, Any]:
    head, _, body = raw.partition(b"\r\n\r\n")
    parts = head.split(b" ", 2)
    if len(parts) < 3 or not parts[1].isdigit():
        return {}
    # Cut to the object itself: a chunked body has lengths around it.
    start, end = body.find(b"{"), body.rfind(b"}")
    try:
        found = msgspec.json.decode(body[start : end + 1])
    except msgspec.DecodeError:
        found = {}
    return {**found, "http": int(parts[1])}
