"""How long and how often is measured."""

from dataclasses import dataclass, replace

CONNECTIONS = 16
ITEMS = 1_000
LISTED = 50
CHANGES_A_SECOND = 150


@dataclass(frozen=True, slots=True)
class Effort:
    """`rounds` is how often each side has its turn; `seconds` and `warm_up` are of one run under
    load; `growth` stands for both where accounts of several sizes are compared. `samples` are
    those of one series of alerts, `crowds` numbers of sockets, gathered `looks` times, `sizes`
    numbers of items."""

    name: str
    rounds: int
    seconds: int
    growth: tuple[int, int]
    warm_up: int
    samples: int
    crowds: tuple[int, ...]
    looks: int
    pushes: int
    sizes: tuple[int, ...]
    starts: int
    plain_peer: bool

    def changed(self, rounds: int | None, seconds: int | None) -> "Effort":
        """The same with other numbers for all that goes in rounds, or takes seconds."""
        every, each = self.growth
        return replace(
            self,
            rounds=rounds or self.rounds,
            seconds=seconds or self.seconds,
            growth=(rounds or every, seconds or each),
            looks=rounds or self.looks,
            starts=rounds or self.starts,
        )


QUICK = Effort(
    name="quick",
    rounds=3,
    seconds=2,
    growth=(2, 1),
    warm_up=1,
    samples=40,
    crowds=(1_000,),
    looks=1,
    pushes=10_000,
    sizes=(1_000, 20_000),
    starts=3,
    plain_peer=False,
)
FULL = Effort(
    name="full",
    rounds=5,
    seconds=6,
    growth=(5, 5),
    warm_up=2,
    samples=200,
    crowds=(3_000, 10_000),
    looks=5,
    pushes=20_000,
    sizes=(1_000, 100_000, 1_000_000),
    starts=5,
    plain_peer=True,
)
