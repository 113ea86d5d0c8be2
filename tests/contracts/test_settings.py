"""Every variable of the environment that the code names is documented, and exists."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
VARIABLE = re.compile(r"\bRESTOCK_[A-Z][A-Z_]*[A-Z]\b(?!_)")
# told by a parent process to its children, never by a person
BETWEEN_US = {"RESTOCK_SUPERVISOR"}


def _named(*patterns: str) -> dict[str, str]:
    """Each variable named in these files, and one place where."""
    return {
        variable: path.relative_to(ROOT).as_posix()
        for pattern in patterns
        for path in sorted(ROOT.glob(pattern))
        for variable in VARIABLE.findall(path.read_text())
    }


def test_every_variable_is_documented() -> None:
    documented = set(_named("docs/settings.md", "docs/running.md")) | BETWEEN_US
    for service in ("AUTH", "INVENTORY", "NOTIFICATION", "VENDOR", "GATEWAY"):
        page = (ROOT / "docs/settings.md").read_text().replace("<SERVICE>", service)
        documented |= set(VARIABLE.findall(page))
    named = _named("src/**/*.py", "src/**/*.sql", "*.md", "docs/*.md")
    assert {name: place for name, place in named.items() if name not in documented} == {}
