"""Secrets stay where they belong: searched for in everything that a used system gives away."""

import asyncio
import base64
import json
import os
import resource
import stat
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp
import asyncpg
import pytest_asyncio
import socketio

from restock.engines.datadir import read_json
from restock.engines.local import environment_of
from restock.engines.names import OPERATOR
from restock.engines.nats import Credential
from restock.engines.postgres import PostgresEngine
from restock.engines.streams import LARGEST_BYTES, connect
from restock.gateway.settings import ADMIN_PORT, PROCESS_PORT, SERVICE_PORTS
from tests.cli.commands import RESTOCK, clean_environment, ran
from tests.conftest import DATABASES
from tests.fixtures.figures import Figures
from tests.fixtures.ports import free_offset
from tests.fixtures.whole_system import NO_LIMITS, WholeSystem, running
from tests.journeys.columns import columns_of, decided, pieces
from tests.journeys.ledger_proof import url_of

TYPED = "c4nary typed by ana"
WRONG = "c4nary typed by somebody"
ADMINS = "c4nary of an admin"
ANA = {"email": "ana@cafe.example", "name": "Ana", "password": TYPED}
LOGIN = {"email": ANA["email"], "password": TYPED}
MILK = {"name": "Milk", "quantity": 1, "minThreshold": 5, "unit": "l", "category": "Dairy"}
DAIRY = {
    "name": "Ben Dairy", "email": "ben@dairy.example", "phone": "+49 30 5550",
    "category": "Dairy", "address": "Hof 1", "city": "Berlin",
}  # fmt: skip
# What none of the services expects: PostgreSQL refuses a row, for a reason that isn't theirs.
CRASH = {
    "auth": """
        ALTER TABLE accounts ADD CONSTRAINT c CHECK (email NOT LIKE 'crash%') NOT VALID;
        ALTER TABLE sessions ADD CONSTRAINT c CHECK (user_agent <> 'crash') NOT VALID;
        """,
    "inventory": "ALTER TABLE items ADD CONSTRAINT c CHECK (name <> 'crash') NOT VALID",
    "notification": "ALTER TABLE notifications ADD CONSTRAINT c CHECK (NOT read) NOT VALID",
    "vendor": "ALTER TABLE contact_requests ADD CONSTRAINT c CHECK (message <> 'crash') NOT VALID",
}
PORTS = (*SERVICE_PORTS.values(), PROCESS_PORT)
OWN_FILES = {"secrets.json", "nats/nats.json"}  # the two that hold secrets beside PostgreSQL's


class Canaries:
    """The secrets of one system by what they are, and where else they were seen."""

    def __init__(self) -> None:
        self.seen: list[str] = []
        self.looked_at = 0
        self._secrets: dict[str, bytes] = {}

    def add(self, what: str, secret: str | bytes) -> None:
        raw = secret.encode() if isinstance(secret, str) else secret
        assert len(raw) > 10
        assert what not in self._secrets
        self._secrets[what] = raw
        self._secrets[f"{what} in hex"] = raw.hex().encode()
        self._secrets[f"{what} in base64"] = base64.b64encode(raw)[:-4]

    def held_by(self, content: bytes) -> set[str]:
        return {what for what, secret in self._secrets.items() if secret in content}

    def look(self, where: str, content: bytes | str) -> None:
        """Note what stands in `content`."""
        self.looked_at += 1
        raw = content.encode() if isinstance(content, str) else content
        for what in sorted(self.held_by(raw)):
            before = raw.partition(self._secrets[what])[0][-60:]
            self.seen.append(f"{what} in {where} after {before!r}")


class Things(NamedTuple):
    """What one account has made: its token, an unread notification, a vendor's path, a request."""

    token: str
    notification_id: str
    vendor: str
    wish: dict[str, Any]


