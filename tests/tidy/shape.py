"""Rules about the shape of the code and of the tables.

Every public function here is a rule: it takes a Tree and yields what breaks it, as text.
"""

import ast
import re
from collections.abc import Iterator

from tests.tidy.tree import Tree

FILE_LINES = 400
FUNCTION_LINES = 60
LINE_LENGTH = 100
PACKAGE_DEPTH = 3
DRAWERS = {"utils", "util", "helpers", "helper", "common", "base", "manager", "misc"}

HOUSE_FILES = {
    "__init__.py", "routes.py", "consumers.py", "schemas.py", "operations.py", "store.py",
    "domain.py", "faults.py", "settings.py", "tables.sql",
    # grown over 400 lines, a file becomes a package of the same name, split by noun
    "operations", "store", "routes", "schemas", "migrations",
}  # fmt: skip

# Where SQL may stand besides `store.py`, `store/`, `migrations/` and `*.sql`, and why.
SQL_PLACES = {
    "src/restock/kernel/database.py": "transactions, the version check and the ping",
    "src/restock/kernel/tenants.py": "tells PostgreSQL for whom a statement runs",
    "src/restock/kernel/outbox.py": "the outbox's own table, the same in every service",
    "src/restock/kernel/inbox.py": "the inbox's own table, the same in every service",
    "src/restock/kernel/idempotency.py": "the kept answers' own table, the same in every service",
    "src/restock/kernel/migrate.py": "the history of migrations",
    "src/restock/kernel/revision.py": "the step at which a database is",
    "src/restock/engines/dumps.py": "counts any service's rows, and has a restored one go on",
    "src/restock/engines/postgres.py": "makes roles and databases before any service runs",
}
SQL = re.compile(
    r"\b(SELECT\s+[\w*(\"']|INSERT\s+INTO|UPDATE\s+\w+\s+SET|DELETE\s+FROM"
    r"|(CREATE|ALTER|DROP|TRUNCATE)\s+(TABLE|INDEX|ROLE|DATABASE)|WITH\s+\w+\s+AS\s+\()"
)

# Who may read the environment.
ENVIRONMENT_PLACES = {"src/restock/kernel/settings.py"}

# Tables whose primary key is not led by the tenant, and why: the table's own file says so too.
TENANT_COLUMNS = {"workspace_id", "user_id"}
TENANT_FREE = {
    "auth.workspaces": "is the list of tenants itself",
    "auth.accounts": "an account is a person, who may come to belong to several workspaces",
    "auth.sessions": "found by the id in a token, before any workspace is known",
    "auth.signing_keys": "belong to the whole system",
    "auth.secrets": "belong to the whole system",
    "auth.sign_in_failures": "counted before anybody is known",
    "auth.known_places": "looked up before anybody is known",
    "vendor.vendors": "a directory, read by every workspace",
    "vendor.contact_requests": "led by the vendor's workspace, indexed by the buyer's",
    "vendor.request_steps": "follow their request",
}
TENANT_FREE |= {
    f"{service}.{table}": "the service's own post, read across workspaces"
    for service in ("auth", "inventory", "vendor", "notification")
    for table in ("outbox", "inbox")
}


