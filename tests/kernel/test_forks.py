"""What a fork server does where the system lets it do no more."""

import errno
import os
import socket
from pathlib import Path

import pytest

from restock.kernel import forks


def test_a_fork_without_a_file_that_stands_for_it_is_ended(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def refused(_pid: int) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    pid = os.posix_spawn("/bin/sleep", ["sleep", "600"], {})
    monkeypatch.setattr(os, "fork", lambda: pid)
    monkeypatch.setattr(os, "pidfd_open", refused)
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    made: dict[int, forks._Fork] = {}
    assert forks._fork([theirs.detach(), os.dup(1), os.dup(2)], made) is None
    assert made == {}
    assert not Path(f"/proc/{pid}").exists()
    assert ours.recv(1) == b""  # whoever asked is told
    ours.close()
