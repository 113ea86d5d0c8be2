"""The `restock` command."""

import resource

from restock.cli import restock


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    # a core would hold every secret that the process has in memory; what we start inherits this
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    restock(prog_name="restock")


if __name__ == "__main__":
    main()
