"""How long and how often is measured."""

from dataclasses import dataclass

CONNECTIONS = 16
ITEMS = 1_000
LISTED = 50
CHANGES_A_SECOND = 150


@dataclass(frozen=True, slots=True)
class Effort:
    """`seconds` and `warm_up` are of one run under load, `samples` of one series of alerts,
    `crowds` are numbers of sockets, `sizes` numbers of items."""

    name: str
    rounds: int
    seconds: int
    warm_up: int
    samples: int
    crowds: tuple[int, ...]
    pushes: int
    sizes: tuple[int, ...]
    starts: int
    plain_peer: bool


QUICK = Effort(
    name="quick",
    rounds=3,
    seconds=2,
    warm_up=1,
    samples=40,
    crowds=(500,),
    pushes=4_000,
    sizes=(1_000, 20_000),
    starts=3,
    plain_peer=False,
)
FULL = Effort(
    name="full",
    rounds=5,
    seconds=8,
    warm_up=3,
    samples=200,
    crowds=(3_000, 10_000),
    pushes=20_000,
    sizes=(1_000, 100_000, 1_000_000),
    starts=5,
    plain_peer=True,
)
