"""A stream on a transport of the test's own: RFC 6455, byte by byte if need be. No server runs."""

import asyncio

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from restock.notification import streams
from restock.notification.streams import STREAM, text_frame
from tests.notification.wire import (
    BINARY,
    CLOSE,
    PING,
    PONG,
    REQUEST,
    TEXT,
    Owner,
    begun,
    frame,
    opened,
)


async def after(*chunks):
    """An owner and a transport after these bytes have come."""
    owner = Owner()
    stream, transport, _ = await opened(owner)
    for chunk in chunks:
        stream.data_received(chunk)
    return owner, transport, stream


def failed(owner, transport, code):
    """Whether it ended by this close code: one frame, then no more."""
    size = transport.written[1]
    assert transport.written[:1] == b"\x88"
    assert len(transport.written) == 2 + size
    assert int.from_bytes(transport.written[2:4], "big") == code
    return transport.eof and owner.losses == 1


# -- the opening handshake


async def nobody(scope, receive, send):
    assert (await receive())["type"] == "websocket.connect"
    await send({"type": "websocket.close", "code": 1000})


async def test_what_no_application_takes_is_forbidden():
    _, transport, _ = await begun(nobody)
    assert transport.written.startswith(b"HTTP/1.1 403 ")
    assert transport.closed


async def test_an_application_that_breaks_is_told_of():
    async def app(scope, receive, send):
        raise ZeroDivisionError

    _, transport, _ = await begun(app)
    assert transport.written.startswith(b"HTTP/1.1 500 ")


@pytest.mark.parametrize(
    ("change", "status"),
    [
        ((b"GET", b"POST"), b"405"),
        ((b"version: 13", b"version: 8"), b"400"),
        ((b"dGhlIHNhbXBsZSBub25jZQ==", b"short"), b"400"),
        ((b"sec-websocket-key", b"sec-something-else"), b"400"),
    ],
)
async def test_a_handshake_that_is_none_is_refused(change, status):
    async def app(scope, receive, send):
        assert not scope["extensions"][STREAM].accept()

    _, transport, _ = await begun(app, REQUEST.replace(*change))
    assert transport.written.startswith(b"HTTP/1.1 " + status)
    assert transport.closed


async def test_the_application_sees_path_query_and_headers():
    seen = {}

    async def app(scope, receive, send):
        seen.update(scope)

    await begun(app)
    assert (seen["type"], seen["path"], seen["query_string"]) == (
        "websocket",
        "/socket.io/",
        b"EIO=4",
    )
    assert (b"host", b"x") in seen["headers"]


# -- messages


async def test_a_text_arrives():
    owner, transport, _ = await after(frame(TEXT, "grüße".encode()), frame(TEXT))
    assert owner.heard == ["grüße", ""]
    assert transport.written == b""


async def test_fragments_are_one_text_and_control_frames_may_come_between():
    message = "grüße".encode()
    owner, transport, _ = await after(
        frame(TEXT, message[:3], fin=False),  # in the middle of a letter
        frame(PING, b"now"),
        frame(0, message[3:], fin=False),
        frame(0),
        frame(TEXT, b"next"),
    )
    assert owner.heard == ["grüße", "next"]
    assert transport.written == b"\x8a\x03now"


@pytest.mark.parametrize(
    ("chunks", "code"),
    [
        ([frame(TEXT, b"x", mask=b"")], 1002),
        ([frame(TEXT, b"x", first=0x40)], 1002),
        ([frame(TEXT, b"x", first=0x20)], 1002),
        ([frame(TEXT, b"x", first=0x10)], 1002),
        ([frame(0x3, b"x")], 1002),
        ([frame(0xB)], 1002),
        ([frame(0, b"x")], 1002),
        ([frame(TEXT, b"x", fin=False), frame(TEXT, b"y")], 1002),
        ([frame(PING, b"x", fin=False)], 1002),
        ([frame(PING, b"x" * 126)], 1002),
        ([frame(CLOSE, b"\x03")], 1002),
        ([frame(CLOSE, (999).to_bytes(2, "big"))], 1002),
        ([frame(CLOSE, (1005).to_bytes(2, "big"))], 1002),
        ([frame(CLOSE, (1000).to_bytes(2, "big") + b"\xff")], 1007),
        ([frame(TEXT, b"\xff")], 1007),
        ([frame(TEXT, b"\xed\xa0\x80")], 1007),
        ([frame(TEXT, b"\xc3", fin=False), frame(0)], 1007),
        ([frame(BINARY, b"x")], 1003),
        ([frame(TEXT, length=16_385)], 1009),
        ([frame(TEXT, length=1 << 40)], 1009),
        ([frame(TEXT, b"x" * 16_000, fin=False), frame(0, length=385)], 1009),
    ],
)
async def test_what_breaks_the_protocol_ends_it_with_a_code(chunks, code):
    owner, transport, stream = await after(*chunks)
    assert failed(owner, transport, code)
    stream.data_received(frame(TEXT, b"late"))
    stream.send(b"late")
    assert owner.heard == []
    assert failed(owner, transport, code)


