"""A client's end of a websocket, byte by byte, for a stream without a server."""

import asyncio
from types import SimpleNamespace

from restock.notification.streams import STREAM, Stream

REQUEST = (
    b"GET /socket.io/?EIO=4 HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n"
    b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n\r\n"
)
TEXT, BINARY, CLOSE, PING, PONG = 0x1, 0x2, 0x8, 0x9, 0xA


class Transport:
    """Keeps what is written; `unread` is how much the peer hasn't read."""

    def __init__(self, unread=0):
        self.written = b""
        self.unread = unread
        self.reading = True
        self.eof = self.closed = self.aborted = False

    def write(self, data):
        self.written += data

    def write_eof(self):
        self.eof = True

    def close(self):
        self.closed = True

    def abort(self):
        self.aborted = self.closed = True

    def is_closing(self):
        return self.closed

    def pause_reading(self):
        self.reading = False

    def resume_reading(self):
        self.reading = True

    def get_write_buffer_size(self):
        return self.unread

    def set_write_buffer_limits(self, high):
        self.high = high


class Owner:
    """Hears; after each text in `busy_at` it is busy."""

    def __init__(self, busy_at=()):
        self.busy = False
        self.heard = []
        self.losses = 0
        self.rooms = 0
        self._busy_at = busy_at

    def hear(self, text):
        assert not self.busy
        self.heard.append(text)
        self.busy = text in self._busy_at

    def roomy(self):
        self.rooms += 1

    def lost(self):
        self.losses += 1


def frame(opcode, payload=b"", *, fin=True, mask=b"\x01\x02\x03\x04", first=0, length=None):
    """A frame as a client sends it; `length` is what it says instead of the truth."""
    size = len(payload) if length is None else length
    head = bytes([(0x80 if fin else 0) | first | opcode])
    masked = 0x80 if mask else 0
    if size < 126:
        head += bytes([masked | size])
    elif size < 1 << 16:
        head += bytes([masked | 126]) + size.to_bytes(2, "big")
    else:
        head += bytes([masked | 127]) + size.to_bytes(8, "big")
    if not mask:
        return head + payload
    return head + mask + bytes(b ^ mask[i % 4] for i, b in enumerate(payload))


async def begun(app, request=REQUEST, unread=0):
    """A stream that has been asked, its transport, and what uvicorn knows of it."""
    server = SimpleNamespace(connections=set(), tasks=set())
    stream = Stream(SimpleNamespace(loaded_app=app), server, {})
    transport = Transport(unread)
    stream.connection_made(transport)
    stream.data_received(request)
    while server.tasks:
        await asyncio.sleep(0)
    return stream, transport, server


async def opened(owner):
    async def app(scope, receive, send):
        assert scope["extensions"][STREAM].accept()
        scope["extensions"][STREAM].belong(owner)

    stream, transport, server = await begun(app)
    head, _, transport.written = transport.written.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 101 ")
    assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" in head
    assert b"Sec-WebSocket-Extensions" not in head
    return stream, transport, server
