"""Listening sockets, as servers of ours want them."""

import socket


def listening_on(host: str, port: int, *, backlog: int = 2048) -> socket.socket:
    """A TCP socket that listens. Raises OSError, and UnicodeError for a host that is no name."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named because asyncio sets TCP_NODELAY only on sockets that say they are TCP.
    listening = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((host, port))
        listening.listen(backlog)
    except BaseException:
        listening.close()
        raise
    return listening
