"""Envoy as a long-lived part of the gateway process: started, restarted, drained, ended."""

import asyncio
import os
import resource
import signal
import stat
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from restock.engines.failures import PortTaken
from restock.engines.ports import require_free
from restock.engines.processes import Records
from restock.gateway import envoy, leash
from restock.gateway.admin import DRAIN
from restock.gateway.clusters import SOCKETS
from restock.gateway.edge import STATS
from restock.gateway.settings import Settings
from restock.kernel.supervisor import Child, Supervisor

NAME = "envoy"
QUIET_S = 0.3  # without a request, after which a connection that is still open is just idle
PATIENCE = 3  # exits before it was ever ready, after which it is given up
POLL_S = 0.02
WATCH_S = 1.0
_PATH_LIMIT = 100  # bytes; what a Unix socket may be called is 104 or 108

_ACTIVE = rf"^http\.{STATS}\.downstream_(cx|rq)_active$"
_STOPPED = r"^listener_manager\.listener_stopped$"
_HELD = rf"^cluster\.{SOCKETS}(-\d+)?\.upstream_rq_active$"


class EnvoyNotStarted(OSError):
    """Envoy can't be run with these settings. The message says why."""


class EnvoySupervision:
    """Keeps Envoy running on the rendered configuration. A Run."""

    def __init__(self, settings: Settings, log: Any) -> None:
        self._settings = settings
        self._log = log
        self._exits = 0
        self._was_ready = False
        self._given_up = asyncio.Event()
        self._supervisor: Supervisor | None = None

    @property
    def pid(self) -> int | None:
        """Envoy's process id while it runs."""
        return self._supervisor.pid(NAME) if self._supervisor is not None else None

    async def run(self, stop: asyncio.Event) -> None:
        """Run Envoy until `stop` is set; then let requests under way end, and end it.

        Raises EnvoyNotStarted when a port is taken or Envoy keeps ending at its start.
        """
        directory = private_directory(_directory(self._settings))
        records = Records(directory)
        await asyncio.to_thread(records.end_leftover, NAME)
        _require_free(self._settings.listen_host, self._settings.public_port)
        _require_free("127.0.0.1", self._settings.envoy_admin_port)
        _allow_many_files()
        pipe = admin_pipe(self._settings)
        private_directory(pipe.parent)
        file = directory / "configuration.json"
        file.touch(mode=0o600)
        file.write_text(envoy.as_json(envoy.configuration(self._settings, pipe)))
        self._supervisor = Supervisor([self._child(file)], self._log, records=records)
        await self._supervise(self._supervisor, stop)
        if self._given_up.is_set():
            raise EnvoyNotStarted(f"Envoy ended {PATIENCE} times before it was ready: see its log")

    async def _supervise(self, supervisor: Supervisor, stop: asyncio.Event) -> None:
        halt = asyncio.Event()
        supervising = asyncio.create_task(supervisor.run(halt))
        watching = asyncio.create_task(self._watch())
        waits = [asyncio.create_task(event.wait()) for event in (stop, self._given_up)]
        try:
            await asyncio.wait([*waits, supervising], return_when=asyncio.FIRST_COMPLETED)
            watching.cancel()  # from here on it is we who close the port
            if stop.is_set() and self.pid is not None:
                await drain(self._settings, self._log)
        finally:
            for task in (watching, *waits):
                task.cancel()
            halt.set()
            await supervising

    def _child(self, file: Path) -> Child:
        return Child(
            name=NAME,
            argv=[
                *(sys.executable, "-I", "-S", leash.__file__, str(os.getpid())),
                *envoy.command(self._settings, file),
            ],
            env={},
            stop_timeout_s=5.0,
            on_exited=self._count,
        )

    def _count(self, _returncode: int) -> None:
        self._exits += 1
        if not self._was_ready and self._exits >= PATIENCE:
            self._given_up.set()

    async def _watch(self) -> None:
        """Note when Envoy first serves; end one that no longer listens, so another is started."""
        while True:
            await asyncio.sleep(WATCH_S if self._was_ready else POLL_S)
            self._was_ready = self._was_ready or await is_ready(self._settings)
            pid = self.pid
            if pid is not None and await _has_stopped(self._settings) and pid == self.pid:
                self._log.warning("gateway.envoy_stopped_listening", pid=pid)
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGTERM)