class Caller:
    """Calls the system, and looks for canaries in each answer. `answered`: each path's status."""

    def __init__(self, session: aiohttp.ClientSession, url: str, canaries: Canaries) -> None:
        self.answered: dict[str, int] = {}
        self._session = session
        self._url = url
        self._canaries = canaries

    async def __call__(
        self, method: str, path: str, body: Any = None, *, token: str = "", **headers: str
    ) -> Any:
        if token:
            headers["Authorization"] = f"Bearer {token}"
        url = path if path.startswith("http") else self._url + path
        content = {"json": body} if not isinstance(body, bytes) else {"data": body}
        async with self._session.request(method, url, headers=headers, **content) as answer:
            self.answered[path] = answer.status
            text = await answer.read()
            said = None
            if "json" in answer.headers.get("Content-Type", ""):
                said = json.loads(text)
                if isinstance(said, dict) and answer.status < 300:
                    for name in ("token", "refreshToken"):  # what was asked for
                        if name in said:
                            number = self._canaries.looked_at
                            self._canaries.add(f"{name} {number} {path}", said[name])
                            text = text.replace(said[name].encode(), b"")
            self._canaries.look(f"{method} {path}", text + repr(answer.headers).encode())
            return said


@pytest_asyncio.fixture(loop_scope="session")
async def system(scratch: Path) -> AsyncIterator[WholeSystem]:
    noisy = {"RESTOCK_LOG_LEVEL": "debug"}
    started = WholeSystem(scratch / "secrets", free_offset(), NO_LIMITS | noisy)
    soft, hard = resource.getrlimit(resource.RLIMIT_CORE)
    resource.setrlimit(resource.RLIMIT_CORE, (hard, hard))
    try:
        async with running(started):
            yield started
    finally:
        resource.setrlimit(resource.RLIMIT_CORE, (soft, hard))


async def test_every_column_is_said_to_hold_secrets_or_not(postgres: PostgresEngine) -> None:
    found = []
    for service in DATABASES:
        name = f"t_columns_{service}"
        await postgres.create_database(name, service=service, template=f"restock_{service}")
        database = await asyncpg.connect(postgres.owner_url(service, database=name))
        found += await columns_of(service, database)
        await database.close()
        await postgres.drop_database(name)
    assert sorted(decided("secret") + decided("not_secret")) == sorted(found)


async def test_no_secret_is_given_away(system: WholeSystem, figures: Figures) -> None:
    canaries = Canaries()
    for what, secret in read_json(system.root / "secrets.json").items():
        canaries.add(what, secret)
    canaries.add("a hash", "$argon2id$v=19$")
    for typed in (TYPED, WRONG, ADMINS):
        canaries.add(typed, typed)
    async with aiohttp.ClientSession() as session:
        call = Caller(session, system.url, canaries)
        await sign_in(call, system)
        things = await use(call)
        await add_kept(canaries, system)
        await crash(call, system, things)
        await read_what_is_public(call, system)
    await run_commands(canaries, system)
    await read_streams(canaries, system)
    read_processes(canaries, system)
    read_files(canaries, system)
    assert await system.stop() == 0
    read_files(canaries, system)
    told = "".join([*system.out, *system.err])
    canaries.look("what up said", told)
    assert "\n".join(canaries.seen) == ""
    figures.add("places searched for secrets", canaries.looked_at)


async def sign_in(call: Caller, system: WholeSystem) -> None:
    """What clients do with passwords and tokens, and get wrong."""
    await call("POST", "/api/auth/register", ANA)
    signed = await call("POST", "/api/auth/login", LOGIN)
    token, refresh = signed["token"], signed["refreshToken"]
    for wrong in (
        LOGIN | {"password": WRONG},
        LOGIN | {"password": [WRONG]},
        LOGIN | {"secret": WRONG},
        LOGIN | {"email": WRONG},
        ANA | {"password": WRONG * 20},
        {"refreshToken": refresh[:-1] + "A"},
        {"refreshToken": [refresh]},
        TYPED,
        f'{{"password": "{TYPED}'.encode(),
    ):
        for path in ("login", "register", "refresh"):
            await call("POST", f"/api/auth/{path}", wrong)
    await call("POST", "/api/auth/refresh", {"refreshToken": refresh})
    for secret in (token, token + "x", refresh, TYPED):
        with suppress(socketio.exceptions.ConnectionError):
            async with socketio.AsyncSimpleClient() as client:
                await client.connect(system.url, auth={"token": secret}, wait_timeout=10)
    await call("POST", "/api/auth/logout", token=token)


