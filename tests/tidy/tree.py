"""The project's files, as the rules see them: what a fresh checkout holds, nothing made later."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

MADE_LATER = {
    ".git", ".venv", ".restock", "node_modules", "__pycache__", "dist", ".pytest_cache",
    ".mypy_cache", ".ruff_cache", ".import_linter_cache", ".hypothesis",
}  # fmt: skip
TEXT = {".py", ".sql", ".toml", ".md", ".json", ".yaml", ".yml", ".lock", ".in", ".js", ".mjs", ""}


@dataclass
class Tree:
    """A checkout at `root`. Paths in findings are relative to it, with forward slashes."""

    root: Path
    _parsed: dict[Path, ast.Module] = field(default_factory=dict)

    @cached_property
    def files(self) -> list[Path]:
        """Every text file, sorted."""
        return sorted(self._walk(self.root))

    def _walk(self, folder: Path) -> Iterator[Path]:
        for entry in folder.iterdir():
            if entry.name in MADE_LATER or entry.is_symlink():
                continue
            if entry.is_dir():
                yield from self._walk(entry)
            elif entry.suffix in TEXT:
                yield entry

    def python(self, *tops: str) -> Iterator[tuple[str, Path]]:
        """Relative path and path of every Python file under these top folders."""
        for path in self.files:
            if path.suffix == ".py" and self.name(path).split("/")[0] in tops:
                yield self.name(path), path

    def name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def parse(self, path: Path) -> ast.Module:
        if path not in self._parsed:
            self._parsed[path] = ast.parse(path.read_text(), filename=str(path))
        return self._parsed[path]

    def services(self) -> Iterator[Path]:
        """The package of each service: the one whose `__init__` makes a SERVICE."""
        for path in sorted((self.root / "src/restock").glob("*/__init__.py")):
            names = [
                target.id
                for node in self.parse(path).body
                if isinstance(node, ast.Assign | ast.AnnAssign)
                for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
                if isinstance(target, ast.Name)
            ]
            if "SERVICE" in names:
                yield path.parent
