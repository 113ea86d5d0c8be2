"""What keeps a question from being answered."""


class BenchFailed(Exception):
    """The message says why, to a person."""