async def use(call: Caller) -> Things:
    """What clients do with everything else, and get wrong; its answer is for `crash`."""
    token = (await call("POST", "/api/auth/login", LOGIN))["token"]
    item = await call("POST", "/api/inventory/items", MILK, token=token)
    vendor = await call("POST", "/api/vendors", DAIRY, token=token)
    stock, dairy = f"/api/inventory/items/{item['id']}", f"/api/vendors/{vendor['id']}"
    wish = {"itemId": item["id"], "quantity": 2, "message": "Please"}
    await call("POST", f"{dairy}/contact", wish, token=token)
    for path, body in (
        ("/api/inventory/items", MILK),
        (f"{stock}/movements", {"delta": 1, "reason": "delivery"}),
        ("/api/vendors", DAIRY),
        (f"{dairy}/contact", wish),
    ):
        for wrong in (body | {"secret": TYPED}, {name: [TYPED, token] for name in body}, TYPED):
            said = await call("POST", path, wrong, token=token)
            assert said["status"] == 422, path
        await call("POST", path, f'{{"password": "{TYPED} {token}'.encode(), token=token)
    for path in (
        *("/api/auth/verify", "/api/auth/sessions", "/nowhere"),
        *("/api/inventory/items", "/api/inventory/items/low-stock", stock, f"{stock}/logs"),
        *("/api/vendors", "/api/vendors/requests", dairy, f"{dairy}/requests"),
        *("/api/notifications", "/api/notifications/unread-count"),
    ):
        await call("GET", path, token=token + "x")
        await call("GET", path, Authorization=f"Basic {token}")
        await call("GET", f"{path}?token={token}&password={TYPED.split()[0]}", token=token)
        await call("GET", path, token=token)
        assert path == "/nowhere" or call.answered[path] == 200
    async with asyncio.timeout(30):  # of the item that is low, and of the request
        while len(told := await call("GET", "/api/notifications", token=token)) < 2:
            await asyncio.sleep(0.02)
    return Things(token, told[0]["id"], dairy, wish)


async def add_kept(canaries: Canaries, system: WholeSystem) -> None:
    """What the databases keep in the columns of secrets."""
    for column in decided("secret"):
        database = await asyncpg.connect(url_of(system.root, column.service))
        kept = await database.fetch(f"SELECT {column.name} FROM {column.table}")
        await database.close()
        found = [piece for (value,) in kept if value is not None for piece in pieces(value)]
        assert found, f"{column} held nothing"
        for number, piece in enumerate(found):
            canaries.add(f"{' '.join(column)} {number}", piece)


async def crash(call: Caller, system: WholeSystem, things: Things) -> None:
    """Errors that nobody expected, in each service, with their tracebacks in the logs."""
    for service, constraint in CRASH.items():
        database = await asyncpg.connect(url_of(system.root, service))
        await database.execute(constraint)
        await database.close()
    token = things.token
    read = f"/api/notifications/{things.notification_id}/read"
    for said in (
        await call("POST", "/api/auth/register", ANA | {"email": "crash@x.example"}),
        await call("POST", "/api/auth/login", LOGIN, **{"User-Agent": "crash"}),
        await call("POST", "/api/inventory/items", MILK | {"name": "crash"}, token=token),
        await call("PATCH", read, token=token),
        await call(
            "POST", f"{things.vendor}/contact", things.wish | {"message": "crash"}, token=token
        ),
    ):
        assert said["status"] == 500
    for service in CRASH:
        log = (system.root / "logs" / f"{service}.log").read_text()
        assert log.count("Traceback") >= (2 if service == "auth" else 1), service


async def read_what_is_public(call: Caller, system: WholeSystem) -> None:
    pages = ("/health", "/openapi.json", "/docs", "/events.html", "/.well-known/jwks.json")
    for path in pages:
        await call("GET", path)
    for port in (*PORTS, ADMIN_PORT):
        for path in ("metrics", "health", "stats", "config_dump", "clusters", "certs", "memory"):
            await call("GET", f"http://127.0.0.1:{port + system.offset}/{path}")
    readings = [f"http://127.0.0.1:{port + system.offset}/metrics" for port in PORTS]
    assert {call.answered[path] for path in (*pages, *readings)} == {200}


