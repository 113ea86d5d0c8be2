"""Start, warm: `restock up` on a data directory that was used before, until it says `ready`."""

from bench.figures import Line, Spread, at_most
from bench.restock import Restock
from bench.stage import Stage


async def ask(stage: Stage) -> list[Line]:
    """Seconds; the first start of all, which makes the databases, stands in the note."""
    restock = Restock(stage.file("restock"))
    stage.keep(restock)
    first = await restock.start()
    await restock.stop()
    seconds = []
    for _ in range(stage.effort.starts):
        seconds.append(await restock.start())
        stage.record("start", {"side": "Restock", "seconds": seconds[-1]})
        await restock.stop()
    return [
        Line(
            question="start",
            what="start, warm",
            unit="s to `ready`",
            ours=Spread.of(seconds),
            goal=at_most(3.0, "s"),
            note=f"the first start of all, which makes the databases, took {first:.1f} s",
        )
    ]
