"""Envoy as a child: it is started again, ended when left over, and drained before its end."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import psutil
import pytest
import structlog
from aiohttp import web

from restock.engines.processes import Records
from restock.gateway import envoy, leash
from restock.gateway.settings import Settings
from restock.gateway.supervision import (
    EnvoyNotStarted,
    EnvoySupervision,
    admin_pipe,
    is_ready,
    private_directory,
)
from tests.fixtures.ports import free_port
from tests.gateway.stubs import HOST, Signer, Stub, settled, stub_settings

LOG = structlog.get_logger()


@dataclass
class Supervised:
    """A gateway's Envoy run in the test's own process, before stub services."""

    supervision: EnvoySupervision
    settings: Settings
    services: dict[str, Stub]
    session: aiohttp.ClientSession
    stop: asyncio.Event
    task: "asyncio.Task[None]"

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self.settings.public_port}"

    async def ready(self) -> None:
        async def answers() -> bool:
            if self.task.done():
                self.task.result()
            return await status(self.session, f"{self.url}/health") == 200

        await settled(answers)

    async def end(self) -> None:
        self.stop.set()
        await self.task


async def status(session: aiohttp.ClientSession, url: str) -> int:
    """The status of a GET; 0 when nobody answers."""
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=1)) as answer:
            return answer.status
    except (aiohttp.ClientError, TimeoutError):
        return 0


@asynccontextmanager
async def supervised(directory: Path, **changed: Any) -> AsyncIterator[Supervised]:
    services = {name: Stub(name) for name in ("auth", "inventory", "vendor", "notification")}
    services["auth"].jwks = Signer().jwks
    services |= {"gateway": Stub("gateway"), "worker": Stub("worker")}
    settings = stub_settings(
        {name: stub for name, stub in services.items() if name != "worker"},
        [services["worker"]],
        envoy_directory=str(directory / "envoy"),
        access_log=False,
        **changed,
    )
    for stub in services.values():
        await stub.start()
    supervision = EnvoySupervision(settings, LOG)
    stop = asyncio.Event()
    async with aiohttp.ClientSession() as session:
        task = asyncio.create_task(supervision.run(stop))
        it = Supervised(supervision, settings, services, session, stop, task)
        try:
            await it.ready()
            yield it
        finally:
            stop.set()
            await asyncio.gather(task, return_exceptions=True)
            for stub in services.values():
                await stub.stop()


async def test_killed_it_is_started_again(tmp_path: Path) -> None:
    async with supervised(tmp_path) as it:
        first = it.supervision.pid
        assert first is not None
        os.kill(first, signal.SIGKILL)
        await settled(lambda: _is_another(it, first))
        await it.ready()


async def _is_another(it: Supervised, first: int) -> bool:
    return it.supervision.pid not in (None, first)


async def test_the_port_of_the_readings_changes_nothing(tmp_path: Path) -> None:
    async with supervised(tmp_path) as it:
        admin = f"http://{HOST}:{it.settings.envoy_admin_port}"
        for path in ("/ready", "/stats?format=json", "/stats/prometheus", "/clusters"):
            assert await status(it.session, admin + path) == 200
        for path in ("/drain_listeners", "/quitquitquit", "/config_dump", "/stats/recentlookups"):
            assert await status(it.session, admin + path) == 404
        for path in ("/drain_listeners", "/drain_listeners?graceful", "/ready", "/stats"):
            async with it.session.post(admin + path) as answer:
                assert answer.status == 404
        assert await status(it.session, f"{it.url}/health") == 200
        assert await is_ready(it.settings)


async def test_the_admin_is_its_owners_only(tmp_path: Path) -> None:
    async with supervised(tmp_path) as it:
        pipe = admin_pipe(it.settings)
        assert pipe.is_socket()
        assert pipe.stat().st_mode & 0o777 == 0o600
        assert pipe.parent.stat().st_mode & 0o777 == 0o700


async def test_a_long_path_has_its_admin_elsewhere(tmp_path: Path) -> None:
    """A Unix socket's path is short; the directory is the operator's choice."""
    async with supervised(tmp_path / ("d" * 120)) as it:
        assert await is_ready(it.settings)


async def test_one_that_no_longer_listens_is_away_and_replaced(tmp_path: Path) -> None:
    async with supervised(tmp_path) as it:
        first = it.supervision.pid
        assert first is not None
        assert not await _ready_once_drained(it)
        await settled(lambda: _is_another(it, first))
        await it.ready()
        assert await is_ready(it.settings)


async def _ready_once_drained(it: Supervised) -> bool:
    """Close its ports behind the supervision's back; whether it is ready then."""
    connector = aiohttp.UnixConnector(str(admin_pipe(it.settings)))
    async with (
        aiohttp.ClientSession("http://envoy", connector=connector) as session,
        session.post("/drain_listeners") as answer,
    ):
        assert answer.status == 200
    return await is_ready(it.settings)