async def test_a_message_may_be_as_large_as_said_before():
    owner, _, _ = await after(frame(TEXT, b"x" * 16_384))
    assert owner.heard == ["x" * 16_384]


async def test_who_goes_on_after_an_error_is_cut_off():
    _, transport, stream = await after(frame(0, b"x"))
    for _ in range(5):
        assert not transport.aborted
        stream.data_received(bytes(64 * 1024))
    assert transport.aborted


async def test_who_does_not_hang_up_after_an_error_is_cut_off(monkeypatch):
    monkeypatch.setattr(streams, "PART_WITHIN_S", 0.01)
    _, transport, _ = await after(frame(0, b"x"))
    async with asyncio.timeout(20):
        while not transport.aborted:
            await asyncio.sleep(0.01)


# -- the closing handshake


@pytest.mark.parametrize("payload", [b"", (1000).to_bytes(2, "big"), b"\x0f\xa0bye"])
async def test_a_farewell_is_answered(payload):
    owner, transport, _ = await after(frame(TEXT, b"last"), frame(CLOSE, payload))
    assert owner.heard == ["last"]
    assert transport.written == b"\x88" + bytes([len(payload)]) + payload
    assert (transport.closed, owner.losses) == (True, 1)


async def test_a_farewell_of_who_does_not_read_waits_so_long_and_no_longer(monkeypatch):
    monkeypatch.setattr(streams, "PART_WITHIN_S", 0.01)
    _, transport, _ = await after(frame(CLOSE))
    async with asyncio.timeout(20):
        while not transport.aborted:
            await asyncio.sleep(0.01)


async def test_our_farewell_waits_for_its_answer(monkeypatch):
    owner, transport, stream = await after()
    stream.close()
    stream.close()
    assert transport.written == b"\x88\x02\x03\xe8"
    assert (transport.closed, owner.losses) == (False, 0)
    stream.data_received(frame(CLOSE, (1000).to_bytes(2, "big")))
    assert transport.written == b"\x88\x02\x03\xe8"
    assert (transport.closed, owner.losses) == (True, 1)


async def test_our_farewell_waits_so_long_and_no_longer(monkeypatch):
    monkeypatch.setattr(streams, "PART_WITHIN_S", 0.01)
    _, transport, stream = await after()
    stream.close()
    async with asyncio.timeout(20):
        while not transport.aborted:
            await asyncio.sleep(0.01)


async def test_the_end_of_the_http_server_ends_it_too():
    owner = Owner()
    stream, transport, server = await opened(owner)
    assert server.connections == {stream}
    stream.shutdown()
    assert transport.written == b"\x88\x02\x03\xe9"
    stream.connection_lost(None)
    assert server.connections == set()
    assert owner.losses == 1
    stream.send(b"late")
    stream.close()
    stream.abort()


# -- how much, how fast


