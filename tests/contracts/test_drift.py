"""What is committed under contracts/ is what the code says, and drift does not pass unseen."""

from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from restock.cli.contracts import contracts, documents

ROOT = Path(__file__).parents[2]
GENERATED = dict(documents())


@pytest.mark.parametrize("path", GENERATED)
def test_committed_is_generated(path: str) -> None:
    assert (ROOT / path).read_text() == GENERATED[path], "run `make contracts`"


def test_nothing_is_left_of_a_service_that_went() -> None:
    committed = {f"contracts/http/{path.name}" for path in (ROOT / "contracts/http").iterdir()}
    assert committed == {path for path in GENERATED if path.startswith("contracts/http/")}


def _run(root: Path, *arguments: str) -> Result:
    return CliRunner().invoke(contracts, [*arguments, "--root", str(root)])


def test_check_passes_on_what_was_just_written(tmp_path: Path) -> None:
    assert _run(tmp_path).exit_code == 0
    assert _run(tmp_path, "--check").exit_code == 0


def test_check_names_the_file_and_the_field_that_changed(tmp_path: Path) -> None:
    _run(tmp_path)
    file = tmp_path / "contracts/http/inventory.json"
    file.write_text(file.read_text().replace('"isLowStock"', '"lowStock"'))
    before = file.read_text()
    result = _run(tmp_path, "--check")
    assert result.exit_code == 1
    assert "contracts/http/inventory.json" in result.output
    assert "isLowStock" in result.output
    assert file.read_text() == before


def test_check_notices_a_missing_file(tmp_path: Path) -> None:
    _run(tmp_path)
    (tmp_path / "contracts/events.yaml").unlink()
    result = _run(tmp_path, "--check")
    assert result.exit_code == 1
    assert "contracts/events.yaml" in result.output
