"""The streams of JetStream, made and kept as written here by the operator's credential.

Services may not make or change streams. One stream holds the events of one owner; dead letters
have their own, the only one from which a message may be removed.
"""

import asyncio
import json
from collections.abc import Mapping
from typing import Any

import nats
import nats.errors
from nats.aio.client import Client

from restock.engines.failures import EngineError
from restock.engines.names import OPERATOR, OPERATOR_PASSWORD
from restock.engines.nats import Credential

MIB = 1024 * 1024
SECOND_NS = 1_000_000_000
DAY_NS = 86_400 * SECOND_NS
NO_SUCH_STREAM = 10059
DEADLETTERS = "DEADLETTERS"
CONNECT_S = 5

LARGEST_BYTES = {
    "AUTH": 512 * MIB,
    "INVENTORY": 2048 * MIB,
    "VENDOR": 512 * MIB,
    DEADLETTERS: 512 * MIB,
}


def replicas_of(environ: Mapping[str, str]) -> int:
    """RESTOCK_STREAM_REPLICAS: on how many servers each stream is kept. Raises EngineError."""
    text = environ.get("RESTOCK_STREAM_REPLICAS") or "1"
    if text not in ("1", "3", "5"):
        raise EngineError(f"RESTOCK_STREAM_REPLICAS must be 1, 3 or 5, not {text!r}")
    return int(text)


def definition(name: str, *, replicas: int) -> dict[str, Any]:
    """The stream as JetStream's API takes it."""
    return {
        "name": name,
        "subjects": [f"{name.lower()}.>"],
        "storage": "file",
        "retention": "limits",
        # full of dead letters it takes no more: then an event stays where it came from
        "discard": "new" if name == DEADLETTERS else "old",
        "max_age": (30 if name == DEADLETTERS else 7) * DAY_NS,
        "max_bytes": LARGEST_BYTES[name],
        "duplicate_window": 600 * SECOND_NS,
        "num_replicas": replicas,
        "deny_delete": name != DEADLETTERS,
        "deny_purge": name != DEADLETTERS,
    }


async def ensure_streams(nc: Client, *, replicas: int = 1) -> list[str]:
    """Make what is missing, change what differs; the names of both are returned.

    `nc` is connected as the operator. Raises EngineError when JetStream refuses or is away.
    """
    touched = []
    for name in LARGEST_BYTES:
        wanted = definition(name, replicas=replicas)
        found = await _ask(nc, f"STREAM.INFO.{name}", b"")
        if "error" not in found:
            config = found["config"]
            if all(config.get(key, False) == value for key, value in wanted.items()):
                continue
            verb = "UPDATE"
        elif found["error"].get("err_code") == NO_SUCH_STREAM:
            verb = "CREATE"
        else:
            raise _refusal(name, found["error"])
        done = await _ask(nc, f"STREAM.{verb}.{name}", json.dumps(wanted).encode())
        if "error" in done:
            raise _refusal(name, done["error"])
        touched.append(name)
    return touched


async def _ask(nc: Client, subject: str, payload: bytes) -> dict[str, Any]:
    try:
        answer = await nc.request(f"$JS.API.{subject}", payload, timeout=10)
    except nats.errors.NoRespondersError as error:
        raise EngineError(
            "NATS runs without JetStream, which Restock's events need: start it with --jetstream"
        ) from error
    except (OSError, nats.errors.Error) as error:
        raise EngineError(f"NATS did not answer {subject}: {error!r}") from error
    found: dict[str, Any] = json.loads(answer.data)
    return found


def _refusal(name: str, error: dict[str, Any]) -> EngineError:
    return EngineError(f"NATS refused the stream {name}: {error.get('description', error)}")


async def bring_streams(
    environ: Mapping[str, str], *, within_s: float | None = None
) -> list[str] | None:
    """Make and change the streams on the server that the settings name, as its operator.

    Returns what was touched; None when they name no server or no operator. Raises EngineError.
    """
    url, password = (environ.get(name) for name in ("RESTOCK_NATS_URL", OPERATOR_PASSWORD))
    if not url or not password:
        return None
    user = environ.get("RESTOCK_NATS_OPERATOR_USER") or OPERATOR
    client = await connect(url, Credential(user, password), within_s=within_s)
    try:
        return await ensure_streams(client, replicas=replicas_of(environ))
    finally:
        await client.close()


async def connect(url: str, credential: Credential, *, within_s: float | None = None) -> Client:
    """A connection for a task that ends soon: it does not wait for a server that is away.

    It gives up after `within_s` seconds, CONNECT_S unless given. Raises EngineError.
    """
    failures: list[Exception] = []

    async def on_error(error: Exception) -> None:
        failures.append(error)

    try:
        # the client tries a first connection again and again, whatever it is told
        async with asyncio.timeout(within_s or CONNECT_S):
            return await nats.connect(
                url,
                user=credential.user or None,
                password=credential.password or None,
                inbox_prefix=f"_INBOX_{credential.user}".encode(),
                allow_reconnect=False,
                connect_timeout=CONNECT_S,
                error_cb=on_error,
            )
    except (OSError, ValueError, TimeoutError, nats.errors.Error) as error:
        why = failures[-1] if failures else error
        raise EngineError(f"NATS does not let us in: {why!r}") from error