@settings(max_examples=300, deadline=None)
@given(data=st.data())
def test_wherever_the_bytes_are_cut_the_same_is_heard(data):
    texts = data.draw(st.lists(st.text(max_size=300), max_size=8))
    wire = b""
    for text in texts:
        left = text.encode()
        parts = []
        for at in sorted(data.draw(st.lists(st.integers(0, len(left)), max_size=3)), reverse=True):
            parts.insert(0, left[at:])
            left = left[:at]
        parts.insert(0, left)
        for number, part in enumerate(parts):
            opcode, fin = (TEXT if number == 0 else 0), number == len(parts) - 1
            wire += frame(opcode, part, fin=fin, mask=data.draw(st.binary(min_size=4, max_size=4)))
            wire += data.draw(st.sampled_from([b"", frame(PONG, b"x")]))
    cuts = sorted(data.draw(st.lists(st.integers(0, len(wire)), max_size=20)))
    busy_at = set(data.draw(st.lists(st.sampled_from(texts), max_size=3))) if texts else set()

    async def play():
        owner = Owner(busy_at)
        stream, transport, _ = await opened(owner)
        for begin, end in zip([0, *cuts], [*cuts, len(wire)], strict=True):
            if begin < end:
                stream.data_received(wire[begin:end])
            while owner.busy:
                assert not transport.reading
                owner.busy = False
                stream.go_on()
        assert owner.heard == texts
        assert transport.reading
        assert (transport.written, owner.losses) == (b"", 0)

    asyncio.run(play())


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_at_all_are_survived(wire, step):
    async def play():
        owner = Owner()
        stream, _, _ = await opened(owner)
        for at in range(0, len(wire), step):
            stream.data_received(wire[at : at + step])
        assert owner.losses <= 1
        stream.connection_lost(None)
        assert owner.losses == 1

    asyncio.run(play())


async def test_what_comes_while_its_owner_is_busy_waits_unread():
    owner = Owner(["1"])
    stream, transport, _ = await opened(owner)
    stream.data_received(frame(TEXT, b"1") + frame(PING) + frame(TEXT, b"2"))
    assert (owner.heard, transport.reading, transport.written) == (["1"], False, b"")
    owner.busy = False
    stream.go_on()
    assert (owner.heard, transport.reading, transport.written) == (["1", "2"], True, b"\x8a\0")


async def test_who_reads_nothing_gets_so_many_pongs_and_no_more():
    _, transport, stream = await after()
    transport.unread = 1
    pings = 0
    while not transport.aborted:
        stream.data_received(frame(PING))
        pings += 1
    assert pings == streams.ANSWERS_MOST + 1
    _, transport, stream = await after()
    transport.unread = streams.BYTES_MOST + 1
    stream.data_received(frame(PING))
    assert transport.aborted


async def test_who_reads_gets_every_pong():
    _, transport, stream = await after()
    for _ in range(streams.ANSWERS_MOST + 1):
        stream.data_received(frame(PING))
    assert not transport.aborted
    assert transport.written == b"\x8a\0" * (streams.ANSWERS_MOST + 1)


async def test_who_sends_more_frames_than_anyone_needs_is_cut_off():
    owner, transport, _ = await after(frame(TEXT, b"6") * 2 * streams.FRAMES_MOST)
    assert transport.aborted
    assert len(owner.heard) <= streams.FRAMES_MOST


async def test_over_time_any_number_of_frames_may_come(monkeypatch):
    monkeypatch.setattr(streams, "FRAMES_WITHIN_S", -1.0)
    owner, transport, _ = await after(frame(TEXT, b"6") * 2 * streams.FRAMES_MOST)
    assert not transport.aborted
    assert len(owner.heard) == 2 * streams.FRAMES_MOST


async def test_a_message_may_not_have_any_number_of_fragments(monkeypatch):
    monkeypatch.setattr(streams, "FRAMES_WITHIN_S", -1.0)
    _, transport, stream = await after(frame(TEXT, fin=False))
    stream.data_received(frame(0, fin=False) * streams.FRAGMENTS_MOST)
    assert transport.aborted


async def test_a_backlog_is_bounded_and_room_is_told():
    owner, transport, stream = await after()
    assert transport.high == streams.BYTES_LOW
    assert stream.send(b"x")
    stream.pause_writing()
    transport.unread = streams.BYTES_MOST - 10
    assert stream.send(b"x" * 10)
    assert not stream.has_room
    assert not stream.send(b"x" * 11)
    stream.resume_writing()
    assert stream.has_room
    assert owner.rooms == 1


async def test_what_waits_since_before_the_upgrade_counts():
    stream, transport, _ = await begun(nobody, unread=1)
    assert transport.high == streams.BYTES_LOW
    assert not stream.has_room
    stream.resume_writing()
    assert stream.has_room


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_a_frame_of_ours_says_its_size(size):
    whole = text_frame(b"x" * size)
    assert whole[0] == 0x81
    if size < 126:
        assert (whole[1], whole[2:]) == (size, b"x" * size)
    elif size < 1 << 16:
        assert (whole[1], int.from_bytes(whole[2:4], "big"), len(whole)) == (126, size, size + 4)
    else:
        assert (whole[1], int.from_bytes(whole[2:10], "big"), len(whole)) == (127, size, size + 10)
