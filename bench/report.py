"""What came out: a table on the screen, the same in README.md, everything as JSON."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from rich.console import Console
from rich.table import Table

from bench.figures import Line, Spread

HERE = Path(__file__).parent
README = HERE / "README.md"
RESULTS = HERE / "results"
BEGIN, END = "<!-- figures: begin -->", "<!-- figures: end -->"
HEADS = (
    "question", "unit", "Restock", "against", "figure", "ratio", "to reach", "reached",
    "CPU ms", "against’s",
)  # fmt: skip
JUSTIFIED: dict[str, Literal["center", "right"]] = {
    "reached": "center",
    "CPU ms": "right",
    "against’s": "right",
}


def number(value: float) -> str:
    """Three figures that count."""
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def spread(found: Spread | None) -> str:
    """The median, and the lowest and highest beside it."""
    if found is None:
        return "–"
    if found.low == found.high:
        return number(found.median)
    return f"{number(found.median)} ({number(found.low)}–{number(found.high)})"


def cells(line: Line) -> tuple[str, ...]:
    """One row of the table."""
    verdict = {True: "yes", False: "no", None: "–"}[line.reached]
    return (
        line.what,
        line.unit,
        spread(line.ours),
        line.against or "–",
        spread(line.other),
        spread(line.ratio),
        str(line.goal or "–"),
        verdict,
        number(line.cpu.median) if line.cpu else "–",
        number(line.other_cpu.median) if line.other_cpu else "–",
    )


def notes(lines: Sequence[Line]) -> list[str]:
    """What is to be said of single lines."""
    return [
        f"{line.what}{f', against {line.against}' if line.against else ''}: {line.note}"
        for line in lines
        if line.note
    ]


def show(console: Console, lines: Sequence[Line]) -> None:
    """The table on the screen."""
    table = Table(title="Medians, with the lowest and the highest", title_justify="left")
    for head in HEADS:
        table.add_column(head, justify=JUSTIFIED.get(head, "left"))
    for line in lines:
        style = {True: "green", False: "red", None: ""}[line.reached]
        table.add_row(*cells(line), style=style)
    console.print(table)
    for note in notes(lines):
        console.print(note, style="dim")


def as_json(about: dict[str, Any], lines: Sequence[Line], runs: dict[str, Any]) -> str:
    """What they were measured on, the lines, and each run; these a line each."""
    said = [
        asdict(line) | {"to_reach": str(line.goal or ""), "reached": line.reached} for line in lines
    ]
    head = json.dumps(about, indent=1).removesuffix("\n}")
    questions = ",\n".join(f" {json.dumps(name)}: {_rows(found)}" for name, found in runs.items())
    return f'{head},\n"lines": {_rows(said)},\n"runs": {{\n{questions}\n}}}}\n'


def _rows(found: Sequence[dict[str, Any]]) -> str:
    rows = ",\n".join(f"  {json.dumps(_rounded(row))}" for row in found)
    return f"[\n{rows}\n ]"


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 4)
    if isinstance(value, dict):
        return {name: _rounded(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(member) for member in value]
    return value


def as_markdown(about: dict[str, Any], lines: Sequence[Line]) -> str:
    """The table for README.md."""
    machine, versions = about["machine"], about["versions"]
    rows = [HEADS, tuple("---" for _ in HEADS), *(cells(line) for line in lines)]
    return "\n".join(
        [
            f"Revision `{about['revision']}`, {about['began']}, a {about['effort']} run: "
            f"{machine['cores']} × {machine['processor']}, {machine['memory_gib']} GiB, "
            f"{machine['system']}; "
            + ", ".join(f"{name} {version}" for name, version in versions.items() if version)
            + f". Load average {about['load_average']:.1f} at the start; other work took "
            f"{about['elsewhere']:.1%} of the machine.",
            "",
            *("| " + " | ".join(row) + " |" for row in rows),
            "",
            *(f"- {note}" for note in notes(lines)),
        ]
    )


def write_readme(text: str, readme: Path = README) -> None:
    """Put the figures between their marks."""
    before, _, rest = readme.read_text().partition(BEGIN)
    _, _, after = rest.partition(END)
    readme.write_text(f"{before}{BEGIN}\n{text}\n{END}{after}")
