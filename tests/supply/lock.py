"""What the project asks for (requirements.in), and what that came to (the locks)."""

import json
import re
from dataclasses import dataclass
from pathlib import Path

PROJECT = Path(__file__).parents[2]
NODE_LOCKS = ("tests/journeys/node/package-lock.json", "bench/node/package-lock.json")
ASKED = "requirements.in"

_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==(\S+)", re.MULTILINE)
_VIA = re.compile(r"^    # +(?:via\b *)?(.*)$", re.MULTILINE)


@dataclass(frozen=True)
class Package:
    """One package of a lock; `via` names what asked for it, our own list as `requirements.in`."""

    name: str
    version: str
    via: tuple[str, ...]
    licence: str = ""  # only where the lock itself says it


def normal(name: str) -> str:
    """A distribution's name as registries compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def asked_for(text: str) -> dict[str, list[str]]:
    """The names of requirements.in, by the comment they stand below."""
    found: dict[str, list[str]] = {}
    names: list[str] = []
    for line in filter(None, map(str.strip, text.splitlines())):
        if line.startswith("#"):
            names = found.setdefault(line.removeprefix("#").strip(), [])
        else:
            names.append(normal(re.split(r"[\[<>=!~; ]", line)[0]))
    return {section: names for section, names in found.items() if names}


def locked(text: str) -> list[Package]:
    """The packages of requirements.lock."""
    starts = [*_PINNED.finditer(text)]
    ends = [match.start() for match in starts[1:]] + [len(text)]
    found = []
    for match, end in zip(starts, ends, strict=True):
        via = [word for word in _VIA.findall(text[match.end() : end]) if word]
        named = tuple(word.removeprefix("-r ").strip() for word in via)
        found.append(Package(normal(match[1]), match[2], named))
    return found


def node_locked(text: str) -> list[Package]:
    """The packages of a package-lock.json."""
    packages = json.loads(text)["packages"]
    direct = set(packages[""].get("dependencies", {}))
    return [
        Package(
            path.removeprefix("node_modules/"),
            entry["version"],
            ("package.json",) if path.removeprefix("node_modules/") in direct else ("npm",),
            entry.get("license", ""),
        )
        for path, entry in packages.items()
        if path
    ]
