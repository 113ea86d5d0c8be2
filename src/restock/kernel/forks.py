"""What a fork server does: a small program that has imported what others need, and forks them.

    job = serve(control)          # in the fork server: None once its owner is gone
                                  # in each fork of it: what it was made for

The owner's half is `engines.forkserver`. Between the two is `control`, a socket of datagrams. For
each fork the owner sends one with open files: the fork's own channel, its two outputs, its
listening sockets. The job itself waits in the channel, where only the fork reads it: secrets in its
environment never pass through the fork server, whose memory all later forks inherit. The answers in
the channel are the pid, with a file that stands for the process (a pidfd), and at its end the exit
code.

A fork inherits memory, so nothing that lives may be in it: no loop, no thread, no connection. What
was imported is put aside for good (gc.freeze): a collector that looks at it would write to its
pages, and only pages nobody writes to stay shared.
"""

import gc
import os
import selectors
import signal
import socket
from contextlib import suppress
from dataclasses import dataclass

import msgspec

READY = b"ready"
LARGEST_JOB = 192 * 1024  # bytes; a socket takes it at once
MOST_FILES = 64


class Job(msgspec.Struct, frozen=True):
    """What a process is made for: a command's words, its whole environment, its directory.

    `listening` is the file descriptor of its first listening socket, -1 without one: the fork's
    own number, which its owner can't know. `server` is the pid of the fork server.
    """

    words: list[str]
    env: dict[str, str]
    cwd: str
    listening: int = -1
    server: int = 0


@dataclass(frozen=True)
class _Fork:
    pid: int
    channel: socket.socket


class _Forked(Exception):
    """Raised in a fork, out of all that is the fork server's."""

    def __init__(self, job: Job) -> None:
        self.job = job


def serve(control: socket.socket) -> Job | None:
    """Fork what is asked for on `control`; see above for what it returns where."""
    gc.collect()
    gc.freeze()
    forks: dict[int, _Fork] = {}
    with control, selectors.DefaultSelector() as selector:
        selector.register(control, selectors.EVENT_READ)
        with suppress(OSError):
            control.send(READY, socket.MSG_DONTWAIT)
        try:
            while True:
                for key, _ in selector.select():
                    if key.fd in forks:
                        selector.unregister(key.fd)
                        _tell_end(key.fd, forks.pop(key.fd))
                        continue
                    files = _files_of_one(control)
                    if files is None:
                        return None
                    pidfd = _fork(files, forks) if files else None
                    if pidfd is not None:
                        selector.register(pidfd, selectors.EVENT_READ)
        except _Forked as forked:
            return forked.job


def _files_of_one(control: socket.socket) -> list[int] | None:
    """The files for one fork; none where we can't have as many, None once the owner is gone."""
    said, files, flags, _ = socket.recv_fds(control, 16, MOST_FILES, socket.MSG_CMSG_CLOEXEC)
    if flags & socket.MSG_CTRUNC:
        for fd in files:
            os.close(fd)
        return []
    return files if said else None


def _fork(files: list[int], forks: dict[int, _Fork]) -> int | None:
    """One fork; the file that stands for it, None when the system has no room for one more.

    In the fork it raises _Forked.
    """
    channel, given = socket.socket(fileno=files[0]), files[1:]
    server = os.getpid()
    try:
        pid = os.fork()
    except OSError:
        pid = -1
    if pid == 0:
        for pidfd, other in forks.items():
            os.close(pidfd)
            other.channel.close()
        raise _Forked(_settled(channel, given, server))
    for fd in given:
        os.close(fd)
    if pid < 0:
        channel.close()
        return None
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        channel.close()
        return None
    forks[pidfd] = _Fork(pid, channel)
    try:
        socket.send_fds(channel, [str(pid).encode()], [pidfd])
    except OSError:  # whoever asked has given up
        os.kill(pid, signal.SIGKILL)
    return pidfd


def _settled(channel: socket.socket, given: list[int], server: int) -> Job:
    """In the fork: a session of its own, its outputs and directory; its job."""
    with channel:
        job = msgspec.msgpack.decode(channel.recv(LARGEST_JOB), type=Job)
    os.setsid()
    for number, fd in ((1, given[0]), (2, given[1])):
        os.dup2(fd, number)
        os.close(fd)
    os.chdir(job.cwd)
    listening = given[2] if len(given) > 2 else -1
    return msgspec.structs.replace(job, listening=listening, server=server)


def _tell_end(pidfd: int, fork: _Fork) -> None:
    """Collect a fork that has ended, and say how."""
    os.close(pidfd)
    _, status = os.waitpid(fork.pid, 0)
    with fork.channel, suppress(OSError):
        fork.channel.send(str(os.waitstatus_to_exitcode(status)).encode())
