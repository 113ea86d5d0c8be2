"""What a restore leaves clients with, what it and a backup refuse, and how they end."""

import asyncio
import io
import os
import shutil
import signal
import zipfile
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from click.testing import CliRunner
from psycopg.conninfo import conninfo_to_dict

from restock.cli import backup as backups
from restock.cli import restore as restores
from restock.cli.backup import write_backup
from restock.cli.restore import read_manifest
from restock.engines import dumps
from restock.engines.datadir import MARKER, UNFINISHED, DataDir
from restock.engines.failures import EngineError
from restock.engines.processes import alive
from tests.cli.commands import IN_BACKGROUND
from tests.cli.contents import Urls, asked
from tests.cli.restoring import begun, refusal, restored, settings_of

BEN = (
    "INSERT INTO accounts (workspace_id, email, name, role, password_hash) "
    "SELECT workspace_id, 'ben@example.com', 'Ben', 'user', '$argon2id$' FROM accounts"
)
BUSIEST = 50  # entries of a feed between two restores, which take longer than so many ms


async def test_no_number_of_a_feed_is_given_out_twice(make_urls, tmp_path: Path) -> None:
    """Not by another restore of one backup, nor to an account that had heard nothing in it."""
    urls: Urls = await make_urls(full=True)
    await asked(urls["auth"], BEN)
    file, heard = tmp_path / "b.restock", {}
    await asyncio.to_thread(write_backup, file, urls)
    for _ in range(3):
        urls = await make_urls(full=False)
        await restored(file, urls)
        heads = dict(await asked(urls["notification"], "SELECT user_id, head FROM feeds"))
        assert len(heads) == 2
        for account, head in heads.items():
            assert heard.get(account, 7) < head < 2**53
            heard[account] = head + BUSIEST


async def test_a_nats_of_another_past_in_the_directory_is_refused(
    empty: Urls, file: Path, tmp_path: Path
) -> None:
    (tmp_path / "nats" / "jetstream").mkdir(parents=True)
    said = await refusal(str(file), "--data-dir", str(tmp_path), **settings_of(empty))
    assert f"{tmp_path}/nats holds events of another past: move it away first" in said
    for service, url in empty.items():
        dumps.require_empty(service, url)


async def test_services_have_to_be_stopped_first(
    empty: Urls, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_work = await asyncpg.connect(empty["vendor"])
    monkeypatch.setattr(dumps, "SESSIONS_END_S", 0.2)
    said = await refusal(str(file), **settings_of(empty))
    assert "1 other sessions are open on the database of vendor: stop the services first" in said
    await at_work.close()
    dumps.require_empty("vendor", empty["vendor"])


async def test_cut_short_it_says_what_is_filled(
    make_urls, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = dumps.load

    def interrupted(service: str, url: str, source: Any) -> None:
        if service == "auth":
            raise KeyboardInterrupt
        load(service, url, source)

    monkeypatch.setattr(dumps, "load", interrupted)
    monkeypatch.setattr(restores, "end_when_told", lambda: None)  # we are no main thread
    urls, left = await make_urls(full=False), ("notification", "vendor", "inventory")
    said = await refusal(str(file), **settings_of(urls))
    assert f"these were filled and are to be emptied: {', '.join(left)}" in said
    monkeypatch.setattr(dumps, "load", load)
    for service in left:
        await asked(urls[service], "DROP OWNED BY CURRENT_USER")
    await restored(file, urls)  # the fourth holds nothing but the mark of the first try


@pytest.mark.parametrize("by", [(), IN_BACKGROUND], ids=["terminal", "background"])
async def test_told_to_end_it_leaves_nothing(
    file: Path, scratch: Path, by: tuple[str, ...]
) -> None:
    place = scratch / "ended-restore"
    process, left = await begun(file, place, by=by)
    process.send_signal(signal.SIGTERM)
    assert await process.wait() == 1
    assert not alive(left)
    assert not place.exists()


def test_what_is_removed_when(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The marks last, and nothing that is not of this directory."""
    elsewhere, theirs = tmp_path / "elsewhere", tmp_path / "theirs"
    monkeypatch.setattr(restores, "ELSEWHERE", elsewhere)
    gone, unlink = [], Path.unlink
    monkeypatch.setattr(Path, "unlink", lambda path: (gone.append(path.name), unlink(path)))
    directory = DataDir.claim(tmp_path / "data", unfinished=True)
    for place, stays in ((theirs, True), (elsewhere / directory.identity, False)):
        (place / "postgres").mkdir(parents=True)
        (directory.root / "postgres").symlink_to(place / "postgres")
        for name in (UNFINISHED, MARKER, "secrets.json"):
            (directory.root / name).touch()
        gone.clear()
        restores._empty(directory, keep=())
        assert gone[-2:] == [UNFINISHED, MARKER]
        assert os.listdir(directory.root) == []
        assert (place / "postgres").exists() == stays
    directory.release()


async def test_a_database_newer_than_the_program(
    make_urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may serve this program all the same: its backup is made, with a warning."""
    urls = await make_urls(full=True)
    await asked(urls["vendor"], "UPDATE alembic_version SET version_num = '9000'")
    monkeypatch.setattr(backups, "end_when_told", lambda: None)
    file, runner = tmp_path / "b.restock", CliRunner(env=settings_of(urls))
    done = await asyncio.to_thread(runner.invoke, backups.backup, [str(file)])
    assert done.exit_code == 0, done.output
    assert "warning: the database of vendor is at 9000, and this program knows 0" in done.stderr
    assert "only its owner may read it" in done.output
    with zipfile.ZipFile(file) as archive, pytest.raises(EngineError) as refused:
        read_manifest(archive)
    assert str(refused.value).startswith("its database of vendor is at 9000, and this program")
    assert str(refused.value).endswith("restore it with the newer program")


def refuse_links(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_a_disk_without_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backups.os, "link", refuse_links)
    file = tmp_path / "b.restock"
    with backups._under_its_name_once_whole(file) as out:
        out.write(b"first")
    with pytest.raises(FileExistsError), backups._under_its_name_once_whole(file) as out:
        out.write(b"second")
    assert file.read_bytes() == b"first"
    assert os.listdir(tmp_path) == [file.name]


async def test_a_disk_that_lets_others_read(
    full: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def given(fresh: str, file: Path) -> None:
        shutil.move(fresh, file)
        file.chmod(0o644)

    monkeypatch.setattr(backups, "_give_name", given)
    monkeypatch.setattr(backups, "end_when_told", lambda: None)
    runner = CliRunner(env=settings_of(full))
    done = await asyncio.to_thread(runner.invoke, backups.backup, [str(tmp_path / "b")])
    assert "OTHERS MAY READ IT" in done.output


async def test_files_and_secrets_of_a_url(
    full: Urls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = full["auth"]
    with pytest.raises(EngineError, match="use a key without a password"):
        await asyncio.to_thread(dumps.dump, "auth", f"{url}&sslpassword=c4nary", io.BytesIO())
    password = str(conninfo_to_dict(url)["password"])
    (tmp_path / "pass").write_text(f"*:*:*:*:{password}\n")
    (tmp_path / "pass").chmod(0o600)
    monkeypatch.chdir(tmp_path)
    named = url.replace(f":{password}@", "@") + "&passfile=pass"
    contents, _ = await asyncio.to_thread(dumps.dump, "auth", named, io.BytesIO())
    assert contents.rows["accounts"] == 1
