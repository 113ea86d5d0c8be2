"""The `restock` command."""

from restock.cli import restock


def main() -> None:
    """Run the command line; the process ends with its exit code."""
    restock(prog_name="restock")


if __name__ == "__main__":
    main()
