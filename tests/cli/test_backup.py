"""`restock backup` and `restock restore` on databases that are named by settings.

A whole system, backed up under load, is `tests/journeys/test_backup.py`.
"""

import asyncio
import io
import json
import os
import random
import resource
import shutil
import signal
import stat
import tomllib
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import asyncpg
import psutil
import pytest
from psycopg.conninfo import conninfo_to_dict

from restock.cli.backup import MANIFEST, ORDER
from restock.cli.restore import (
    UNREADABLE,
    read_manifest,
    require_same,
    require_whole,
)
from restock.engines import dumps
from restock.engines.datadir import UNFINISHED, DataDir
from restock.engines.failures import DataDirNotOurs, EngineError
from restock.engines.nats import NatsEngine
from restock.engines.processes import alive
from restock.engines.streams import connect
from restock.kernel.revision import migrations_of
from tests.cli.commands import IN_BACKGROUND, RESTOCK, clean_environment, ran
from tests.cli.contents import Urls, asked, everything
from tests.cli.restoring import begun, refusal, restored, settings_of
from tests.fixtures.figures import Figures

TOPOLOGY = Path(__file__).parents[2] / "contracts" / "topology.toml"


def test_who_hears_or_asks_is_dumped_before_whom_it_comes_from() -> None:
    """So what one dump knows of, the later ones hold; the rest is in an outbox."""
    services = tomllib.loads(TOPOLOGY.read_text())["services"]
    assert set(ORDER) == {name for name, card in services.items() if "database" in card}
    for place, service in enumerate(ORDER):
        card = services[service]
        heard = {subject.partition(".")[0] for subject in card["consumes"]}
        assert (heard | set(card["calls"])) - {service} <= set(ORDER[place + 1 :]), service


async def test_what_is_restored_is_equal(make_urls, full: Urls, file: Path) -> None:
    assert stat.S_IMODE(os.stat(file).st_mode) == 0o600
    assert os.listdir(file.parent) == [file.name]
    urls = await make_urls(full=False)
    await restored(file, urls)
    before = await everything(full)
    assert [what for what, rows in before.items() if not rows] == [], "all of it is compared"
    assert await everything(urls) == before
    # a week of events is published again, and not forgotten by those who have handled them
    waiting = await asked(urls["inventory"], "SELECT published_at FROM outbox ORDER BY id")
    assert [row["published_at"] is None for row in waiting] == [True, False, True]
    (known,) = await asked(urls["notification"], "SELECT now() - seen_at AS age FROM inbox")
    assert known["age"].total_seconds() < 600


async def test_an_older_one_is_brought_up_to_date(
    make_urls, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newer = tmp_path / "vendor"
    shutil.copytree(migrations_of("vendor"), newer)
    (newer / "9000_later.sql").write_text("ALTER TABLE vendors ADD COLUMN later text;")
    monkeypatch.setattr(
        "restock.kernel.migrate.migrations_of",
        lambda service: newer if service == "vendor" else migrations_of(service),
    )
    urls = await make_urls(full=False)
    await restored(file, urls)
    assert await asked(urls["vendor"], "SELECT later FROM vendors")


async def test_a_nats_that_has_held_events_is_refused(
    empty: Urls, file: Path, nats: NatsEngine
) -> None:
    client = await connect(nats.url, nats.credential("auth"))
    await client.jetstream().publish("auth.user.registered", b"{}")
    await client.close()
    said = await refusal(str(file), **settings_of(empty), **nats.operator_env())
    assert "the stream AUTH of RESTOCK_NATS_URL has held events. For a trial, unset" in said
    unknown = {name: to for name, to in nats.operator_env().items() if "PASSWORD" not in name}
    said = await refusal(str(file), **settings_of(empty), **unknown)
    assert "RESTOCK_NATS_OPERATOR_PASSWORD is not set" in said
    for service, url in empty.items():
        dumps.require_empty(service, url)


def test_a_damaged_file_is_refused(file: Path, figures: Figures) -> None:
    """Cut anywhere, or with any one bit changed: found out, or without any effect."""
    whole, chance = file.read_bytes(), random.Random(4)
    sound = reads(whole)
    assert sound is not None
    for _ in range(150):
        place = chance.randrange(len(whole))
        flipped = bytearray(whole)
        flipped[place] ^= 1 << chance.randrange(8)
        assert reads(whole[:place]) is None, place
        assert reads(bytes(flipped)) in (None, sound), place
        figures.add("damaged backups looked at", 2)
    with zipfile.ZipFile(file) as archive:
        directory = archive.start_dir
    for place in range(directory * 8, len(whole) * 8):
        flipped = bytearray(whole)
        flipped[place // 8] ^= 1 << place % 8
        assert reads(bytes(flipped)) in (None, sound), place
        figures.add("damaged backups looked at")


def reads(content: bytes) -> dict[str, bytes] | None:
    """What a restore would work on; None where it refuses."""
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            manifest = read_manifest(archive)
            for part in manifest.databases:
                require_same(archive, part)
            names = [*(part.file for part in manifest.databases), MANIFEST]
            return {name: archive.read(name) for name in names}
    except (*UNREADABLE, EngineError):
        return None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda m: m.update(format=2), "made by a newer Restock (format 2)"),
        (lambda m: m["databases"][0].update(revision="9000"), "restore it with the newer program"),
        (lambda m: m["databases"][1].update(sha256="0" * 64), "vendor.dump is not as it was"),
        (lambda m: m["databases"].pop(), "names other databases"),
    ],
    ids=["format", "revision", "checksum", "databases"],
)
async def test_a_file_that_does_not_fit_changes_nothing(
    empty: Urls, file: Path, tmp_path: Path, change: Callable[[Any], None], said: str
) -> None:
    other = tmp_path / "other.restock"
    with zipfile.ZipFile(file) as archive, zipfile.ZipFile(other, "w") as written:
        for name in archive.namelist():
            content = archive.read(name)
            if name == MANIFEST:
                manifest = json.loads(content)
                change(manifest)
                content = json.dumps(manifest).encode()
            written.writestr(name, content)
    assert said in await refusal(str(other), **settings_of(empty))
    for service, url in empty.items():
        dumps.require_empty(service, url)
    into = tmp_path / "data"
    assert said in await refusal(str(other), "--data-dir", str(into))
    assert os.listdir(tmp_path) == [other.name]


