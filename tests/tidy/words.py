"""Rules about words: what must not stand in any text of the project.

As in shape.py, every public function is a rule.
"""

import re
from collections.abc import Iterator

from tests.tidy.tree import Tree

STUBS = re.compile(
    r"\b(TODO|FIXME|XXX|HACK|NotImplementedError|[Nn]ot implemented|placeholder|for now)\b"
)
# Absolute paths that only one machine has.
MACHINE = re.compile(r"(?<![\w.$}~/-])/(work|root|Users|home/\w+|opt/\w+|tmp/\w+)/\w")
REGISTRIES = re.compile(
    r"pypi\.org|pythonhosted\.org|registry\.npmjs|npmjs\.org|\"resolved\"\s*:"
    r"|--(extra-)?index-url|--find-links|--trusted-host"
)
TRACKER = re.compile(r"\b[Ii]ssues? (no\. ?)?#?\d+|\bPR #?\d+")
EVASIONS = re.compile(
    r"pytest\.mark\.(skip|skipif|xfail)|pytest\.(skip|xfail|importorskip)\(|time\.sleep\("
)
# Where a test may be skipped all the same, for what this user or machine can't do; it says why.
SKIPS = {"tests/fixtures/own_network.py", "tests/fixtures/small_disk.py"}
DECISION = re.compile(r"\b[Dd]ecision (\d{4})\b")
ADDRESS = re.compile(r"https?:|file:/")


def _lines(tree: Tree, pattern: re.Pattern[str], *tops: str) -> Iterator[str]:
    """Where a pattern stands. These rules spell it out themselves, so tests/tidy is left out."""
    for path in tree.files:
        name = tree.name(path)
        if name.startswith("tests/tidy/") or (tops and name.split("/")[0] not in tops):
            continue
        for number, line in enumerate(path.read_text().splitlines(), 1):
            if found := pattern.search(line):
                yield f"{name}:{number}: {found[0]}"


def nothing_is_a_stub(tree: Tree) -> Iterator[str]:
    yield from _lines(tree, STUBS, "src", "bench", "docs", "Makefile", "README.md")


def no_path_of_one_machine(tree: Tree) -> Iterator[str]:
    yield from _lines(tree, MACHINE)


def no_address_of_a_registry(tree: Tree) -> Iterator[str]:
    yield from _lines(tree, REGISTRIES)
    for path in tree.files:
        if path.suffix == ".lock" and ADDRESS.search(path.read_text()):
            yield f"{tree.name(path)}: an address in a lock"


def no_number_of_a_tracker(tree: Tree) -> Iterator[str]:
    """A reader of the code has no tracker at hand: the reason is written where it is needed."""
    yield from _lines(tree, TRACKER, "src", "tests", "bench", "docs", "Makefile", "README.md")


def tests_evade_nothing(tree: Tree) -> Iterator[str]:
    """No test is skipped or expected to fail, and none sleeps where it can await."""
    for found in _lines(tree, EVASIONS, "tests"):
        if not (found.endswith("pytest.skip(") and found.split(":")[0] in SKIPS):
            yield found


def cited_decisions_exist(tree: Tree) -> Iterator[str]:
    there = {path.name[:4] for path in tree.files if path.parent.name == "decisions"}
    for path in tree.files:
        for number in DECISION.findall(path.read_text()):
            if number not in there and not tree.name(path).startswith("tests/tidy/"):
                yield f"{tree.name(path)}: decision {number} is not in docs/decisions"