async def test_stopped_it_is_gone_and_leaves_no_record(tmp_path: Path) -> None:
    async with supervised(tmp_path) as it:
        pid = it.supervision.pid
        assert (tmp_path / "envoy" / "envoy.json").exists()
        await it.end()
        assert pid is not None
        assert not psutil.pid_exists(pid)
        assert not (tmp_path / "envoy" / "envoy.json").exists()


async def test_a_request_under_way_ends_well(tmp_path: Path) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def held(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return web.Response(text="done")

    async with supervised(tmp_path) as it:
        it.services["auth"].behave = held
        login = asyncio.create_task(_login(it))
        await reached.wait()
        it.stop.set()

        async def closed() -> bool:  # no new connection is taken any more
            async with aiohttp.ClientSession() as another:
                return await status(another, f"{it.url}/docs") == 0

        await settled(closed)
        assert not it.task.done()
        release.set()
        assert await login == "done"
        await it.task


async def test_while_draining_each_answer_closes_its_connection(tmp_path: Path) -> None:
    reached, release = asyncio.Event(), asyncio.Event()

    async def held(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await release.wait()
        return web.Response(text="done")

    async with supervised(tmp_path) as it:
        it.services["auth"].behave = held
        login = asyncio.create_task(_login(it))
        await reached.wait()
        it.stop.set()

        async def says_so() -> bool:
            async with it.session.get(f"{it.url}/docs") as answer:
                return answer.headers.get("connection") == "close"

        await settled(says_so)
        release.set()
        await login


async def _login(it: Supervised) -> str:
    async with it.session.post(f"{it.url}/api/auth/login") as answer:
        return await answer.text()


async def test_an_open_socket_does_not_hold_up_the_end(tmp_path: Path) -> None:
    async def echo(request: web.Request) -> web.StreamResponse:
        opened = web.WebSocketResponse()
        await opened.prepare(request)
        async for _ in opened:
            pass
        return opened

    async with supervised(tmp_path, drain_seconds=600) as it:
        it.services["worker"].behave = echo
        async with it.session.ws_connect(f"{it.url}/socket.io/?transport=websocket") as opened:
            it.stop.set()
            await asyncio.wait_for(it.task, 30)
            assert (await opened.receive()).type is not aiohttp.WSMsgType.TEXT


async def test_the_end_is_bounded(tmp_path: Path) -> None:
    reached = asyncio.Event()

    async def never(_request: web.Request) -> web.StreamResponse:
        reached.set()
        await asyncio.Event().wait()
        return web.Response()

    async with supervised(tmp_path, drain_seconds=1) as it:
        it.services["auth"].behave = never
        login = asyncio.create_task(_login(it))
        await reached.wait()
        it.stop.set()
        await asyncio.wait_for(it.task, 30)
        with pytest.raises(aiohttp.ClientError):
            await login


@pytest.mark.parametrize("which", ["listen_port", "admin_port"])
async def test_a_taken_port_is_named(tmp_path: Path, which: str) -> None:
    with socket.socket() as other:
        port = free_port()
        other.bind((HOST, port))
        other.listen()
        with pytest.raises(EnvoyNotStarted, match=str(port)):
            async with supervised(tmp_path, **{which: port}):
                pass


async def test_an_envoy_that_cannot_start_is_given_up(tmp_path: Path) -> None:
    with pytest.raises(EnvoyNotStarted, match="3 times"):
        async with supervised(tmp_path, jwks_url="https://x.test/", keys_authorities="/nowhere"):
            pass


async def test_a_leftover_gives_the_port_back(tmp_path: Path) -> None:
    """As after a `kill -9` of the gateway process: Envoy runs, only the record knows of it."""
    directory = private_directory(tmp_path / "envoy")
    port = free_port()
    settings = Settings(listen_port=port, admin_port=free_port(), port=free_port())
    file = tmp_path / "left.json"
    file.write_text(envoy.as_json(envoy.configuration(settings)))
    left = await asyncio.create_subprocess_exec(
        *envoy.command(settings, file), stderr=asyncio.subprocess.DEVNULL
    )
    Records(directory).note("envoy", left.pid)
    async with aiohttp.ClientSession() as session:

        async def holds_the_port() -> bool:
            return await status(session, f"http://{HOST}:{port}/nothing") == 404

        await settled(holds_the_port)
    try:
        async with supervised(tmp_path, listen_port=port):
            await asyncio.wait_for(left.wait(), 10)
    finally:
        if left.returncode is None:
            left.kill()
            await left.wait()


async def test_envoy_ends_with_a_gateway_that_is_killed(tmp_path: Path) -> None:
    """The kernel ends it: a parent is started that starts a child on the leash, then killed."""
    waits = "import signal; signal.pause()"
    program = (
        "import os, subprocess, sys\n"
        f"leash = [sys.executable, '-I', '-S', {leash.__file__!r}, str(os.getpid())]\n"
        f"waits = [sys.executable, '-c', {waits!r}]\n"
        "child = subprocess.Popen(leash + waits, stdout=subprocess.DEVNULL)\n"
        "print(child.pid, flush=True)\n"
        "child.wait()\n"
    )
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", program, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    child = psutil.Process(int(await parent.stdout.readline()))

    async def is_the_program() -> bool:
        return child.cmdline()[1:] == ["-c", waits]

    async def is_gone() -> bool:
        return not child.is_running() or child.status() == psutil.STATUS_ZOMBIE

    await settled(is_the_program)
    parent.kill()
    await parent.wait()
    try:
        await settled(is_gone)
    finally:
        if not await is_gone():
            child.kill()


async def test_the_directory_is_its_owners_only(tmp_path: Path) -> None:
    directory = private_directory(tmp_path / "a" / "b")
    assert directory.stat().st_mode & 0o777 == 0o700
    (tmp_path / "link").symlink_to(directory)
    with pytest.raises(EnvoyNotStarted):
        private_directory(tmp_path / "link")


async def test_stopped_under_load_what_was_taken_is_answered(tmp_path: Path) -> None:
    """No request that reached a service loses its answer. What still waited to be accepted when
    the port was closed never reached one, and is safe to send again."""

    async def works(_request: web.Request) -> web.StreamResponse:
        await asyncio.sleep(0.03)
        return web.Response(text="done")

    answered = 0

    async def client(it: Supervised) -> None:
        nonlocal answered
        async with aiohttp.ClientSession() as session:
            with suppress(aiohttp.ClientError):
                while True:
                    async with session.post(f"{it.url}/api/auth/refresh") as answer:
                        assert await answer.text() == "done"
                        answered += 1

    async with supervised(tmp_path) as it:
        it.services["auth"].behave = works
        clients = [asyncio.create_task(client(it)) for _ in range(20)]

        async def busy() -> bool:
            return answered > 100

        await settled(busy)
        await it.end()
        await asyncio.gather(*clients)
        assert len(it.services["auth"].seen) == answered
