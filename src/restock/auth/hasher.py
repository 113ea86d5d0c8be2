"""The program that hashes passwords: a process of its own for each worker, see `hashing`.

    hasher.py THREADS NICENESS [idle]

A line it reads is a job, a line it writes is an answer; they may come in another order:

    NUMBER hash PASSWORD            NUMBER PHC-STRING
    NUMBER verify PASSWORD STORED   NUMBER right | wrong

All but numbers and names are in hexadecimal. It ends with its input, so it is never left behind.
Started by its path, it imports nothing else of Restock: it is soon there, and small.
"""

import os
import signal
import sys
import time
from contextlib import suppress
from threading import Lock, Thread
from typing import BinaryIO

from argon2 import Parameters, PasswordHasher, Type
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import error_to_str

# OWASP's least memory for argon2id. Raise these and each password is hashed anew at its next
# sign-in; see `Passwords.check` for what can be told until then.
PARAMETERS = Parameters(
    type=Type.ID,
    version=19,
    salt_len=16,
    hash_len=32,
    time_cost=2,
    memory_cost=19 * 1024,
    parallelism=1,
)
SESSION_TRIES = 40
SESSION_PAUSE_S = 0.05
RIGHT = "right"
WRONG = "wrong"
# what argon2 says for want of memory or threads; it raises that like what says a password is wrong
UNSEEN = [error_to_str(code) for code in (-22, -33)]


def answer(hasher: PasswordHasher, verb: str, *words: str) -> str:
    """Do a job. `words` are in hexadecimal. Raises Argon2Error where there is no memory for it."""
    password, *rest = (bytes.fromhex(word).decode() for word in words)
    if verb == "hash":
        return hasher.hash(password).encode().hex()
    (stored,) = rest
    try:
        hasher.verify(stored, password)
    except (VerificationError, InvalidHashError) as error:
        if str(error) in UNSEEN:
            raise
        return WRONG
    return RIGHT


def _work(jobs: BinaryIO, turn: Lock) -> None:
    """Do jobs until there are no more, or nobody is left who wants to know; end the process."""
    hasher = PasswordHasher.from_parameters(PARAMETERS)
    try:
        while True:
            with turn:
                line = jobs.readline()
            if not line.endswith(b"\n"):
                os._exit(0)
            number, *job = line.decode().rstrip("\n").split(" ")
            os.write(1, f"{number} {answer(hasher, *job)}\n".encode())
    except (BrokenPipeError, ConnectionResetError):
        os._exit(0)
    except BaseException:  # a thread less would leave its job without an answer
        sys.excepthook(*sys.exc_info())
        os._exit(1)


def step_back(niceness: int, *, idle: bool) -> None:
    """Let what else there is to do on this machine go first.

    `idle`: a processor that does nothing but this is as good as a free one to Linux, which puts
    there whatever else has just become ready (SCHED_IDLE of sched(7)). The niceness counts then
    only for the session, or where it may not be idle.
    """
    os.nice(niceness)
    if idle:
        with suppress(AttributeError, OSError):  # there is none, or it is not allowed
            os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))


def step_back_as_session(niceness: int) -> None:
    """Linux may share processors out among sessions first, and this one is ours alone: then only
    the niceness of the session counts.
    """
    for _ in range(SESSION_TRIES):
        try:
            with open("/proc/self/autogroup", "w") as session:
                session.write(str(niceness))
        except BlockingIOError:  # one process of the whole machine may in each tenth of a second
            time.sleep(SESSION_PAUSE_S)
        except OSError:
            return
        else:
            return


def main(threads: int, niceness: int, *, idle: bool) -> None:
    """Answer what comes on standard input."""
    for number in (signal.SIGINT, signal.SIGTERM):  # who stops us may send them to all at once
        signal.signal(number, signal.SIG_IGN)
    step_back(niceness, idle=idle)
    # it may take a second or two, for which no hash has to wait
    Thread(target=step_back_as_session, args=(niceness,), daemon=True).start()
    turn = Lock()
    for _ in range(threads - 1):
        Thread(target=_work, args=(sys.stdin.buffer, turn), daemon=True).start()
    _work(sys.stdin.buffer, turn)


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), idle="idle" in sys.argv[3:])