def files_are_short(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src", "tests", "bench"):
        lines = len(path.read_text().splitlines())
        if lines > FILE_LINES:
            yield f"{name}: {lines} lines, at most {FILE_LINES}"


def functions_are_short(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src", "tests", "bench"):
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = (node.end_lineno or node.lineno) - node.lineno + 1
                if lines > FUNCTION_LINES:
                    yield f"{name}:{node.lineno}: {node.name} has {lines}, at most {FUNCTION_LINES}"


def lines_are_short(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        if path.suffix in {".py", ".sql"} or path.name == "pyproject.toml":
            for number, line in enumerate(path.read_text().splitlines(), 1):
                if len(line) > LINE_LENGTH:
                    yield f"{tree.name(path)}:{number}: {len(line)} characters"


def packages_are_shallow(tree: Tree) -> Iterator[str]:
    for name, _ in tree.python("src"):
        depth = len(name.split("/")) - 2
        if depth > PACKAGE_DEPTH:
            yield f"{name}: {depth} packages deep, at most {PACKAGE_DEPTH}"


def no_drawers(tree: Tree) -> Iterator[str]:
    for name, _ in tree.python("src", "tests", "bench"):
        if DRAWERS & set(name.removesuffix(".py").split("/")):
            yield f"{name}: a module is named for what it holds"


def sql_stands_in_stores(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src"):
        parts = name.removesuffix(".py").split("/")
        if name in SQL_PLACES or {"store", "migrations"} & set(parts):
            continue
        for line in _sql_lines(tree.parse(path)):
            yield f"{name}:{line}: SQL outside a store"


def environment_is_read_once(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src"):
        if name in ENVIRONMENT_PLACES or name.startswith("src/restock/cli/"):
            continue
        for node in ast.walk(tree.parse(path)):
            reads = isinstance(node, ast.Attribute) and node.attr in {"environ", "getenv"}
            takes = isinstance(node, ast.ImportFrom) and node.module == "os"
            if reads or (
                takes and any(alias.name in {"environ", "getenv"} for alias in node.names)
            ):
                yield f"{name}:{node.lineno}: settings come from kernel/settings.py"


def only_the_cli_prints(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src"):
        if name.startswith("src/restock/cli/"):
            continue
        for node in ast.walk(tree.parse(path)):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "print":
                yield f"{name}:{node.lineno}: print"


def services_have_the_same_files(tree: Tree) -> Iterator[str]:
    """An extra file is a noun of that service and stands in its card."""
    for package in tree.services():
        card = ast.get_docstring(tree.parse(package / "__init__.py")) or ""
        for entry in sorted(package.iterdir()):
            if entry.name in HOUSE_FILES or entry.name.startswith("__pycache__"):
                continue
            shown = entry.name + "/" if entry.is_dir() else entry.name
            if shown not in card:
                yield f"{tree.name(package)}/{shown}: not in the house's list, nor in the card"


def settings_say_what_they_are(tree: Tree) -> Iterator[str]:
    for name, path in tree.python("src"):
        if not name.endswith("/settings.py"):
            continue
        for node in tree.parse(path).body:
            if not isinstance(node, ast.ClassDef) or not node.name.endswith("Settings"):
                continue
            for entry in node.body:
                if not isinstance(entry, ast.AnnAssign) or "ClassVar" in ast.dump(entry.annotation):
                    continue
                if "'description'" not in ast.dump(entry.annotation):
                    yield f"{name}:{entry.lineno}: {ast.unparse(entry.target)} has no description"


def tenants_lead_the_key(tree: Tree) -> Iterator[str]:
    for path in tree.files:
        if path.name != "tables.sql" or path.parent.name == "kernel":
            continue
        sql = path.read_text()
        reasons = sql[: sql.index("CREATE TABLE")]
        for table, body in _tables(sql):
            key = _primary_key(body)
            excepted = f"{path.parent.name}.{table}" in TENANT_FREE
            if excepted and not re.search(rf"^--.*\b{table}\b", reasons, flags=re.MULTILINE):
                yield f"{tree.name(path)}: the head does not say why {table} is an exception"
            if not excepted and (not key or key[0] not in TENANT_COLUMNS):
                yield f"{tree.name(path)}: {table} has the primary key ({', '.join(key)})"


def _sql_lines(module: ast.Module) -> Iterator[int]:
    """Lines of the string constants that hold SQL; docstrings are prose."""
    docstrings = {
        id(node.value)
        for node in ast.walk(module)
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
    }
    for node in ast.walk(module):
        is_text = isinstance(node, ast.Constant) and isinstance(node.value, str)
        if is_text and id(node) not in docstrings and SQL.search(node.value):
            yield node.lineno


def _tables(sql: str) -> Iterator[tuple[str, str]]:
    """Name and body of each table that is not a partition."""
    sql = re.sub(r"--[^\n]*", "", sql)
    yield from re.findall(r"CREATE TABLE (\w+)\s*\((.*?)\n\)", sql, flags=re.DOTALL)


def _primary_key(body: str) -> list[str]:
    whole = re.search(r"PRIMARY KEY\s*\(([^)]*)\)", body)
    if whole:
        return [column.strip() for column in whole[1].split(",")]
    inline = re.search(r"^\s*(\w+)[^,\n]*\bPRIMARY KEY", body, flags=re.MULTILINE)
    return [inline[1]] if inline else []
