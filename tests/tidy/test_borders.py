"""The borders of pyproject.toml hold: each forbidden import, planted in a copy, is found."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINT = Path(sys.executable).with_name("lint-imports")

FORBIDDEN = {
    "a service imports another": ("inventory/operations.py", "restock.vendor.domain"),
    "a domain imports the database": ("inventory/domain.py", "restock.kernel.database"),
    "a domain imports a driver": ("vendor/domain.py", "asyncpg"),
    "the kernel imports a service": ("kernel/clock.py", "restock.auth.domain"),
    "the kernel imports an engine": ("kernel/clock.py", "restock.engines.ports"),
    "events import the kernel": ("events/auth.py", "restock.kernel.ids"),
    "the client imports the kernel": ("client/shapes.py", "restock.kernel.wire"),
    "the client imports a service": ("client/shapes.py", "restock.inventory.schemas"),
    "a store imports an operation": ("vendor/store.py", "restock.vendor.operations"),
}


def _lint(checkout: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT, "--no-cache", "--config", checkout / "pyproject.toml"],
        cwd=checkout,
        env=os.environ | {"PYTHONPATH": str(checkout / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    without_caches = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=without_caches)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def test_the_borders_are_kept(checkout: Path) -> None:
    result = _lint(checkout)
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("name", FORBIDDEN)
def test_a_forbidden_import_is_found(name: str, checkout: Path) -> None:
    path, module = FORBIDDEN[name]
    file = checkout / "src/restock" / path
    file.write_text(f"{file.read_text()}\nimport {module}  # planted\n")
    result = _lint(checkout)
    assert result.returncode != 0
    assert f"{module}" in result.stdout
    assert "BROKEN" in result.stdout
