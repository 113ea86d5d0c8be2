"""The questions, in the order they are asked: those of one pair of systems stand together."""

from collections.abc import Awaitable, Callable

from bench.figures import Line
from bench.questions import (
    alerts,
    batch,
    change,
    change_limit,
    gateway,
    growth,
    listing,
    login,
    memory,
    read,
    read_limit,
    sockets,
    start,
    walls,
)
from bench.stage import Stage

Question = Callable[[Stage], Awaitable[list[Line]]]

QUESTIONS: dict[str, Question] = {
    "read": read.ask,
    "list": listing.ask,
    "change": change.ask,
    "login": login.ask,
    "alerts": alerts.ask,
    "memory": memory.ask,
    "change-limit": change_limit.ask,
    "read-limit": read_limit.ask,
    "batch": batch.ask,
    "walls": walls.ask,
    "gateway": gateway.ask,
    "sockets": sockets.ask,
    "growth": growth.ask,
    "start": start.ask,
}
