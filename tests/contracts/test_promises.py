"""docs/promises.md names a test for each promise: each is there, and runs when the page says so."""

import ast
import re
from dataclasses import dataclass
from functools import cache

import pytest

from tests.contracts.operations import ROOT

PAGE = ROOT / "docs/promises.md"
# `tests/area/test_file.py::test_name`, or `::test_name` for one more of the file named before it
NAMED = re.compile(r"`(tests/[\w/]+\.py)?::(\w+)`( \(long\))?")


@dataclass(frozen=True)
class Promise:
    """A sentence, and its tests as (file, name, whether only `make test-long` runs it)."""

    sentence: str
    tests: tuple[tuple[str, str, bool], ...]

    def __str__(self) -> str:
        return self.sentence[:60]


def _read(bullet: str) -> Promise:
    tests, file = [], ""
    for named in NAMED.finditer(bullet):
        file = named[1] or file
        tests.append((file, named[2], named[3] is not None))
    return Promise(" ".join(NAMED.split(bullet)[0].split()), tuple(tests))


def _promises() -> list[Promise]:
    _, *bullets = re.split(r"^- ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [_read(re.split(r"\n\n|\n#", bullet)[0]) for bullet in bullets]


@cache
def _tests_of(file: str) -> dict[str, bool]:
    """The test functions of a file, and whether only `make test-long` runs each."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    return {
        node.name: "pytest.mark.long" in map(ast.unparse, node.decorator_list)
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    }


PROMISES = _promises()


def test_each_promise_is_made_once() -> None:
    assert len({promise.sentence for promise in PROMISES}) == len(PROMISES) > 50


def test_every_name_is_read() -> None:
    """One that is written otherwise would stand there, and nobody would look for it."""
    written = PAGE.read_text(encoding="utf-8").count("::")
    assert written == sum(len(promise.tests) for promise in PROMISES)


@pytest.mark.parametrize("promise", PROMISES, ids=str)
def test_a_promise_has_a_test(promise: Promise) -> None:
    assert promise.tests, "no test is named"
    for file, name, long in promise.tests:
        assert name in _tests_of(file), f"{file} has no {name}"
        assert _tests_of(file)[name] == long, f"{name}: say (long) where it is, only there"
