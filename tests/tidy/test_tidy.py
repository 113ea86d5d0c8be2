"""Taste as tests: this project breaks no rule, and each rule finds what it is for."""

import inspect
from pathlib import Path

import pytest

from tests.tidy import shape, words
from tests.tidy.plants import PLANTS
from tests.tidy.tree import Tree

PROJECT = Tree(Path(__file__).parents[2])
RULES = {
    name: function
    for module in (shape, words)
    for name, function in inspect.getmembers(module, inspect.isfunction)
    if function.__module__ == module.__name__ and not name.startswith("_")
}


@pytest.mark.parametrize("name", RULES)
def test_the_project_keeps_the_rule(name: str) -> None:
    assert list(RULES[name](PROJECT)) == []


@pytest.mark.parametrize("name", RULES)
def test_the_rule_finds_a_planted_violation(name: str, tmp_path: Path) -> None:
    plant = PLANTS[name]
    sound = _write(tmp_path / "sound", plant.sound)
    broken = _write(tmp_path / "broken", plant.broken)
    assert list(RULES[name](sound)) == []
    found = list(RULES[name](broken))
    assert len(found) == 1
    assert found[0].startswith(plant.where)


def _write(root: Path, files: dict[str, str]) -> Tree:
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    return Tree(root)


def test_no_exception_is_left_over() -> None:
    """The lists of exceptions name what is there, so they can only shrink."""
    for path in shape.SQL_PLACES:
        assert shape.SQL.search((PROJECT.root / path).read_text()), path
    for path in shape.ENVIRONMENT_PLACES:
        assert "environ" in (PROJECT.root / path).read_text(), path
    for path in words.SKIPS:
        assert "pytest.skip(" in (PROJECT.root / path).read_text(), path
    for entry in shape.TENANT_FREE:
        service, table = entry.split(".")
        sql = (PROJECT.root / f"src/restock/{service}/tables.sql").read_text()
        assert f"CREATE TABLE {table} (" in sql, entry
