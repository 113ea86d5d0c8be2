"""The list of what is installed, as a page of the documentation."""

from collections.abc import Iterable

from tests.supply.licences import EXCEPTIONS, licence_of
from tests.supply.lock import ASKED, Package

PAGE = "docs/installed.md"
HEAD = """\
# What is installed

Written by `make audit` from the locks; a test holds it to them. *directly* stands for what
`requirements.in` (or a `package.json`) names itself, everything else came through what is named.
"""


def page(packages: Iterable[Package], node: Iterable[Package]) -> str:
    """The whole page, Markdown."""
    rows = [
        f"| {package.name} | {package.version} | {licence_of(package.name)} | {_through(package)} |"
        for package in packages
    ]
    alike = {(package.name, package.version): package for package in node}
    of_node = [
        f"| {package.name} | {package.version} | {package.licence} | {_through(package)} |"
        for _, package in sorted(alike.items())
    ]
    kept = [f"| {name} | {licence} | {why} |" for name, (licence, why) in EXCEPTIONS.items()]
    return "\n".join(
        [
            HEAD,
            "## Python",
            *_table("package", "version", "licence", "through"),
            *rows,
            "\n## Node, for tests and the benchmark only",
            *_table("package", "version", "licence", "through"),
            *of_node,
            "\n## Licences that ask for more than their notice",
            *_table("package", "licence", "why it may stay"),
            *kept,
            "",
        ]
    )


def _table(*heads: str) -> list[str]:
    return [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]


def _through(package: Package) -> str:
    direct = {ASKED, "package.json"} & set(package.via)
    others = [name for name in package.via if name not in direct and name != "npm"]
    return ", ".join((["*directly*"] if direct else []) + others)
