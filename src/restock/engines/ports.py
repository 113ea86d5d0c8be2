"""Ports: which may be used, which are free."""

import errno
import random
import socket

from restock.engines.failures import NoSuchHost, PortTaken
from restock.kernel.listening import listening_on

# From here the kernel takes ports for outgoing connections, and any of them may be busy.
EPHEMERAL = range(32768, 61000)


def usable(port: int) -> bool:
    """Whether the port exists and is not one that an outgoing connection may hold."""
    return 1 <= port <= 65535 and port not in EPHEMERAL


def listen(host: str, port: int, *, backlog: int = 1024) -> socket.socket:
    """A listening socket, not inherited unless passed on. Raises PortTaken, NoSuchHost."""
    try:
        listening = listening_on(host, port, backlog=backlog)
    except UnicodeError as error:
        raise NoSuchHost(f"cannot listen on {host} port {port}: that is no host's name") from error
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port {port} on {host} is taken by another process") from error
        unknown = isinstance(error, socket.gaierror) or error.errno == errno.EADDRNOTAVAIL
        kind = NoSuchHost if unknown else PortTaken
        raise kind(f"cannot listen on {host} port {port}: {error.strerror}") from error
    listening.setblocking(False)
    return listening


def require_free(host: str, port: int) -> None:
    """Raise PortTaken when the port can't be listened on now."""
    listen(host, port).close()


def free_port() -> int:
    """A port that was free on 127.0.0.1 a moment ago, outside the kernel's own range."""
    choice = random.SystemRandom()
    for _ in range(200):
        port = choice.randrange(20000, EPHEMERAL.start)
        try:
            require_free("127.0.0.1", port)
        except PortTaken:
            continue
        return port
    raise PortTaken("no free port found between 20000 and 32767")
