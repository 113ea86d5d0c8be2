"""For each rule the smallest tree that breaks it, and its sound neighbour that does not."""

from dataclasses import dataclass

DEPOT = "src/restock/depot"
CARD = '"""Depot. Files of its own: shelves.py."""\n\nSERVICE = 1\n'
QUERY = 'query = "SELECT name FROM items"\n'
READS = 'import os\n\nx = os.environ["X"]\n'


@dataclass(frozen=True)
class Plant:
    """Files as {path: text}. The one finding in `broken` begins with `where`."""

    where: str
    broken: dict[str, str]
    sound: dict[str, str]


def _one(path: str, broken: str, sound: str) -> Plant:
    return Plant(path, {path: broken}, {path: sound})


def _function(lines: int) -> str:
    return "def f() -> None:\n" + "    ...\n" * (lines - 1)


PLANTS = {
    "files_are_short": _one("src/restock/a.py", "x = 1\n" * 401, "x = 1\n" * 400),
    "functions_are_short": _one("src/restock/a.py", _function(61), _function(60)),
    "lines_are_short": _one("src/restock/a.sql", "-" * 101, "-" * 100),
    "packages_are_shallow": Plant(
        "src/restock/a/b/c/d.py", {"src/restock/a/b/c/d.py": ""}, {"src/restock/a/b/d.py": ""}
    ),
    "no_drawers": Plant(f"{DEPOT}/utils.py", {f"{DEPOT}/utils.py": ""}, {f"{DEPOT}/units.py": ""}),
    "sql_stands_in_stores": Plant(
        f"{DEPOT}/operations.py",
        {f"{DEPOT}/operations.py": QUERY},
        {
            f"{DEPOT}/operations.py": '"""SELECT name FROM items, in a docstring, is prose."""\n',
            f"{DEPOT}/store.py": QUERY,
        },
    ),
    "environment_is_read_once": Plant(
        f"{DEPOT}/operations.py",
        {f"{DEPOT}/operations.py": READS},
        {"src/restock/kernel/settings.py": READS, "src/restock/cli/up.py": READS},
    ),
    "only_the_cli_prints": Plant(
        f"{DEPOT}/operations.py",
        {f"{DEPOT}/operations.py": "print(1)\n"},
        {"src/restock/cli/up.py": "print(1)\n"},
    ),
    "services_have_the_same_files": Plant(
        f"{DEPOT}/ladders.py",
        {f"{DEPOT}/__init__.py": CARD, f"{DEPOT}/ladders.py": ""},
        {f"{DEPOT}/__init__.py": CARD, f"{DEPOT}/shelves.py": "", f"{DEPOT}/store.py": ""},
    ),
    "settings_say_what_they_are": _one(
        f"{DEPOT}/settings.py",
        "class Settings:\n    shelves: Annotated[int, Meta(ge=1)] = 3\n",
        'class Settings:\n    shelves: Annotated[int, Meta(description="How many.")] = 3\n',
    ),
    "tenants_lead_the_key": _one(
        f"{DEPOT}/tables.sql",
        "CREATE TABLE shelves (\n    id uuid PRIMARY KEY,\n    workspace_id uuid\n);\n",
        "CREATE TABLE shelves (\n    id uuid,\n    PRIMARY KEY (workspace_id, id)\n);\n",
    ),
    "nothing_is_a_stub": _one("src/restock/a.py", "# TODO: later\n", "# a todo list\n"),
    "no_path_of_one_machine": _one(
        "docs/running.md", "see /root/data/log\n", "see DATA/log and /health\n"
    ),
    "no_address_of_a_registry": _one(
        "tests/package-lock.json", '{"resolved": "x"}\n', '{"integrity": "x"}\n'
    ),
    "no_number_of_a_tracker": _one("src/restock/a.py", "# see issue #12\n", "# the issue is\n"),
    "tests_evade_nothing": Plant(
        "tests/test_a.py",
        {"tests/test_a.py": 'pytest.skip("no root")\n'},
        {
            "tests/test_a.py": "@pytest.mark.long\n",
            "tests/fixtures/small_disk.py": 'pytest.skip("no root")\n',
        },
    ),
    "cited_decisions_exist": Plant(
        "src/restock/a.py",
        {"src/restock/a.py": "# decision 0042\n"},
        {"src/restock/a.py": "# decision 0001\n", "docs/decisions/0001-a.md": "# A\n"},
    ),
}