async def is_ready(settings: Settings) -> bool:
    """Whether Envoy serves: it has its configuration, has asked for the keys, and listens."""
    try:
        async with _asking(settings) as session:
            async with session.get("/ready") as answer:
                live = answer.status == 200
            return live and (await _activity(session)).stopped == 0
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def _has_stopped(settings: Settings) -> bool:
    """Whether it says so; one that doesn't answer at all doesn't."""
    try:
        async with _asking(settings) as session:
            return (await _activity(session)).stopped > 0
    except (aiohttp.ClientError, TimeoutError, OSError):
        return False


async def drain(settings: Settings, log: Any) -> None:
    """Take no more connections and wait until the requests under way have ended.

    Returns after `drain_seconds` at the latest. Open sockets and waiting polls are not waited for:
    their clients come back by themselves.
    """
    clock = asyncio.get_running_loop().time
    began = quiet_since = clock()
    async with _asking(settings) as session:
        with suppress(aiohttp.ClientError, TimeoutError, OSError):
            await _post(session, f"{DRAIN}?graceful")
            while clock() - began < settings.drain_seconds:
                now = await _activity(session)
                if not now.closed or now.requests > 0:
                    quiet_since = clock()
                if now.closed and (now.connections == 0 or clock() - quiet_since > QUIET_S):
                    return
                await asyncio.sleep(POLL_S)
            log.warning("gateway.not_drained", waited_s=settings.drain_seconds)


@dataclass(frozen=True, slots=True)
class _Activity:
    """What clients have open: connections, requests other than those that only hold a socket.
    `stopped` are the listeners that take no further connection."""

    stopped: int
    connections: int
    requests: int

    @property
    def closed(self) -> bool:
        """Whether no listener takes one: the public one and that of the readings."""
        return self.stopped >= 2


async def _post(session: aiohttp.ClientSession, url: str) -> None:
    async with session.post(url) as answer:
        answer.raise_for_status()


async def _activity(session: aiohttp.ClientSession) -> _Activity:
    query = {"format": "json", "filter": f"{_ACTIVE}|{_HELD}|{_STOPPED}"}
    async with session.get("/stats", params=query) as answer:
        answer.raise_for_status()
        stats = msgspec.json.decode(await answer.read())["stats"]
    found = {stat["name"]: stat["value"] for stat in stats if "name" in stat}
    stopped = found.pop("listener_manager.listener_stopped", 0)
    connections = found.pop(f"http.{STATS}.downstream_cx_active", 0)
    requests = found.pop(f"http.{STATS}.downstream_rq_active", 0)
    return _Activity(stopped, connections, requests - sum(found.values()))


def _asking(settings: Settings) -> aiohttp.ClientSession:
    """A session with the admin of our Envoy."""
    return aiohttp.ClientSession(
        "http://envoy",
        connector=aiohttp.UnixConnector(str(admin_pipe(settings))),
        timeout=aiohttp.ClientTimeout(total=2),
    )


def admin_pipe(settings: Settings) -> Path:
    """Envoy's admin, a Unix socket: beside its configuration, unless that path is too long."""
    beside = _directory(settings).absolute() / "admin.sock"
    if len(os.fsencode(beside)) <= _PATH_LIMIT:
        return beside
    return _own_directory(settings) / "admin.sock"


def _directory(settings: Settings) -> Path:
    if settings.envoy_directory:
        return Path(settings.envoy_directory)
    return _own_directory(settings)


def _own_directory(settings: Settings) -> Path:
    name = f"restock-envoy-{os.geteuid()}-{settings.envoy_admin_port}"
    return Path(tempfile.gettempdir()) / name


def private_directory(path: Path) -> Path:
    """Make the directory, its owner's only. Raises EnvoyNotStarted if it is somebody else's."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid():
        raise EnvoyNotStarted(f"{path} is not a directory of this user")
    path.chmod(0o700)
    return path


def _require_free(host: str, port: int) -> None:
    """Envoy's own words about a taken port come late, and from a process that is gone."""
    try:
        require_free(host, port)
    except PortTaken as error:
        raise EnvoyNotStarted(str(error)) from error


def _allow_many_files() -> None:
    """Each client's connection is a file; the soft limit is often 1024."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
