"""Lines of a contest between ours and the other side, tuned and plain."""

from bench.contest import Contest
from bench.figures import Goal, Line

OURS = "Restock"
TUNED = "NestJS tuned"
PLAIN = "NestJS plain"


def against_peers(contest: Contest, question: str, what: str, goal: Goal) -> list[Line]:
    """What is asked for is asked against the tuned one; without it our own figure is shown."""
    lines = [contest.line(question, what, OURS, TUNED, goal=goal)]
    if PLAIN in contest.loads:
        lines.append(contest.line(question, what, OURS, PLAIN))
    return lines
