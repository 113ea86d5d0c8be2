"""Run as a program: becomes another one, which ends when the process that started it does.

    python -I -S leash.py PARENT PROGRAM ARGUMENT…

A gateway process that is killed outright can't end its Envoy; on Linux the kernel then does.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); kept across execve(2)


def main(arguments: list[str]) -> None:
    """Never returns: this process becomes the program, or ends."""
    parent, program = int(arguments[0]), arguments[1:]
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM), 0, 0, 0)
    if os.getppid() != parent:  # it ended before we could ask
        sys.exit(1)
    os.execv(program[0], program)  # noqa: S606 (our own Envoy, without a shell)


if __name__ == "__main__":
    main(sys.argv[1:])
