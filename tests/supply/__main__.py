"""`make audit`: known vulnerabilities and licences of all that is locked, and what that is.

Writes docs/installed.md. Exits with 1 when something is wrong, with 3 when nothing is but a
register of vulnerabilities could not be asked: that is no "none known". Make turns both into its
own 2; whoever tells them apart runs `python -m tests.supply`.
"""

import sys

from tests.supply import installed, licences, vulnerabilities
from tests.supply.lock import NODE_LOCKS, PROJECT, locked, node_locked

NOT_ASKED = 3


def main() -> int:
    """Say what was found."""
    packages = locked((PROJECT / "requirements.lock").read_text())
    node = [package for path in NODE_LOCKS for package in node_locked((PROJECT / path).read_text())]
    text = installed.page(packages, node)
    (PROJECT / installed.PAGE).write_text(text)
    _say(f"{len(packages)} Python and {len(node)} npm packages are listed in {installed.PAGE}")
    wrong = [f"licence not accepted: {line}" for line in licences.refused([*packages, *node])]
    answers = [vulnerabilities.of_python(), *map(vulnerabilities.of_node, NODE_LOCKS)]
    for answer in answers:
        wrong += answer.found
        if answer.not_asked:
            _say(f"NOT ASKED, so nothing is known: {answer.about}: {answer.not_asked}")
        else:
            _say(f"{answer.about}: {len(answer.found)} known vulnerabilities")
    for line in wrong:
        _say(f"WRONG {line}")
    if wrong:
        return 1
    return NOT_ASKED if any(answer.not_asked for answer in answers) else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main())
