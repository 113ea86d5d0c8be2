"""Licences of what is installed, against a short list of those we take."""

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, metadata

from tests.supply.lock import Package

# They ask for no more than their notice.
ACCEPTED = {
    "0BSD", "Apache-2.0", "BSD-2-Clause", "BSD-3-Clause", "ISC", "MIT", "MIT-0", "PSF-2.0",
    "PostgreSQL", "Unlicense",
}  # fmt: skip

# Others, each with the reason why it may stay. All are used as they are published.
EXCEPTIONS = {
    "psycopg": ("LGPL-3.0-only", "a library that migrations and backups import, unchanged"),
    "psycopg-binary": ("LGPL-3.0-only", "the same, with libpq"),
    "bidict": ("MPL-2.0", "python-socketio imports it, unchanged"),
    "certifi": ("MPL-2.0", "Mozilla's list of authorities; checks and tests only"),
    "hypothesis": ("MPL-2.0", "tests only"),
    "pathspec": ("MPL-2.0", "checks and the build only"),
    "xmlhttprequest-ssl": ("", "MIT, which its package.json says in a form of old; tests only"),
}

_CLASSIFIED = {
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD-3-Clause",
    "ISC License (ISCL)": "ISC",
    "MIT License": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
_NOT_A_LICENCE = {"OSI Approved", "DFSG approved"}


def licence_of(name: str) -> str:
    """The licence of an installed distribution as an SPDX expression (PEP 639).

    Where it says none, by its classifiers, all of which then count. Empty where nothing is said,
    or it isn't installed.
    """
    try:
        said = metadata(name)
    except PackageNotFoundError:
        return ""
    if expression := said.get("License-Expression"):
        return str(expression)
    classified = [
        words.split(" :: ")[-1]
        for words in said.get_all("Classifier", [])
        if words.startswith("License ::")
    ]
    named = [_CLASSIFIED.get(word, word) for word in classified if word not in _NOT_A_LICENCE]
    return " AND ".join(dict.fromkeys(named)) or str(said.get("License", ""))


def is_accepted(expression: str) -> bool:
    """Whether a choice of this expression needs only licences of ours: "A AND (B OR C)"."""
    while inner := re.search(r"\(([^()]*)\)", expression):
        judged = "MIT" if is_accepted(inner[1]) else "none of ours"
        expression = expression[: inner.start()] + judged + expression[inner.end() :]
    return any(
        all(term.strip() in ACCEPTED for term in choice.split(" AND "))
        for choice in expression.split(" OR ")
    )


def refused(packages: Iterable[Package]) -> Iterator[str]:
    """What has another licence, or none that is said."""
    for package in packages:
        found = package.licence or licence_of(package.name)
        excepted, _ = EXCEPTIONS.get(package.name, (None, ""))
        if found != excepted and not is_accepted(found):
            yield f"{package.name} {package.version}: {found or 'no licence is said'}"
