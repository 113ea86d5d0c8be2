"""The report: the same figures on the screen, in the README, as JSON."""

import json
from pathlib import Path

from bench import report
from bench.figures import Line, Spread, at_least

ABOUT = {
    "revision": "abc",
    "began": "today",
    "effort": "full",
    "machine": {"cores": 2, "processor": "P", "memory_gib": 4, "system": "Linux"},
    "versions": {"python": "3.11"},
    "load_average": 0.5,
    "elsewhere": 0.01,
}
LINE = Line(
    question="read",
    what="read one item",
    unit="requests/s",
    ours=Spread(4400.4, 4300, 4500),
    against="NestJS tuned",
    other=Spread(1100, 1000, 1200),
    ratio=Spread(4.0, 3.75, 4.3),
    goal=at_least(3.0),
    cpu=Spread(0.3512, 0.3, 0.4),
    note="so it was",
)


def test_a_row_has_every_figure() -> None:
    assert report.cells(LINE) == (
        "read one item", "requests/s", "4,400 (4,300–4,500)", "NestJS tuned",
        "1,100 (1,000–1,200)", "4 (3.75–4.3)", "≥ 3 ×", "yes", "0.351", "–",
    )  # fmt: skip


def test_the_readme_is_written_between_its_marks(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{report.BEGIN}\nold\n{report.END}\nafter\n")
    report.write_readme(report.as_markdown(ABOUT, [LINE]), readme)
    text = readme.read_text()
    assert text.startswith(f"before\n{report.BEGIN}\nRevision `abc`")
    assert text.endswith(f"so it was\n{report.END}\nafter\n")
    assert "old" not in text
    assert "| read one item | requests/s | 4,400 (4,300–4,500) |" in text


def test_our_readme_has_the_marks() -> None:
    text = report.README.read_text()
    assert text.count(report.BEGIN) == text.count(report.END) == 1


def test_json_says_what_was_to_be_reached() -> None:
    said = json.loads(report.as_json(ABOUT, [LINE], {"read": [{"rate": 1.0}]}))
    assert said["lines"][0]["to_reach"] == "≥ 3 ×"
    assert said["lines"][0]["reached"] is True
    assert said["lines"][0]["ratio"] == {"median": 4.0, "low": 3.75, "high": 4.3}
    assert said["runs"] == {"read": [{"rate": 1.0}]}
