"""Sales to replay: an invented shop's, and a wholesaler's six days where they lie beside us."""

from pathlib import Path

from tests.cli.sales import SALES, many_sales

BESIDE_US = Path(__file__).resolve().parents[3] / "shared" / "data" / "retail"


def invented_days(directory: Path, texts: list[str] = SALES) -> list[Path]:
    """The invented shop's days, written as files."""
    directory.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, text in enumerate(texts, start=1):
        paths.append(directory / f"day-{number}.csv")
        paths[-1].write_text(text, encoding="utf-8")
    return paths


def long_days(directory: Path) -> list[Path]:
    """The wholesaler's days; as many invented rows where those are not at hand."""
    return sorted(BESIDE_US.glob("*.csv")) or invented_days(directory, many_sales())