async def test_only_into_what_is_empty(full: Urls, file: Path, tmp_path: Path) -> None:
    before = await everything(full)
    said = await refusal(str(file), **settings_of(full))
    assert "the database of notification is not empty" in said
    assert await everything(full) == before
    (tmp_path / "letter.txt").write_text("dear")
    assert "is not empty" in await refusal(str(file), "--data-dir", str(tmp_path))
    assert os.listdir(tmp_path) == ["letter.txt"]


async def test_no_file_without_its_end(full: Urls, tmp_path: Path) -> None:
    """Killed, told to stop, or out of room: nothing stands under the name."""
    urls, file = full, tmp_path / "b.restock"
    for sign, by in ((signal.SIGKILL, ()), (signal.SIGTERM, ()), (signal.SIGTERM, IN_BACKGROUND)):
        holding = await asyncpg.connect(urls["auth"])  # the last of the four
        await holding.execute("BEGIN; LOCK TABLE accounts")
        process = await started_backup(file, urls, by=by)
        while not await asked(urls["auth"], "SELECT FROM pg_locks WHERE NOT granted"):
            await asyncio.sleep(0.01)
        (fresh,) = os.listdir(tmp_path)
        assert stat.S_IMODE(os.stat(tmp_path / fresh).st_mode) == 0o600
        process.send_signal(sign)
        await process.wait()
        await holding.close()
        assert not file.exists()
        if sign == signal.SIGKILL:
            os.unlink(tmp_path / fresh)  # named as what it is; nobody was left to remove it
    assert os.listdir(tmp_path) == []
    process = await started_backup(file, urls)
    resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (20_000, 20_000))
    _, said = await process.communicate()
    assert process.returncode == 1
    assert f"{file} was not written: " in said.decode()
    assert "Traceback" not in said.decode()
    assert os.listdir(tmp_path) == []


async def started_backup(
    file: Path, urls: Urls, *, by: tuple[str, ...] = ()
) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *by,
        *RESTOCK,
        "backup",
        str(file),
        env=clean_environment(**settings_of(urls)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )


async def test_two_at_once(full: Urls, tmp_path: Path) -> None:
    names = ("b", "b", "c")
    both = [await started_backup(tmp_path / name, full) for name in names]
    said = [(await process.communicate())[1].decode() for process in both]
    codes = [process.returncode for process in both]
    assert sorted(codes) == [0, 0, 1]
    assert codes[2] == 0
    assert "was not written: " in "".join(said)
    assert set(os.listdir(tmp_path)) == {"b", "c"}
    for name in ("b", "c"):
        with zipfile.ZipFile(tmp_path / name) as archive:
            require_whole(archive, read_manifest(archive))


class Looking(io.BytesIO):
    """Looks at the command lines of our child processes at each write."""

    seen = ""

    def write(self, chunk: Any) -> int:
        for child in psutil.Process().children():
            with suppress(psutil.ZombieProcess):
                self.seen += repr(child.cmdline())
        return super().write(chunk)


async def test_no_password_on_a_command_line(make_urls) -> None:
    url = (await make_urls(full=True))["auth"]
    # more than a pipe holds, so that the program still runs when we look
    filler = "SELECT n, sha512(n::text::bytea) FROM generate_series(1, 40000) n"
    await asked(url, f"INSERT INTO secrets (name, value) {filler}")
    into = Looking()
    await asyncio.to_thread(dumps.dump, "auth", url, into)
    assert "pg_dump" in into.seen
    assert conninfo_to_dict(url)["password"] not in into.seen


async def test_a_restore_that_was_killed_is_done_again(file: Path, scratch: Path) -> None:
    place = scratch / "killed-restore"
    process, left = await begun(file, place)
    process.kill()
    await process.wait()
    with pytest.raises(DataDirNotOurs, match="run `restock restore` once more"):
        DataDir.claim(place)  # as `restock up` does at first
    again = await ran("restore", str(file), "--data-dir", str(place))
    assert again.code == 0, again.err
    assert not alive(left)
    assert UNFINISHED not in os.listdir(place)
    assert "is not empty" in await refusal(str(file), "--data-dir", str(place))