async def run_commands(canaries: Canaries, system: WholeSystem) -> None:
    """What the operator's commands print, done well and done wrong."""
    settings = {**environment_of(system.root, "auth"), **environment_of(system.root, OPERATOR)}
    bent = {
        name: value.replace("@/", "/c4nary@/") if name.endswith("_URL") else value
        for name, value in settings.items()
    }
    place = ("--data-dir", str(system.root))
    calls: list[tuple[tuple[str, ...], dict[str, str]]] = [
        (("check",), settings),
        (("status", *place), {}),
        (("deadletters", "list", *place), {}),
        (("deadletters", "list"), bent),
        (("migrate", *place), {}),
        (("migrate", "auth"), bent),
        (("run", "auth"), bent),
        (("gateway", "render"), settings),
    ]
    for done in await asyncio.gather(*(ran(*words, **environ) for words, environ in calls)):
        canaries.look("what a command said", done.out + done.err)
    process = await asyncio.create_subprocess_exec(
        *RESTOCK,
        *("account", "create-admin", "crash@y.example", "--password-stdin", *place),
        env=clean_environment(),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    said, _ = await process.communicate(f"{ADMINS}\n".encode())
    assert process.returncode == 1
    assert b"Traceback" not in said
    canaries.look("restock account", said)


async def read_streams(canaries: Canaries, system: WholeSystem) -> None:
    """Every message that NATS keeps."""
    found = environment_of(system.root, OPERATOR)
    credential = Credential(OPERATOR, found["RESTOCK_NATS_OPERATOR_PASSWORD"])
    client = await connect(found["RESTOCK_NATS_URL"], credential)
    jetstream = client.jetstream(timeout=10)
    subjects = set()
    for stream in LARGEST_BYTES:
        for seq in range(1, (await jetstream.stream_info(stream)).state.last_seq + 1):
            message = await jetstream.get_msg(stream, seq=seq)
            content = (message.data or b"") + repr(message.headers).encode()
            canaries.look(f"{stream} {message.subject}", content)
            subjects.add(message.subject)
    await client.close()
    assert subjects >= {
        "auth.user.registered",
        "auth.session.revoked",
        "inventory.item.fell_low",
        "vendor.request.opened",
    }


def read_processes(canaries: Canaries, system: WholeSystem) -> None:
    """Command lines, which everybody may read; the engines' environment; no core when they end."""
    for name, pid in system.pids().items():
        canaries.look(f"command line of {name}", Path(f"/proc/{pid}/cmdline").read_bytes())
        if name in ("envoy", "nats", "postgres", "forkserver", "gateway", "up"):
            canaries.look(f"environment of {name}", Path(f"/proc/{pid}/environ").read_bytes())
        limits = Path(f"/proc/{pid}/limits").read_text()
        (core,) = [line for line in limits.splitlines() if line.startswith("Max core file size")]
        assert core.split()[4] == "0", f"{name} may leave a core"


def files_of(root: Path) -> Iterator[tuple[str, Path, os.stat_result]]:
    for folder, _, names in os.walk(root, followlinks=True):
        for path in (Path(folder), *(Path(folder) / name for name in names)):
            with suppress(FileNotFoundError):  # a file of PostgreSQL's that was there a moment ago
                yield path.relative_to(root).as_posix(), path, path.lstat()


def read_files(canaries: Canaries, system: WholeSystem) -> None:
    """Nobody else may read any file; only two of ours hold secrets, and there they are found."""
    for own in OWN_FILES:
        assert canaries.held_by((system.root / own).read_bytes()), own
    open_to_others = []
    for name, path, found in files_of(system.root):
        mode = stat.S_IMODE(found.st_mode)
        if stat.S_ISLNK(found.st_mode):
            continue
        # the directory itself may be passed, and its configuration read, by PostgreSQL's account
        group = {".": 0o010, "postgres-config": 0o050}.get(name.split("/")[0], 0)
        if mode & 0o077 & ~group:
            open_to_others.append(f"{name}: {mode:o}")
        if (
            stat.S_ISREG(found.st_mode)
            and not name.startswith("postgres/")
            and name not in OWN_FILES
        ):
            with suppress(FileNotFoundError):
                canaries.look(name, path.read_bytes())
    assert open_to_others == []
